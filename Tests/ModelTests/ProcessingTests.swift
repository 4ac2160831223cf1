// Rewriting the weights: no family's log-probabilities change, each step does what its name says, what is not exact is left
// out and said, and originals stay as they were. TransformerLens' own processed state dicts are AnalysisTests' business.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct ProcessingTests {
    private static let steps = WeightProcessing.Step.allCases

    /// Tokens of a golden's first run that has some.
    private func tokens(_ name: String) throws -> IntTensor { try #require(Golden(name).runs.first { $0.tokens != nil }?.tokens) }

    private func logProbs(_ model: Transformer, _ tokens: IntTensor) throws -> Tensor {
        try #require(model.run(.tokens(tokens)).logits).logSoftmax()
    }

    private func expectSameModel(_ model: Transformer, _ original: Tensor, _ tokens: IntTensor, _ what: String) throws {
        let found = try logProbs(model, tokens).array, expected = original.array
        let worst = zip(found, expected).map { abs(Double($0) - Double($1)) }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
        #expect(found.count == expected.count && worst <= 1e-4, "\(what): log-probabilities differ by \(worst)")
    }

    @Test(arguments: ["bert", "roberta-bare", "t5", "opt-350m", "openai-gpt"])
    func whatHasNoNormBeforeItIsLeftAsItIs(_ name: String) throws {
        let model = try Models.named(name), processed = try model.processWeights()
        #expect(processed.processing.done.isEmpty && processed.processing.skipped.count == 4 && processed.config == model.config)
        for step in Self.steps { expectError(.usage, "would change what this model computes") { try model.processWeights(.only(step)) } }
        for parameter in model.parameters.names { expectSameBits(try processed.parameters[parameter], try model.parameters[parameter], parameter) }
    }

    @Test(arguments: TestFolders.sumNames)
    func processedIsTheSameModel(_ name: String) throws {
        let model = try Models.named(name), tokens = try tokens(name), expected = try logProbs(model, tokens)
        let before = try model.parameters["unembed.W_U"].array
        let processed = try model.processWeights()
        try expectSameModel(processed, expected, tokens, name)
        #expect(processed.processing.done.count + processed.processing.skipped.count == 4)
        #expect(try model.parameters["unembed.W_U"].array == before && model.processing == ProcessingRecord())
        // Folded norms have no weights left; where there were none to begin with, the step may still be skipped.
        if processed.processing.done.contains(.foldLn) { #expect(processed.config.norm?.hasWeights != true && processed.config.finalNorm?.hasWeights != true) }
        // Nothing is left to do.
        let again = try processed.processWeights()
        #expect(again.processing == processed.processing && again.config == processed.config)
        try expectSameModel(again, expected, tokens, "\(name), twice")
        for step in Self.steps {
            let one: Transformer
            do { one = try model.processWeights(.only(step)) } catch {
                if step != .refactorFactoredAttnMatrices { #expect(processed.processing.skipped.contains { $0.step == step }, "\(name): \(step): \(error)") }
                continue
            }
            #expect(one.processing.done == [step])
            try expectSameModel(one, expected, tokens, "\(name), \(step.rawValue)")
        }
    }

    /// The largest mean over `axis`, of `[outer, axis, inner]`, against the largest element.
    private func meanOver(_ axis: Int, _ tensor: Tensor) throws -> Double {
        let shape = tensor.shape, inner = shape[(axis + 1)...].reduce(1, *), size = shape[axis], values = tensor.array
        let largest = values.map { abs(Double($0)) }.max() ?? 0
        var worst = 0.0
        for outer in 0..<shape[..<axis].reduce(1, *) {
            for i in 0..<inner {
                var sum = 0.0
                for a in 0..<size { sum += Double(values[(outer * size + a) * inner + i]) }
                worst = max(worst, abs(sum) / Double(size))
            }
        }
        return worst / max(largest, .leastNonzeroMagnitude)
    }

    @Test(arguments: ["gpt2-tiny", "gpt-neox", "gptj", "bloom", "native-gated-ln"])
    func whatIsCenteredHasMeanZero(_ name: String) throws {
        let processed = try Models.named(name).processWeights(), parameters = processed.parameters
        #expect(processed.processing.skipped.isEmpty)
        for block in (0..<processed.config.nLayers).map({ "blocks.\($0)" }) {
            for (weight, axis) in [("attn.W_Q", 1), ("attn.W_K", 1), ("attn.W_V", 1), ("attn.W_O", 2), ("attn.b_O", 0), ("mlp.W_in", 0), ("mlp.W_out", 1)] {
                #expect(try meanOver(axis, parameters["\(block).\(weight)"]) < 1e-6, "\(name): \(block).\(weight)")
            }
            #expect(try parameters["\(block).attn.b_V"].array.allSatisfy { $0 == 0 })
            #expect(!parameters.names.contains("\(block).ln1.w") && !parameters.names.contains("\(block).ln2.b"))
        }
        #expect(try meanOver(1, parameters["embed.W_E"]) < 1e-6)
        #expect(try meanOver(0, parameters["unembed.W_U"]) < 1e-6 && meanOver(1, parameters["unembed.W_U"]) < 1e-6)
    }

    @Test func whatIsNotExactIsLeftOutAndSaid() throws {
        let gemma = try Models.named("gemma2")
        let processed = try gemma.processWeights()
        #expect(processed.processing.done == [.foldLn, .foldValueBiases])
        #expect(processed.processing.skipped.map(\.step) == [.centerWritingWeights, .centerUnembed])
        #expect("\(processed.processing)".contains("not center_unembed (the logits are capped)"))
        // Post-norms stay whole.
        #expect(processed.parameters.names.contains("blocks.0.ln1_post.w"))
        expectError(.usage, "center_unembed would change what this model computes", "capped") { try gemma.processWeights(.only(.centerUnembed)) }
        expectError(.usage, "center_writing_weights") { try gemma.processWeights(WeightProcessing(centerWritingWeights: true)) }
        for (name, reason) in [("gpt-neox", "rotated"), ("llama-grouped", "rotated"), ("gpt-bigcode", "share")] {
            expectError(.usage, "refactor_factored_attn_matrices", reason) { try Models.named(name).processWeights(.only(.refactorFactoredAttnMatrices)) }
        }
        expectError(.usage, "layer norm") { try Models.named("native-ln-final-rms").processWeights(.only(.centerWritingWeights)) }
        expectError(.usage, "fold_ln", "come after") { try Models.named("olmo2").processWeights(.only(.foldLn)) }
        expectError(.usage, "fold_value_biases", "clipped") { try Models.named("olmo-clip").processWeights(.only(.foldValueBiases)) }
        #expect(try gemma.processWeights(.none).processing == ProcessingRecord())
        let some = try Models.named("gpt2-tiny").processWeights(WeightProcessing(foldLn: false, refactorFactoredAttnMatrices: true))
        #expect(some.processing.done == Self.steps.filter { $0 != .foldLn } && some.config.norm?.hasWeights == true)
    }

    @Test(arguments: ["gpt2-tiny", "gemma2", "bloom", "native-gated-ln", "native-ln-final-rms"])
    func aProcessedModelIsSavedAsOne(_ name: String) throws {
        let processed = try Models.named(name).processWeights(), tokens = try tokens(name)
        try withTemporaryFolder { folder in
            try processed.save(to: folder)
            let json = try JSON.parse(file: folder + "/config.json", limit: 1 << 20)
            #expect(json["normalization_type"]?.stringValue == (processed.config.norm?.kind == .layer ? "LNPre" : "RMSPre"))
            let loaded = try HookedTransformer(folder: folder, processing: .none).model
            expectSameBits(try loaded.run(.tokens(tokens)).logits, try processed.run(.tokens(tokens)).logits, name)
        }
    }

    @Test func foldedByDefault() async throws {
        let folder = "\(TestFolders.goldens)/gpt2-tiny", tokens = try tokens("gpt2-tiny")
        let model = try await HookedTransformer.fromPretrained(folder), raw = try await HookedTransformer.fromPretrained(folder, processing: .none)
        #expect(model.processing.done == [.foldLn, .centerWritingWeights, .centerUnembed, .foldValueBiases])
        expectSameBits(try model.logits(tokens), try raw.processWeights().logits(tokens), "at load and later")
        expectSameBits(try raw.logits(tokens), try #require(Models.named("gpt2-tiny").run(.tokens(tokens)).logits as Tensor?), "none")
    }
}
