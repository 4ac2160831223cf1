// Rotations for long contexts: generation past the original context as Hugging Face's cache has it, and what is the same and what
// is not when a run is cut in two.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct RotaryScalingTests {
    /// Keys in the cache keep the angles of the step that put them there.
    @Test(arguments: ["llama-rope-dynamic-generates", "llama-rope-longrope-generates"])
    func generatesPastTheOriginalContext(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name), run = try golden.run("generate.single")
        let tokens = try #require(run.tokens)
        var steps: [Tensor] = []
        let hook = Hook.read("unembed.hook_out") { logits, _ in steps.append(try logits.at(.all, .at(-1))) }
        let new = try model.generate([tokens.row(0)], GenerationOptions(maxNewTokens: run.maxNewTokens, sampling: .greedy, hooks: [hook]))
        #expect(new[0] == Array(run.sequences[0].dropFirst(tokens.shape[1])))
        let expected = try golden.tensor(run, "step_logits")
        #expect(steps.count == expected.shape[1])
        for (step, logits) in steps.enumerated() { expectClose(logits, try expected.at(.all, .at(step)), "\(name): step \(step)") }
    }

    /// Within the original context nothing depends on the length, and past it the length is the row's own.
    @Test(arguments: LawModels.lengthDependent)
    func lengthsWithinTheOriginalContext(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 1, pos: 13)
        func run(_ count: Int) throws -> Tensor {
            try #require(try model.run(.tokens(IntTensor(rows: [Array(tokens.row(0)[..<count])]))).logits)
        }
        expectSameBits(try run(4), try run(6).at(.all, .range(0..<4)), "both within")
        #expect(bitDifference(try run(4), try run(13).at(.all, .range(0..<4))) != nil, "one past")
    }

    @Test func frequenciesOfLengths() {
        let dynamic = Rotary(dim: 8, scaling: .dynamic(factor: 2, originalContext: 16))
        #expect(dynamic.inverseFrequencies(length: 3) == Rotary(dim: 8).inverseFrequencies)
        #expect(dynamic.inverseFrequencies(length: 16) == Rotary(dim: 8).inverseFrequencies)
        #expect(dynamic.inverseFrequencies(length: 17) != dynamic.inverseFrequencies(length: 18))
        let steps = Rotary(dim: 8, scaling: .dynamicSteps(originalContext: 16))
        #expect(steps.inverseFrequencies(length: 17) == steps.inverseFrequencies(length: 32))
        #expect(steps.inverseFrequencies(length: 33) != steps.inverseFrequencies(length: 32))
    }
}
