// Blocks of every quantised type against what gguf (the Python package) makes of them, bit for bit.
import Foundation
import LensFiles
import Testing

@Suite struct GGMLBlocksTests {
    private static let folder = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/Goldens/gguf"
    static let types: [GGMLType] = [.q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K]

    /// The same bits, or both no number.
    private func expectSame(_ actual: [Float], _ expected: [Float], _ what: String, at place: SourceLocation = #_sourceLocation) {
        guard actual.count == expected.count else {
            Issue.record("\(what): \(actual.count) elements, not \(expected.count)", sourceLocation: place)
            return
        }
        if let index = actual.indices.first(where: { actual[$0].bitPattern != expected[$0].bitPattern && !(actual[$0].isNaN && expected[$0].isNaN) }) {
            Issue.record("\(what): element \(index) is \(actual[index]), not \(expected[index])", sourceLocation: place)
        }
    }

    @Test(arguments: types)
    func blocksAreGGMLs(_ type: GGMLType) throws {
        let file = try GGUFFile(path: Self.folder + "/blocks.gguf"), name = "\(type)"
        let expected = try SafetensorsFile(path: Self.folder + "/blocks.safetensors").values(of: name, as: Float.self)
        #expect(file.tensor(name)?.type == type && file.blockType(name) == type && type.isDecodable)
        #expect(try file.requireEntry(name).dtype == .f32)
        expectSame(try file.values(of: name, as: Float.self), expected, name)
        #expect(expected.contains { $0.isFinite && $0 != 0 } && Set(expected).count > 100)
        // Any part, also from inside a block to inside another.
        for (offset, count) in [(0, 1), (5, 0), (31, 2), (33, 700), (255, 514), (expected.count - 1, 1), (expected.count, 0)] {
            var part = [Float](repeating: .nan, count: count)
            try part.withUnsafeMutableBytes { try file.read(name, elementOffset: offset, elementCount: count, into: $0) }
            expectSame(part, Array(expected[offset..<(offset + count)]), "\(name), \(count) from \(offset)")
        }
    }

    @Test(arguments: types)
    func blocksAsStored(_ type: GGMLType) throws {
        let file = try GGUFFile(path: Self.folder + "/blocks.gguf"), name = "\(type)", (elements, bytes) = type.block
        let whole = try file.rawBytes(of: name)
        var part = [UInt8](repeating: 0, count: 2 * bytes)
        try part.withUnsafeMutableBytes { try file.readBlocks(name, elementOffset: 3 * elements, elementCount: 2 * elements, into: $0) }
        #expect(part == Array(whole[(3 * bytes)..<(5 * bytes)]))
        for (offset, count, size) in [(1, elements, bytes), (0, 1, bytes), (0, elements, bytes + 1), (-elements, elements, bytes), (0, -elements, 0), (.max, elements, bytes),
                                      (0, 1_000 * elements, 1_000 * bytes)] {
            var buffer = [UInt8](repeating: 0, count: size)
            let error = lensError { try buffer.withUnsafeMutableBytes { try file.readBlocks(name, elementOffset: offset, elementCount: count, into: $0) } }
            #expect(error.kind == .shape)
        }
    }

    /// More blocks than pass through the buffer at once.
    @Test func longTensors() throws {
        var file = GGUFBytes(values: 0, tensors: 1)
        let blocks = 9_000
        file.tensor("long", [UInt64(32 * blocks)], type: 8, offset: 0)
        file.pad()
        for block in 0..<blocks {
            file.put(Float16(0.5).bitPattern)
            for element in 0..<32 { file.put(Int8(truncatingIfNeeded: block &* 7 &+ element)) }
        }
        file.pad()
        let folder = try TemporaryFolder()
        let source = try GGUFFile(path: folder.file("x.gguf", file.bytes))
        let values = try source.values(of: "long", as: Float.self)
        #expect(values.indices.allSatisfy { values[$0] == Float(Int8(truncatingIfNeeded: $0 / 32 &* 7 &+ $0 % 32)) * 0.5 })
    }

    @Test func otherQuantisationsAreRefusedByName() throws {
        var file = GGUFBytes(values: 0, tensors: 1)
        file.tensor("x", [256], type: GGMLType.iq2_XXS.rawValue, offset: 0)
        file.pad()
        file.bytes += [UInt8](repeating: 1, count: 66)
        file.pad()
        let folder = try TemporaryFolder()
        let source = try GGUFFile(path: folder.file("x.gguf", file.bytes))
        #expect(source.blockType("x") == .iq2_XXS)
        let error = lensError { _ = try source.bytes(of: "x") }
        #expect(error.kind == .weights && error.description.contains("IQ2_XXS"))
    }
}
