// GGUF files as models: each gives what the folder it was made from gives, bit for bit; quantised ones what Hugging Face gives
// of the weights they stand for; damaged ones an error.

import Foundation
import LensTestSupport
import Testing
@testable import LensZoo
import TransformerLens

@Suite struct GGUFModelTests {
    private static let folder = TestFolders.goldens + "/gguf"
    /// Files made from golden folders (make_gguf.py).
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
        .filter { $0.hasSuffix(".gguf") && FileManager.default.fileExists(atPath: "\(TestFolders.goldens)/\($0.dropLast(5))/config.json") }
        .map { String($0.dropLast(5)) }.sorted()

    private static let tokens = try? IntTensor(rows: [[3, 1, 4, 1, 5, 9, 2], [96, 2, 6, 5, 3, 5, 0]])

    @Test(arguments: names)
    func sameBitsAsTheFolder(_ name: String) throws {
        let tokens = try #require(Self.tokens)
        let file = try ModelFolder(path: "\(Self.folder)/\(name).gguf"), folder = try ModelFolder(path: "\(TestFolders.goldens)/\(name)")
        let (found, golden) = (try file.load(), try folder.load())
        for parameter in golden.parameters.names {
            expectSameBits(try found.parameters[parameter], try golden.parameters[parameter], "\(name): \(parameter)")
        }
        let actual = try found.run(.tokens(tokens), .init(cache: .all)), expected = try golden.run(.tokens(tokens), .init(cache: .all))
        expectSameBits(actual.logits, expected.logits, name)
        expectSameBits(actual.cache, expected.cache, name)
    }

    @Test func everyArchitectureHasAFile() throws {
        let architectures = try Self.names.map { try GGUFFile(path: "\(Self.folder)/\($0).gguf")["general.architecture"]?.stringValue }
        #expect(Set(architectures) == Set(GGUFFormat.all.map(\.name)))
    }

    /// Matrices of every quantised type, F16 and BF16.
    @Test func quantised() throws {
        let path = Self.folder + "/llama-quantised.gguf", golden = try SafetensorsFile(path: Self.folder + "/llama-quantised.safetensors")
        let types = Set(try GGUFFile(path: path).tensors.map(\.type))
        #expect(types.isSuperset(of: [.q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .f16, .bf16, .f32]))
        let model = try ModelFolder(path: path).load()
        let tokens = try Tensor(stored: "tokens", in: golden)
        let rows = (0..<tokens.shape[0]).map { row in (0..<tokens.shape[1]).map { Int(tokens.array[row * tokens.shape[1] + $0]) } }
        expectClose(try model.run(.tokens(IntTensor(rows: rows))).logits, try Tensor(stored: "logits", in: golden), "quantised")
        for (parameter, name) in [("W_Q", "q"), ("_W_K", "k")] {
            let expected = try Tensor(stored: "weights/model.layers.0.self_attn.\(name)_proj.weight", in: golden)
            let actual = try model.parameters["blocks.0.attn.\(parameter)"]
            expectSameBits(actual, try expected.reshaped([actual.shape[0], actual.shape[2], actual.shape[1]]).permuted(0, 2, 1).contiguous(), parameter)
        }
    }

    /// Blocks under the checkpoint's names, rows put back.
    @Test func blocksOfRowsPutBack() throws {
        let model = try GGUFModel(path: Self.folder + "/llama-quantised.gguf"), name = "layers.0.self_attn.q_proj.weight"
        let type = try #require(model.tensors.blockType(name)), entry = try model.tensors.requireEntry(name)
        #expect(type == .q4_K)
        var blocks = [UInt8](repeating: 0, count: entry.elementCount / 256 * type.block.bytes)
        try blocks.withUnsafeMutableBytes { try model.tensors.readBlocks(name, elementOffset: 0, elementCount: entry.elementCount, into: $0) }
        var decoded = [Float](repeating: 0, count: entry.elementCount)
        try blocks.withUnsafeBytes { source in
            try decoded.withUnsafeMutableBufferPointer { try type.decode(#require(source.baseAddress), blocks: entry.elementCount / 256, to: #require($0.baseAddress)) }
        }
        #expect(try Tensor(stored: name, in: model.tensors).array == decoded)
    }

    @Test func textThroughTheTokenizerInside() throws {
        let model = try HookedTransformer(folder: Self.folder + "/gpt2-untied.gguf", options: LoadOptions(firstNLayers: 1))
        #expect(model.config.nLayers == 1)
        #expect(try model.toTokens("ab c", prependBOS: true).array == [0, 96, 1, 68])
        #expect(try model.logits("ab").shape == [1, 2, 97])
        #expect(try HookedTransformer(folder: Self.folder + "/gemma.gguf").tokenizer == nil)
    }

    @Test func metadataNobodyReadsIsRefused() throws {
        for (key, what) in [("llama.expert_count", "expert_used_count"), ("llama.logit_scale", "logit_scale"), ("llama.unheard.of", "unheard"), ("llama.rope.scaling.type", "rope.scaling.type")] {
            try withTemporaryFolder { folder in
                let file = try Data(contentsOf: URL(fileURLWithPath: Self.folder + "/llama-multiquery.gguf"))
                // One more value at the end of the metadata, before the tensors: the count, then the value itself after the header.
                var bytes = [UInt8](file)
                bytes[16] += 1
                var value = withUnsafeBytes(of: UInt64(key.utf8.count).littleEndian) { Array($0) } + Array(key.utf8)
                value += [4, 0, 0, 0, 7, 0, 0, 0]
                bytes.insert(contentsOf: value, at: 24)
                // Tensors begin at a multiple of 32: pad with another key as long as it takes.
                let path = folder + "/x.gguf"
                try Data(padded(bytes, by: value.count)).write(to: URL(fileURLWithPath: path))
                expectError(.config, what) { try ModelFolder(path: path) }
            }
        }
    }

    /// Adds a key outside the architecture so that what follows stays aligned.
    private func padded(_ bytes: [UInt8], by added: Int) -> [UInt8] {
        var bytes = bytes
        bytes[16] += 1
        // Length, key "pad", type string, length, text.
        let fixed = 8 + 3 + 4 + 8, filler = (32 - (added + fixed) % 32) % 32
        var value = [UInt8](repeating: 0, count: 8)
        value[0] = 3
        value += Array("pad".utf8) + [8, 0, 0, 0] + [UInt8(filler), 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0x20, count: filler)
        bytes.insert(contentsOf: value, at: 24)
        return bytes
    }

    /// Damage anywhere: loaded, or refused.
    @Test(arguments: ["qwen2-tied", "gemma3-old"])
    func damage(_ name: String) throws {
        let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/\(name).gguf")))
        var random = SeededRandom(11), refused = 0
        try withTemporaryFolder { folder in
            let path = folder + "/x.gguf"
            for _ in 0..<300 {
                var bytes = original
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let at = Int.random(in: 0..<1_500, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                    case 1: bytes[at] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &random) ?? 0
                    case 2: for index in at..<at + 8 { bytes[index] = 0xFF }
                    default: bytes.removeSubrange(at..<at + Int.random(in: 1..<32, using: &random))
                    }
                }
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                do {
                    _ = try HookedTransformer(folder: path)
                } catch let error as LensError {
                    refused += 1
                    #expect(!error.description.contains("\n"))
                }
            }
        }
        #expect(refused > 150 && refused < 300)
    }
}
