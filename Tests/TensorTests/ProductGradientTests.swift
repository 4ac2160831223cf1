// Products in reverse, with everything that rides on them: against central differences of the same product in Double.

import Foundation
import LensFiles
@testable import LensTensor
import LensTestSupport
import Testing

/// Σ weights · outputs of a product, in Double.
private struct ProductLoss {
    var m: Int, k: Int, n: Int
    var x: [Double], w: [Double], bias: [Double] = [], gate: [Double] = [], residual: [Double] = []
    var activation: Activation?
    var outWeights: [Double], linearWeights: [Double] = []

    static func activated(_ activation: Activation?, _ x: Double) -> Double {
        switch activation {
        case nil: x
        case .relu: max(0, x)
        case .gelu: 0.5 * x * erfc(-x / 2.0.squareRoot())
        case .geluNew, .geluPytorchTanh: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        case .geluFast: 0.5 * x * (1 + tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))
        default: x / (1 + exp(-x))
        }
    }

    var value: Double {
        var total = 0.0
        for i in 0..<m {
            let linears = (0..<n).map { j in (0..<k).reduce(bias.isEmpty ? 0 : bias[j]) { $0 + x[i * k + $1] * w[$1 * n + j] } }
            let exponentials = linears.map { exp($0) }, sum = exponentials.reduce(0, +)
            for j in 0..<n {
                let linear = linears[j], at = i * n + j
                var value = gate.isEmpty ? Self.activated(activation, linear) : Self.activated(activation, gate[at]) * linear
                if activation == .solu { value = linear * exponentials[j] / sum }
                total += outWeights[at] * (value + (residual.isEmpty ? 0 : residual[at]))
                if !linearWeights.isEmpty { total += linearWeights[at] * linear }
            }
        }
        return total
    }

    func derivative(_ path: WritableKeyPath<ProductLoss, [Double]>, _ index: Int) -> Double {
        var up = self, down = self
        up[keyPath: path][index] += 1e-5
        down[keyPath: path][index] -= 1e-5
        return (up.value - down.value) / 2e-5
    }

    func expect(_ gradient: Tensor, _ path: WritableKeyPath<ProductLoss, [Double]>, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
        var random = SeededRandom(3)
        let places = gradient.count > 30 ? random.ids(30, below: gradient.count).map(Int.init) : Array(0..<gradient.count)
        let elements = gradient.array, wanted = places.map { derivative(path, $0) }
        expectClose(places.map { elements[$0] }, wanted, relative: 1e-5, absolute: 1e-5 * (wanted.map(abs).max() ?? 0) + 1e-8, what, sourceLocation: sourceLocation)
    }
}

@Suite struct ProductGradientTests {
    private func dot(_ a: Tensor, _ b: Tensor) throws -> Tensor { try (a * b).sum() }

    @Test(arguments: [nil, .relu, .gelu, .geluNew, .geluFast, .geluPytorchTanh, .silu, .solu] as [Activation?], [false, true])
    func everythingThatRides(activation: Activation?, isGated: Bool) throws {
        guard activation != .solu || !isGated else { return }
        let (m, k, n) = (7, 14, 19)
        let x = try randomTensor([m, k], seed: 1).tracked(), w = try randomTensor([k, n], seed: 2), bias = try randomTensor([n], seed: 3).tracked()
        let gate = isGated ? try randomTensor([m, n], seed: 4, scale: 2).tracked() : nil, residual = try randomTensor([1, m, n], seed: 5).tracked()
        let matrix = try PackedMatrix(w).tracked(), ofOut = try randomTensor([m, n], seed: 6), ofLinear = try randomTensor([m, n], seed: 7)
        for keepsLinear in [false, true] {
            let epilogue = Epilogue(bias: bias, activation: activation, gate: gate, residual: residual, keepsLinear: keepsLinear)
            let (out, linear) = try matrix.product(x, epilogue: epilogue)
            let plain = try matrix.detached().product(x.detached(), epilogue: Epilogue(bias: bias.detached(), activation: activation, gate: gate?.detached(),
                                                                                      residual: residual.detached(), keepsLinear: keepsLinear))
            #expect(bitDifference(out, plain.out) == nil && !plain.out.isTracked && linear?.isTracked ?? false == keepsLinear)
            var total = try dot(out, ofOut)
            if let linear { total = try total + dot(linear, ofLinear) }
            let values = [x.graph, matrix.graph, bias.graph, residual.graph, gate?.graph].compactMap { $0 }
            let found = try gradients(of: total, to: values).map { try #require($0) }
            func wide(_ tensor: Tensor?) -> [Double] { tensor?.array.map(Double.init) ?? [] }
            let loss = ProductLoss(m: m, k: k, n: n, x: wide(x), w: wide(w), bias: wide(bias), gate: wide(gate), residual: wide(residual),
                                   activation: activation, outWeights: wide(ofOut), linearWeights: keepsLinear ? wide(ofLinear) : [])
            loss.expect(found[0], \.x, "x")
            loss.expect(found[1], \.w, "w")
            loss.expect(found[2], \.bias, "bias")
            #expect(found[3].array == ofOut.array && found[3].shape == [1, m, n])
            if isGated { loss.expect(found[4], \.gate, "gate") }
        }
    }

    /// A head's rows of W_O: the gradient of x is that of the whole product's columns, bit for bit, and weights get it in their rows.
    @Test func rangesOfRows() throws {
        let w = try randomTensor([42, 97], seed: 1), matrix = try PackedMatrix(w).tracked()
        let z = try randomTensor([2, 5, 42], seed: 2).tracked(), weights = try randomTensor([2, 5, 97], seed: 3)
        let whole = try gradients(of: dot(matrix.product(z, block: 14).out, weights), to: [z.graph, matrix.graph].compactMap { $0 })
        for head in 0..<3 {
            let range = head * 14..<(head + 1) * 14, part = try z.detached()[.all, .all, .range(range)].contiguous().tracked()
            let found = try gradients(of: dot(matrix.product(part, rows: range, block: 14).out, weights), to: [part.graph, matrix.graph].compactMap { $0 })
            #expect(bitDifference(found[0], try whole[0]?[.all, .all, .range(range)].contiguous()) == nil)
            #expect(bitDifference(try found[1]?[.range(range)].contiguous(), try whole[1]?[.range(range)].contiguous()) == nil)
            let sum = try #require(found[1]).array.indices.filter { !range.contains($0 / 97) }.allSatisfy { found[1]?.array[$0] == 0 }
            #expect(sum)
        }
    }

    @Test(arguments: WeightFormat.loadable) func anyFormatGivesItsValuesGradients(format: WeightFormat) throws {
        let matrix = try PackedMatrix(randomTensor([64, 97], seed: 1), format: format), values = try PackedMatrix(matrix.unpacked())
        let x = try randomTensor([5, 64], seed: 2).tracked(), weights = try randomTensor([5, 97], seed: 3)
        let found = try [matrix, values].map { try gradients(of: dot($0.product(x).out, weights), to: [x])[0] }
        #expect(bitDifference(found[0], found[1]) == nil)
        guard format != .float32 else { return }
        let tracked = matrix.tracked(), value = try #require(tracked.graph)
        #expect(throws: LensError.self) { try gradients(of: dot(tracked.product(x).out, weights), to: [value]) }
    }

    @Test func columnsWrittenOver() throws {
        let matrix = try PackedMatrix(randomTensor([14, 40], seed: 1)).tracked(), bias = try randomTensor([40], seed: 2).tracked()
        let first = try randomTensor([3, 14], seed: 3).tracked(), second = try randomTensor([3, 14], seed: 4).tracked(), weights = try randomTensor([3, 40], seed: 5)
        var out = try matrix.product(first, epilogue: Epilogue(bias: bias)).out
        try matrix.updateColumns(10..<24, of: &out, from: second, bias: bias)
        let values = [first.graph, second.graph, matrix.graph, bias.graph].compactMap { $0 }
        let found = try gradients(of: dot(out, weights), to: values)
        // The same, put together from whole products.
        var mask = Tensor(zeros: [40])
        mask[.range(10..<24)] = 1
        let rest = try Tensor(1) - mask
        let parts = try matrix.product(first, epilogue: Epilogue(bias: bias)).out * rest + matrix.product(second, epilogue: Epilogue(bias: bias)).out * mask
        let wanted = try gradients(of: dot(parts, weights), to: values)
        for (a, b) in zip(found, wanted) { #expect(difference(try #require(a), try #require(b), tolerance: 1e-6).problem == nil) }
    }

    @Test func whatIsReadFromAMatrixIsTracked() throws {
        let matrix = try PackedMatrix(randomTensor([14, 97], seed: 1)).tracked(), value = try #require(matrix.graph)
        let ids = [3, 96, 3, 64], weights = try randomTensor([4, 14], seed: 2)
        let gathered = try #require(try gradients(of: dot(matrix.gatherColumns(ids), weights), to: [value])[0])
        var wanted = Tensor(zeros: [14, 97])
        for (row, id) in ids.enumerated() { try wanted.set(.all, .at(id), to: wanted[.all, .at(id)] + weights[.at(row)]) }
        #expect(bitDifference(gathered, wanted) == nil)

        let block = try randomTensor([3, 20], seed: 3)
        let unpacked = try #require(try gradients(of: dot(matrix.unpacked(rows: 2..<5, columns: 60..<80), block), to: [value])[0])
        var placed = Tensor(zeros: [14, 97])
        placed[.range(2..<5), .range(60..<80)] = block
        #expect(bitDifference(unpacked, placed) == nil)
    }

    @Test func rowsAddedWithWeights() throws {
        let start = try randomTensor([6, 20], seed: 1).tracked(), x = try randomTensor([4, 20], seed: 2).tracked(), weights = try randomTensor([4], seed: 3).tracked()
        let ids = [5, 0, 5, 2], seen = try randomTensor([6, 20], seed: 4)
        var sum = start
        try sum.addRows(ids, of: x, times: weights)
        let found = try gradients(of: dot(sum, seen), to: [start, x, weights])
        #expect(bitDifference(found[0], seen) == nil)
        for (i, id) in ids.enumerated() {
            #expect(difference(try found[1][.at(i)].contiguous(), try seen[.at(id)] * weights.detached()[.at(i)], tolerance: 1e-6).problem == nil)
            let wanted = zip(seen[.at(id)].array, x[.at(i)].array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            #expect(abs(Double(found[2].array[i]) - wanted) < 1e-5)
        }
    }

    @Test func elementsHereAndThere() throws {
        let x = try randomTensor([3, 4], seed: 1).tracked()
        let picked = try x.elements(at: [11, 0, 11])
        #expect(picked.array == [x.array[11], x.array[0], x.array[11]])
        #expect(try gradients(of: dot(picked, Tensor([1, 2, 4], shape: [3])), to: [x])[0].array == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5])
        let placed = try picked.placed(at: [1, 1, 0], in: [2, 2])
        #expect(placed.array == [x.array[11], x.array[11] + x.array[0], 0, 0])
        #expect(try gradients(of: dot(placed, Tensor([1, 2, 4, 8], shape: [2, 2])), to: [x])[0].array == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3])
        #expect(throws: LensError.self) { try x.elements(at: [12]) }
        #expect(throws: LensError.self) { try picked.placed(at: [0], in: [2]) }
    }
}
