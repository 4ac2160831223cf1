// Activations captured while generating are those of one run over the prompt and every new token but the last.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct CaptureTests {
    static let names = ["gpt2-tiny", "llama-grouped", "gemma2", "gpt-neox", "gemma3", "native-parallel", "bloom", "native-no-norm"]
    private let prompts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]

    private func steer(_ model: Transformer) -> [Hook] {
        let last = model.config.nLayers - 1
        return [.edit(.names(["blocks.0.hook_resid_post"]), at: .everyNewToken) { rows, _ in rows = try rows + 0.25 },
                .edit(.names(["blocks.\(last).attn.hook_z"]), at: .absolute(1)) { rows, _ in rows = try rows * 2 },
                .edit(.names(["blocks.0.attn.hook_pattern"]), at: .absolute(6)) { rows, _ in rows = try rows * 0.5 }]
    }

    /// One run over the sequence without its last position, in the generation's coordinates.
    private func oneRun(_ model: Transformer, _ generation: Generation, _ hooks: [Hook]) throws -> ActivationCache {
        let rows = generation.sequences.rows.map { Array($0.dropLast()) }, longest = generation.prompts.map(\.count).max() ?? 0
        var options = Transformer.Options(hooks: hooks, cache: .matching { _ in true })
        options.attentionMask = try IntTensor(rows: zip(rows, generation.prompts).map { row, prompt in
            Array(repeating: 0, count: longest - prompt.count) + Array(repeating: 1, count: row.count - longest + prompt.count)
        })
        options.promptLength = longest
        return try model.run(.tokens(IntTensor(rows: rows)), options).cache
    }

    @Test(arguments: names)
    func equalsOneRun(_ name: String) throws {
        let model = try LawModels.named(name)
        for hooks in [[], steer(model)] {
            for (cached, chunk) in [(true, nil), (true, 2), (true, 3), (false, nil)] as [(Bool, Int?)] {
                var options = GenerationOptions(maxNewTokens: 6, sampling: .greedy, usesKeyValueCache: cached, hooks: hooks, cache: .matching { _ in true })
                options.prefillChunk = chunk
                let generation = try model.generate(.tokens(prompts), options)
                expectSameBits(try #require(generation.cache), try oneRun(model, generation, hooks), "cached \(cached), chunks of \(chunk ?? 0)")
                #expect(try generation.cache?["blocks.1.attn.hook_pattern"].shape == [3, model.config.nHeads, 10, 10])
            }
        }
    }

    /// Across pages of 64 keys, and past windows whose old keys have been let go where nobody looks.
    @Test(arguments: ["long-gpt2", "long-llama"])
    func longSequences(_ name: String) throws {
        let model = try LawModels.named(name)
        let prompt = try LawModels.tokens(model, batch: 1, pos: 60).row(0)
        let generation = try model.generate(.tokens([prompt]), .init(maxNewTokens: 10, sampling: .greedy, cache: ["z", "pattern", "resid_post"]))
        let whole = try model.run(.tokens(IntTensor(rows: generation.sequences.rows.map { Array($0.dropLast()) })), .init(cache: ["z", "pattern", "resid_post"]))
        expectSameBits(try #require(generation.cache), whole.cache, name)
    }

    @Test func nothingIsCapturedUnasked() throws {
        let model = try LawModels.named("gpt2-tiny")
        let generation = try model.generate(.tokens(prompts), .init(maxNewTokens: 3, sampling: .greedy))
        #expect(generation.cache?.isEmpty == true && generation.logits == nil && generation.logProbabilities == nil && generation.keyValues == nil)
        // Rows that end do not end the capture of the others.
        let eos = generation.tokens[1][0]
        let ended = try model.generate(.tokens(prompts), .init(maxNewTokens: 4, sampling: .greedy, eosTokens: [eos], cache: ["resid_post"]))
        #expect(ended.finishReasons[1] == .eos && ended.tokens[1] == [eos])
        #expect(ended.sequences.row(1).suffix(ended.sequences.shape[1] - 5).allSatisfy { $0 == eos })
        expectSameBits(try #require(ended.cache).filtered("resid_post"), try oneRun(model, ended, []).filtered("resid_post"), "an ended row")
        expectError(.name, "hook_nonsense") { try model.generate(.tokens(prompts), .init(cache: "hook_nonsense")) }
    }
}

extension ActivationCache {
    /// Entries whose name ends so.
    fileprivate func filtered(_ ending: String) -> ActivationCache {
        var result = ActivationCache(nLayers: nLayers)
        for (name, activation) in entries where name.hasSuffix(ending) { result.store(name, activation) }
        return result
    }
}
