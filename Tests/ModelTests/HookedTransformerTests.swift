// The model as a user holds it: inputs of every kind, padded batches, scopes of hooks. On tokens; text is StoriesTests'.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct HookedTransformerTests {
    private let model: HookedTransformer

    init() throws { model = HookedTransformer(try LawModels.named("llama-grouped")) }

    @Test func inputsOfEveryKind() throws {
        let expected = try model.model.run(.tokens(IntTensor(rows: [[3, 1, 4]]))).logits
        expectSameBits(try model.logits([3, 1, 4]), expected, "[Int]")
        expectSameBits(try model.logits([[3, 1, 4]]), expected, "[[Int]]")
        expectSameBits(try model.logits(IntTensor([3, 1, 4])), expected, "IntTensor [pos]")
        expectSameBits(try model.logits(IntTensor(rows: [[3, 1, 4]])), expected, "IntTensor [batch, pos]")
        expectError(.usage, "no tokenizer") { try model.logits("text") }
        expectError(.usage, "no tokenizer") { try model.toStrTokens([1]) }
        expectError(.usage, "nothing to run on") { try model.logits([Int]()) }
        expectError(.usage, "nothing to run on") { try model.logits([[Int]]()) }
        expectError(.usage, "nothing to run on", "row 1") { try model.logits([[1], []]) }
        expectError(.usage, "nothing to run on") { try model.logits(IntTensor([1, 2], shape: [1, 1, 2])) }
    }

    @Test(arguments: PaddingSide.allCases)
    func unequalRowsAreTheRowsAlone(_ side: PaddingSide) throws {
        let rows = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]
        let together = try model.logits(rows, paddingSide: side)
        #expect(try model.toTokens(rows, paddingSide: side).row(1) == (side == .left ? [0, 0, 0, 0, 9] : [9, 0, 0, 0, 0]))
        for (index, row) in rows.enumerated() {
            let real = side == .left ? 5 - row.count..<5 : 0..<row.count
            expectSameBits(try together.at(.at(index), .range(real)), try model.logits(row).at(.at(0)), "row \(index)")
        }
        let loss = try model.loss(rows, perToken: true, paddingSide: side)
        #expect(loss.shape == [3, 4] && loss.array.count { $0 > 0 } == 4 + 0 + 2)
    }

    @Test func runsWithCache() throws {
        let (logits, cache) = try model.runWithCache([3, 1, 4])
        expectSameBits(logits, try model.logits([3, 1, 4]), "logits")
        #expect(cache.names == (try model.model.run(.tokens(IntTensor(rows: [[3, 1, 4]])), .init(cache: .all)).cache.names))
        let (residual, early) = try model.runWithCache([3, 1, 4], namesFilter: "resid_pre", stopAtLayer: 1)
        expectSameBits(residual, try cache["resid_pre", 1], "the stream before layer 1")
        #expect(early.names == ["blocks.0.hook_resid_pre"])
        let (_, sliced) = try model.runWithCache([3, 1, 4], namesFilter: "pattern", posSlice: .at(-1), removeBatchDim: true)
        expectSameBits(try sliced["pattern", 0], try cache["pattern", 0].at(.at(0), .all, .from(-1)), "the last query's pattern")
    }

    @Test func scopesCarryHooks() throws {
        let zero = Hook.edit("blocks.0.attn.hook_z") { z, _ in z[.all, .all, 3] = 0 }
        let double = Hook.edit("blocks.1.hook_resid_pre") { x, _ in x = try x * 2 }
        let tokens = [3, 1, 4], plain = try model.logits(tokens)
        let both = try model.runWithHooks(tokens, hooks: [zero, double])
        try model.hooks([zero]) { hooked in
            expectSameBits(try hooked.logits(tokens), try model.runWithHooks(tokens, hooks: [zero]), "a scope")
            expectSameBits(try hooked.runWithHooks(tokens, hooks: [double]), both, "a scope and a run's own")
            expectSameBits(try hooked.hooks([double]) { try $0.logits(tokens) }, both, "a scope in a scope")
            expectSameBits(try hooked.runWithCache(tokens).1["z", 0].at(.all, .all, .at(3)), Tensor(zeros: [1, 3, 14]), "what the cache holds")
            #expect(try hooked.generate(tokens: [tokens], maxNewTokens: 5, sampling: .greedy)
                == model.generate(tokens: [tokens], maxNewTokens: 5, sampling: .greedy, hooks: [zero]))
            expectSameBits(try model.logits(tokens), plain, "the model outside is as it was")
        }
        expectSameBits(try model.logits(tokens), plain, "afterwards too")
        #expect(bitDifference(both, plain) != nil)
    }

    @Test func replacingAParameter() throws {
        let old = try model["blocks.0.attn.W_Q"], changed = try model.with("blocks.0.attn.W_Q", Tensor(zeros: old.shape))
        let (_, cache) = try changed.runWithCache([3, 1, 4], namesFilter: "q0")
        #expect(try cache["q0"].array.allSatisfy { $0 == 0 })
        expectSameBits(try model["blocks.0.attn.W_Q"], old, "the first model's")
    }
}
