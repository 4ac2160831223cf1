// Quantised weights against gguf-py (Goldens/make_quantised.py): the values of blocks, and the blocks of numbers, bit for bit.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct QuantisedGoldenTests {
    private static let file = Result {
        let folder = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return try GGUFFile(path: folder + "/Goldens/quantised.gguf")
    }

    /// A tensor of blocks `[outputs, inputs]`, packed as `[inputs, outputs]`.
    private func packed(_ name: String, _ format: WeightFormat) throws -> (matrix: PackedMatrix, bytes: [UInt8]) {
        let file = try Self.file.get(), blocks = try #require(file.tensor(name)), bytes = try file.rawBytes(of: name)
        #expect(blocks.type.name == format.rawValue && blocks.type.block.bytes == format.blockBytes && blocks.type.block.elements == format.blockRows)
        let matrix = try PackedMatrix(rows: blocks.shape[1], columns: blocks.shape[0], format: format) { writer in
            try bytes.withUnsafeBytes { try writer.packBlocks(columns: 0..<blocks.shape[0], from: $0) }
        }
        return (matrix, bytes)
    }

    private func numbers(_ name: String) throws -> Tensor {
        let file = try Self.file.get(), entry = try file.requireEntry(name)
        let bytes = try file.bytes(of: name)
        let values = bytes.withUnsafeBytes { raw in (0..<entry.elementCount).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) } }
        return try Tensor(values, shape: entry.shape)
    }

    @Test(arguments: WeightFormat.allCases.filter(\.isQuantized))
    func valuesAreGGMLs(format: WeightFormat) throws {
        let (matrix, bytes) = try packed(format.rawValue, format), expected = try numbers("\(format).values")
        expectSameBits(try matrix.unpacked().permuted(1, 0), expected, "\(format)")
        expectSameBits(try matrix.gatherColumns([2, 0, 1]), try expected.gatherRows([2, 0, 1]), "\(format): rows of a table")
        #expect(try matrix.blocks(columns: 0..<matrix.columns) == bytes)
        #expect(matrix.byteCount == format.blockBytes * (512 / format.blockRows) * 64)
        // Products are those of the values.
        let x = try randomTensor([3, 512], seed: 5), plain = try PackedMatrix(expected.permuted(1, 0))
        expectSameBits(try matrix.product(x).out, try plain.product(x).out, "\(format): product")
        expectSameBits(try matrix.product(x.at(.upTo(1))).out, try plain.product(x.at(.upTo(1))).out, "\(format): product of one row")
    }

    @Test(arguments: [WeightFormat.q8_0, .q4_0])
    func blocksAreGGMLs(format: WeightFormat) throws {
        let values = try numbers("numbers"), (_, bytes) = try packed("\(format).made", format)
        // As linear layers lie in files, and the other way.
        #expect(try PackedMatrix(values.permuted(1, 0), format: format).blocks(columns: 0..<8) == bytes)
        #expect(try PackedMatrix(values.permuted(1, 0).copied(), format: format).blocks(columns: 0..<8) == bytes)
    }

    @Test func whatCannotBeIsRefused() throws {
        for format in WeightFormat.allCases where format.isQuantized {
            expectError { try PackedMatrix(rows: format.blockRows + 1, columns: 3, format: format) { _ in } }
            expectError { try PackedMatrix(rows: 40, columns: 3, format: format) { _ in } }
            expectError { try PackedMatrix(rows: Int.max / 512 * 256, columns: 1 << 40, format: format) { _ in } }
            let bytes = [UInt8](repeating: 1, count: 5 * format.blockBytes)
            _ = try PackedMatrix(rows: format.blockRows, columns: 5, format: format) { writer in
                bytes.withUnsafeBytes { raw in
                    expectError { try writer.packBlocks(columns: 0..<6, from: raw) }
                    expectError { try writer.packBlocks(columns: -1..<4, from: raw) }
                    expectError { try writer.packBlocks(columns: 0..<4, from: raw) }
                    let base = raw.baseAddress! // bytes are there
                    if !format.packsNumbers {
                        expectError(.usage) { try writer.pack(rows: 0..<format.blockRows, columns: 0..<1, from: base, .float16, rowStride: 1, columnStride: 1) }
                    } else {
                        expectError { try writer.pack(rows: 0..<8, columns: 0..<1, from: base, .float16, rowStride: 1, columnStride: 1) }
                        expectError { try writer.pack(rows: 8..<format.blockRows, columns: 0..<1, from: base, .float16, rowStride: 1, columnStride: 1) }
                    }
                }
            }
        }
        let plain = try PackedMatrix(Tensor(zeros: [4, 4]), format: .bfloat16)
        for block in [0, -1, .min] { expectError(.shape) { try plain.product(Tensor(zeros: [2, 4]), block: block) } }
        expectError(.usage) { try plain.blocks(columns: 0..<4) }
        let empty = try PackedMatrix(rows: 0, columns: 4, format: .q4_K) { _ in }
        expectElements(try empty.product(Tensor(zeros: [2, 0])).out, [Float](repeating: 0, count: 8), shape: [2, 4])
        expectSameBits(try PackedMatrix(rows: 32, columns: 0, format: .q8_0) { _ in }.unpacked(), Tensor(zeros: [32, 0]), "no columns")
    }
}
