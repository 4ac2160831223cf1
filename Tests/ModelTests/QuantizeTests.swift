// Files of quantised weights: loaded without expanding them, and written by `tlens quantize`'s ModelQuantizer.

import LensFiles
import LensTestSupport
import Testing
import TinyModels
import TransformerLens

@Suite struct QuantizeTests {
    private static let gguf = TestFolders.goldens + "/gguf"

    /// Blocks of a GGUF file stay blocks; asked for in float32 they are the same values, and give the same bits.
    @Test func blocksAreNotExpanded() throws {
        let path = Self.gguf + "/llama-quantised.gguf", file = try GGUFFile(path: path)
        let model = try ModelFolder(path: path).load(), plain = try ModelFolder(path: path, options: LoadOptions(dtype: .float32)).load()
        let stored = Set(file.tensors.filter { $0.shape.count == 2 }.map(\.type.name))
        #expect(Set(model.parameters.kept.filter { $0.name.contains("W_") }.map(\.format.rawValue)) == stored)
        #expect(plain.parameters.kept.allSatisfy { $0.format == .float32 })
        let columns = { (shape: [Int]) in (shape[0] + 63) / 64 * 64 }
        let bytes = file.tensors.filter { $0.shape.count == 2 }.reduce(0) { $0 + $1.byteRange.count / $1.shape[0] * columns($1.shape) }
        #expect(model.parameters.kept.filter { $0.name.contains("W_") }.reduce(0) { $0 + $1.byteCount } <= bytes + bytes / 2)
        for name in model.parameters.names { expectSameBits(try model.parameters[name], try plain.parameters[name], name) }
        let tokens = try LawModels.tokens(model, batch: 2, pos: 9)
        let kept = try model.run(.tokens(tokens), .init(cache: .all)), expanded = try plain.run(.tokens(tokens), .init(cache: .all))
        expectSameBits(kept.logits, expanded.logits, "logits")
        expectSameBits(kept.cache, expanded.cache, "activations")
        // Another format than the file's.
        let other = try ModelFolder(path: path, options: LoadOptions(dtype: .q8_0)).load()
        let converted = try plain.keeping(.q8_0).parameters
        for (a, b) in zip(other.parameters.kept, converted.kept) where a.format == b.format {
            expectSameBits(try other.parameters[a.name], try converted[a.name], "q8_0 \(a.name)")
        }
    }

    private func expectSame(_ a: Transformer, _ b: Transformer, _ what: String) throws {
        for (x, y) in zip(a.parameters.kept, b.parameters.kept) where x != y { Issue.record("\(what): \(x), \(y)") }
        for name in a.parameters.names { expectSameBits(try a.parameters[name], try b.parameters[name], "\(what): \(name)") }
    }

    /// A folder written in another format loads as the folder loaded in that format, GPT-2's turned matrices too.
    @Test(arguments: [WeightFormat.bfloat16, .float16, .q8_0, .q4_0])
    func folders(format: WeightFormat) throws {
        var tiny = TinyGPT2()
        (tiny.layers, tiny.headWidth) = (1, 16)
        try withTemporaryFolder { folder in
            try tiny.write(to: folder + "/a")
            let written = try ModelQuantizer(format).quantize(folder: folder + "/a", to: folder + "/b")
            #expect(written.filter { $0.type.name == format.rawValue }.count >= 5)
            let own = try ModelFolder(path: folder + "/b").load()
            let expected = try ModelFolder(path: folder + "/a", options: LoadOptions(dtype: format)).load()
            for name in own.parameters.names where name != "pos_embed.W_pos" { expectSameBits(try own.parameters[name], try expected.parameters[name], "\(format): \(name)") }
            #expect(own.parameters.kept.allSatisfy { [format, .float32].contains($0.format) })
            #expect(try HookedTransformer(folder: folder + "/b").tokenizer != nil)
            #expect(try own.run(.tokens(LawModels.tokens(own, batch: 1, pos: 9))).logits?.array.allSatisfy(\.isFinite) == true)
            // Written twice, the same bytes; quantised again, refused or read as any checkpoint.
            let bytes = try DataFile(path: folder + "/b/model.gguf").readAll(limit: 1 << 26)
            _ = try ModelQuantizer(format).quantize(folder: folder + "/a", to: folder + "/c")
            #expect(try DataFile(path: folder + "/c/model.gguf").readAll(limit: 1 << 26) == bytes)
        }
    }

    /// Every family's folder, most of whose matrices do not fill blocks.
    @Test(arguments: CheckpointTests.folders)
    func everyFamily(folder: String) throws {
        let path = "\(TestFolders.goldens)/\(folder)"
        let model = try ModelFolder(path: path)
        try withTemporaryFolder { target in
            guard model.config.kind == .decoder, model.config.mlp?.experts == nil else {
                return expectError(.usage, "not written") { try ModelQuantizer(.q8_0).quantize(folder: path, to: target) }
            }
            _ = try ModelQuantizer(.q8_0).quantize(folder: path, to: target)
            let found = try ModelFolder(path: target).load(), expected = try ModelFolder(path: path, options: LoadOptions(dtype: .q8_0)).load()
            for name in found.parameters.names where !name.hasSuffix("W_pos") && !name.hasSuffix("W_E") {
                expectSameBits(try found.parameters[name], try expected.parameters[name], "\(folder): \(name)")
            }
        }
    }

    /// A GGUF file keeps its names and metadata.
    @Test func files() throws {
        try withTemporaryFolder { folder in
            for name in ["llama-multiquery", "gpt2-untied", "gemma2"] {
                let path = "\(Self.gguf)/\(name).gguf", target = folder + "/out.gguf"
                _ = try ModelQuantizer(.q8_0).quantize(file: path, to: target)
                let before = try GGUFFile(path: path), after = try GGUFFile(path: target)
                for key in before.keys where !["general.file_type", "general.alignment", "general.quantization_version"].contains(key) {
                    #expect(after[key] == before[key], "\(key)")
                }
                #expect(after.tensors.map(\.name) == before.tensors.map(\.name) && after.tensors.map(\.shape) == before.tensors.map(\.shape))
                let found = try ModelFolder(path: target).load(), expected = try ModelFolder(path: path, options: LoadOptions(dtype: .q8_0)).load()
                for parameter in found.parameters.names where !parameter.hasSuffix("W_pos") {
                    expectSameBits(try found.parameters[parameter], try expected.parameters[parameter], "\(name): \(parameter)")
                }
            }
            expectError(.usage, "quantised already") { try ModelQuantizer(.q8_0).quantize(file: Self.gguf + "/llama-quantised.gguf", to: folder + "/x.gguf") }
            expectError(.usage, "q4_K") { try ModelQuantizer(.q4_K) }
            expectError(.usage, "TransformerLens") {
                try Models.named("gpt2-tiny").save(to: folder + "/native")
                return try ModelQuantizer(.q8_0).quantize(folder: folder + "/native", to: folder + "/y")
            }
        }
    }

    /// Metadata of every type, and tensors between paddings, come back.
    @Test func writtenFilesAreRead() throws {
        let values: [(key: String, value: GGUFValue)] = [
            ("a", .int(-5)), ("b", .uint(7)), ("c", .int(.min)), ("d", .uint(.max)), ("e", .float(0.5)), ("f", .float(0.1)), ("g", .bool(true)),
            ("h", .string("é")), ("i", .array(.strings(["x", ""]))), ("j", .array(.ints([1, -1]))), ("k", .array(.uints([1 << 40]))),
            ("l", .array(.floats([1, 2]))), ("m", .array(.bools([true, false]))), ("n", .array(.bytes([255, 1], isSigned: true))),
            ("o", .array(.arrays([.ints([1]), .strings(["y"])]))),
        ]
        try withTemporaryFolder { folder in
            let path = folder + "/a.gguf"
            func content(_ name: String, _ type: GGMLType, _ shape: [Int], _ count: Int) throws -> GGUFContent {
                try GGUFContent(name, type, shape: shape) { write in
                    try [UInt8](repeating: 3, count: count / 2).withUnsafeBytes { try write($0) }
                    try [UInt8](repeating: 4, count: count - count / 2).withUnsafeBytes { try write($0) }
                }
            }
            let tensors = [try content("one", .f32, [3], 12), try content("two", .q8_0, [2, 32], 68), try content("three", .f16, [], 2), try content("four", .f32, [0, 4], 0)]
            try GGUFWriter.write(tensors, metadata: values, to: path)
            let file = try GGUFFile(path: path)
            #expect(file.keys == values.map(\.key))
            for (key, value) in values { #expect(file[key] == value, "\(key)") }
            #expect(file.tensors.map(\.name) == ["one", "two", "three", "four"] && file.tensors.map(\.shape) == [[3], [2, 32], [], [0, 4]])
            #expect(try file.rawBytes(of: "two") == [UInt8](repeating: 3, count: 34) + [UInt8](repeating: 4, count: 34))
            expectError(.shape) { try GGUFWriter.write([content("x", .f32, [3], 8)], metadata: [], to: path) }
            expectError(.shape) { try GGUFWriter.write([content("x", .f32, [3], 16)], metadata: [], to: path) }
            expectError(.usage) { try GGUFWriter.write([content("x", .f32, [1], 4), content("x", .f32, [1], 4)], metadata: [], to: path) }
            expectError(.usage) { try GGUFWriter.write([], metadata: [("a", .int(1)), ("a", .int(1))], to: path) }
            expectError(.format) { try content("x", .q8_0, [2, 33], 0) }
            expectError(.format) { try content("x", .f32, [1 << 40, 1 << 40], 0) }
            expectError(.format) { try content(String(repeating: "n", count: 64), .f32, [1], 4) }
            #expect(try GGUFFile(path: path).tensors.count == 4, "failed writes leave the old file")
        }
    }
}
