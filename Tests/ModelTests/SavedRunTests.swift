// A run saved to a file and read back: safetensors and npz, every site, and what is refused.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct SavedRunTests {
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "native-parallel"], ["safetensors", "npz"])
    func comesBack(_ name: String, _ ending: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: 5)
        let mask = try IntTensor(rows: [[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
        let output = try model.run(.tokens(tokens), .init(cache: .names(model.config.hookNames), attentionMask: mask))
        try withTemporaryFolder { folder in
            let path = "\(folder)/run.\(ending)"
            try saveRun(tokens: tokens, logits: output.logits, cache: output.cache, to: path)
            let cache = try ActivationCache(contentsOf: path)
            expectSameBits(cache, output.cache, path)
            #expect(cache.nLayers == model.config.nLayers && cache.hasBatchDim)
            let file = try openTensors(at: path)
            expectSameBits(try Tensor(stored: "logits", in: file), output.logits, "logits")
            #expect(try Tensor(stored: "tokens", in: file).array == tokens.array.map(Float.init))
            for integers in ["tokens", "hook_tokens"] { #expect(file.entry(integers)?.dtype == .i64) }
            #expect(file.entry("logits")?.dtype == .f32)
        }
    }

    @Test func withoutTheBatchAxis() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try LawModels.tokens(model, batch: 1, pos: 5)
        let output = try model.run(.tokens(tokens), .init(cache: "pattern0", removeBatchDim: true))
        try withTemporaryFolder { folder in
            try saveRun(tokens: nil, logits: nil, cache: output.cache, to: folder + "/run.safetensors")
            let cache = try ActivationCache(contentsOf: folder + "/run.safetensors")
            #expect(!cache.hasBatchDim && cache.nLayers == 3 && cache.names == ["blocks.0.attn.hook_pattern"])
            expectSameBits(try cache["pattern", -3], try output.cache["pattern", 0], "negative layers count from the model's end")
        }
    }

    @Test(arguments: ["blocks.0.attn.hook_zz", "weight", "blocks.-1.attn.hook_z", "blocks.9223372036854775807.attn.hook_z", "hook_embed.", ""])
    func whatIsNoActivationIsRefused(_ name: String) throws {
        try withTemporaryFolder { folder in
            let path = folder + "/run.safetensors"
            try SafetensorsWriter.write([TensorContent(name, shape: [1], [Float(1)])], metadata: [:], to: path)
            expectError(.format, "not an activation", path) { try ActivationCache(contentsOf: path) }
        }
        expectError(.usage, "unknown kind", ".safetensors or .npz") {
            try saveRun(tokens: nil, logits: nil, cache: ActivationCache(nLayers: 1), to: "run.txt")
        }
        for wrong: Float in [.nan, .infinity, 0.5, 1e30] {
            var cache = ActivationCache(nLayers: 1)
            cache.store("hook_tokens", Tensor(wrong))
            expectError(.usage, "not a token") { try saveRun(tokens: nil, logits: nil, cache: cache, to: "run.npz") }
        }
        expectError(.file, "/nowhere/run.npz") { try saveRun(tokens: nil, logits: nil, cache: ActivationCache(nLayers: 1), to: "/nowhere/run.npz") }
        expectError(.file) { try ActivationCache(contentsOf: "/nowhere/run.npz") }
    }
}
