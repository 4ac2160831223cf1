// Packed matrices: what goes in comes out, blocks, gathers, and products against sums in double precision.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct PackedMatrixTests {
    static let shapes = [(1, 1), (3, 5), (14, 42), (42, 97), (64, 64), (65, 129), (257, 63), (300, 17), (0, 4), (4, 0)]

    @Test(arguments: shapes)
    func comesBack(_ rows: Int, _ columns: Int) throws {
        let tensor = try randomTensor([rows, columns], seed: 1), packed = try PackedMatrix(tensor)
        expectSameBits(try packed.unpacked(), tensor, "whole")
        let turned = try randomTensor([columns, rows], seed: 2).permuted(1, 0)
        expectSameBits(try PackedMatrix(turned).unpacked(), turned, "from a view")
        guard rows > 2, columns > 2 else { return }
        expectSameBits(try packed.unpacked(rows: 1..<rows, columns: 1..<columns - 1), try tensor.at(.from(1), .range(1..<columns - 1)), "a block")
        expectSameBits(try packed.unpacked(rows: 1..<1), Tensor(zeros: [0, columns]), "nothing")
        let ids = [columns - 1, 0, 1, columns - 1]
        for (index, id) in ids.enumerated() { expectSameBits(try packed.gatherColumns(ids).at(.at(index)), try tensor.at(.all, .at(id)), "column \(id)") }
        for (block, range) in [(0..<rows + 1, 0..<1), (-1..<1, 0..<1), (0..<1, 0..<columns + 1), (0..<1, -1..<1)] {
            expectError { try packed.unpacked(rows: block, columns: range) }
            expectError {
                try PackedMatrix(rows: rows, columns: columns) { writer in
                    try writer.pack(rows: block, columns: range, from: [Float(0)], .float32, rowStride: 0, columnStride: 0)
                }
            }
        }
        for id in [-1, columns, Int.max] { expectError { try packed.gatherColumns([id]) } }
    }

    /// Some columns of a product alone have the bits they have among all.
    @Test(arguments: shapes)
    func columnsOfAProduct(_ rows: Int, _ columns: Int) throws {
        let matrix = try PackedMatrix(randomTensor([rows, columns], seed: 4)), x = try randomTensor([2, 3, rows], seed: 5), bias = try randomTensor([columns], seed: 6)
        let whole = try matrix.product(x, epilogue: Epilogue(bias: bias)).out
        for width in Set([1, 7, 64, max(1, columns)]) {
            for first in stride(from: 0, to: columns, by: width) {
                let range = first..<min(columns, first + width)
                expectSameBits(try matrix.product(x, columns: range, bias: bias), try whole.at(.all, .all, .range(range)).contiguous(), "columns \(range)")
            }
        }
        #expect(try matrix.product(x, columns: 0..<0).shape == [2, 3, 0])
        expectError { try matrix.product(x, columns: 0..<columns + 1) }
        expectError { try matrix.product(Tensor(zeros: [rows + 1]), columns: 0..<columns) }
        expectError { try matrix.tracked().product(x, columns: 0..<columns) }
    }

    /// Blocks written in any order make the same matrix; what is left out is zero.
    @Test func packedInBlocks() throws {
        let tensor = try randomTensor([70, 130], seed: 3), values = tensor.array
        let whole = try PackedMatrix(tensor)
        let blocks = try PackedMatrix(rows: 70, columns: 130) { writer in
            try values.withUnsafeBytes { bytes in
                let base = try #require(bytes.baseAddress)
                for (rows, columns) in [(30..<70, 0..<65), (0..<30, 0..<130), (30..<70, 65..<130)] {
                    let block = base + 4 * (rows.lowerBound * 130 + columns.lowerBound)
                    try writer.pack(rows: rows, columns: columns, from: block, .float32, rowStride: 130, columnStride: 1)
                }
            }
        }
        expectSameBits(try blocks.unpacked(), try whole.unpacked(), "in blocks")
        let empty = try PackedMatrix(rows: 5, columns: 7) { _ in }
        expectSameBits(try empty.unpacked(), Tensor(zeros: [5, 7]), "nothing packed")
        expectError { try PackedMatrix(Tensor(zeros: [3])) }
        expectError { try PackedMatrix(rows: -1, columns: 3) { _ in } }
        expectError { try PackedMatrix(rows: Int.max / 2, columns: Int.max / 2) { _ in } }
    }

    @Test(arguments: shapes.filter { $0.0 > 0 && $0.1 > 0 }, [1, 2, 5, 17])
    func productsAreTheSums(_ shape: (rows: Int, columns: Int), _ count: Int) throws {
        let (rows, columns) = shape
        let w = try randomTensor([rows, columns], seed: 1), x = try randomTensor([count, rows], seed: 2), bias = try randomTensor([columns], seed: 3)
        let packed = try PackedMatrix(w), product = try packed.product(x, epilogue: Epilogue(bias: bias)).out
        #expect(product.shape == [count, columns])
        let a = x.array, b = w.array, c = bias.array
        let expected = (0..<count).flatMap { i in
            (0..<columns).map { j in Float((0..<rows).reduce(Double(c[j])) { $0 + Double(a[i * rows + $1]) * Double(b[$1 * columns + j]) }) }
        }
        let difference = difference(product, try Tensor(expected, shape: [count, columns]), tolerance: Double(rows + 2) * 0x1p-23)
        #expect(difference.problem == nil)
        // One row at a time, and over a strided view, the bits are the same.
        for row in 0..<count {
            let one = TensorIndex.range(row..<row + 1)
            expectSameBits(try packed.product(x.at(one), epilogue: Epilogue(bias: bias)).out, try product.at(one), "row \(row)")
        }
        let strided = try Tensor(x.permuted(1, 0).array, shape: [rows, count]).permuted(1, 0)
        expectSameBits(try packed.product(strided, epilogue: Epilogue(bias: bias)).out, product, "a strided input")
    }

    /// What rides on a product gives the bits of the steps one by one.
    @Test func epilogues() throws {
        let packed = try PackedMatrix(randomTensor([33, 70], seed: 1)), x = try randomTensor([6, 33], seed: 2)
        let bias = try randomTensor([70], seed: 3), gate = try randomTensor([6, 70], seed: 4), residual = try randomTensor([6, 70], seed: 5)
        let plain = try packed.product(x).out, linear = try plain + bias.broadcast(to: [6, 70])
        for activation in Activation.allCases {
            let acted = try packed.product(x, epilogue: Epilogue(bias: bias, activation: activation, keepsLinear: true))
            expectSameBits(acted.linear, linear, "\(activation): linear")
            expectSameBits(acted.out, try linear.applying(activation), "\(activation)")
            let gated = try packed.product(x, epilogue: Epilogue(bias: bias, activation: activation, gate: gate, residual: residual)).out
            expectSameBits(gated, try residual + linear.gated(by: gate, activation), "\(activation), gated, with residual")
        }
        expectSameBits(try packed.product(x, epilogue: Epilogue(residual: residual)).out, try residual + plain, "residual")
        var columns = Tensor(repeating: .nan, shape: [6, 70])
        for range in [0..<14, 14..<28, 28..<69, 69..<70] { try packed.updateColumns(range, of: &columns, from: x, bias: bias) }
        expectSameBits(columns, try packed.product(x, epilogue: Epilogue(bias: bias)).out, "columns one range after another")
    }

    /// Products over one head's rows, summed part by part, are the whole product over blocks of the head's width.
    @Test func headsSumToTheWhole() throws {
        let heads = 3, width = 14, packed = try PackedMatrix(randomTensor([heads * width, 42], seed: 1))
        let z = try randomTensor([5, heads, width], seed: 2), bias = try randomTensor([42], seed: 3), residual = try randomTensor([5, 42], seed: 4)
        var parts = Tensor(zeros: [5, heads, 42])
        for head in 0..<heads {
            parts[.all, .at(head)] = try packed.product(z.at(.all, .at(head)), rows: head * width..<(head + 1) * width, block: width).out
        }
        let whole = try packed.product(z.reshaped([5, heads * width]), block: width, epilogue: Epilogue(bias: bias, residual: residual, keepsLinear: true))
        let summed = try parts.summedParts(bias: bias, residual: residual, keepsLinear: true)
        expectSameBits(summed.out, whole.out, "out")
        expectSameBits(summed.linear, whole.linear, "linear")
    }

    @Test func shapesAreChecked() throws {
        let packed = try PackedMatrix(randomTensor([4, 6], seed: 1)), x = Tensor(zeros: [2, 4])
        expectError { try packed.product(Tensor(zeros: [2, 5])) }
        expectError { try packed.product(Tensor(1)) }
        expectError { try packed.product(x, rows: 0..<5) }
        expectError { try packed.product(x, rows: 1..<5) }
        expectError { try packed.product(x, rows: -1..<3) }
        expectError { try packed.product(x, epilogue: Epilogue(bias: Tensor(zeros: [5]))) }
        expectError { try packed.product(x, epilogue: Epilogue(gate: Tensor(zeros: [5]))) }
        expectError { try packed.product(x, epilogue: Epilogue(residual: Tensor(zeros: [2, 5]))) }
        var out = Tensor(zeros: [2, 6])
        expectError { try packed.updateColumns(0..<7, of: &out, from: x, bias: nil) }
        expectError { try packed.updateColumns(0..<6, of: &out, from: Tensor(zeros: [3, 4]), bias: nil) }
        expectElements(try packed.product(Tensor(zeros: [0, 4])).out, [], shape: [0, 6])
    }
}
