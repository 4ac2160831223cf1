// Law 4: generating with a key-value cache equals recomputing, token for token and bit for bit, hooks included; and a
// batch of unequal prompts equals its rows alone.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct GenerationTests {
    /// Generates greedily and keeps each step's logits, `[batch, vocabulary]`.
    private func generate(_ model: Transformer, _ prompts: [[Int]], count: Int, keeping: Bool, hooks: [Hook] = [],
                          sampling: Sampling = .greedy) throws -> (tokens: [[Int]], logits: [Tensor]) {
        var steps: [Tensor] = []
        let watch = Hook.read("unembed.hook_out") { logits, _ in steps.append(try logits.at(.all, .at(-1))) }
        let options = GenerationOptions(maxNewTokens: count, sampling: sampling, usesKeyValueCache: keeping, hooks: hooks + [watch])
        return (try model.generate(prompts, options), steps)
    }

    private func expectCachedEqualsRecomputed(_ model: Transformer, _ prompts: [[Int]], count: Int, hooks: [Hook] = [], _ what: String) throws {
        let cached = try generate(model, prompts, count: count, keeping: true, hooks: hooks)
        let recomputed = try generate(model, prompts, count: count, keeping: false, hooks: hooks)
        #expect(cached.tokens == recomputed.tokens, "\(what)")
        #expect(cached.logits.count == count && recomputed.logits.count == count, "\(what)")
        for (step, pair) in zip(cached.logits, recomputed.logits).enumerated() { expectSameBits(pair.0, pair.1, "\(what): step \(step)") }
    }

    /// An edit of positions that `chosen` accepts, wherever they are in this pass: it halves what stands there.
    private func positional(_ name: String, where chosen: @escaping (Int) -> Bool) -> Hook {
        .edit(.names([name])) { tensor, at in
            if let routed = at.routed {
                // The rows of an expert are the tokens that go to it.
                for (row, token) in routed.enumerated() where chosen(at.positions.lowerBound + token % at.positions.count) {
                    try tensor.set(.at(row), to: tensor.at(.at(row)) * 0.5)
                }
                return
            }
            guard let axis = at.site.positionAxis else { return }
            // hook_rot_k holds the keys of all positions, the others the local rows.
            let positions = at.site.row.axes[axis] == .keyPos ? 0..<at.positions.upperBound : at.positions
            for position in positions where chosen(position) {
                let place = Array(repeating: TensorIndex.all, count: axis) + [.at(position - positions.lowerBound)]
                let old = try tensor.view(place)
                try tensor.assign(at.site == .tokens ? Tensor(zeros: old.shape) + 3 : at.site == .expertIndices ? Tensor(zeros: old.shape) + 1 : old * 0.5, at: place)
            }
        }
    }

    @Test(arguments: LawModels.generating)
    func cachedEqualsRecomputed(_ name: String) throws {
        let model = try LawModels.named(name)
        try expectCachedEqualsRecomputed(model, [[3, 1, 4]], count: 8, "one prompt")
        try expectCachedEqualsRecomputed(model, [[3, 1, 4], [1], [5, 9, 2, 6, 5]], count: 8, "unequal prompts")
    }

    @Test(arguments: LawModels.long)
    func acrossPages(_ name: String) throws {
        let model = try LawModels.named(name)
        let prompts = try [60, 57, 2].map { try LawModels.tokens(model, batch: 1, pos: $0, seed: UInt64($0)).row(0) }
        try expectCachedEqualsRecomputed(model, prompts, count: 10, "across a page")
    }

    @Test(arguments: LawModels.generating)
    func editsAtAbsolutePositions(_ name: String) throws {
        let model = try LawModels.named(name), prompts = [[3, 1, 4, 1, 5], [9, 2]]
        for site in model.config.hookNames {
            try expectCachedEqualsRecomputed(model, prompts, count: 4, hooks: [positional(site) { $0 == 3 }], "\(site) in the prompt")
            try expectCachedEqualsRecomputed(model, prompts, count: 4, hooks: [positional(site) { $0 == 6 }], "\(site) in a new token")
        }
    }

    @Test(arguments: LawModels.generating)
    func editsOnEveryNewToken(_ name: String) throws {
        let model = try LawModels.named(name), prompts = [[3, 1, 4, 1, 5], [9, 2]]
        for site in model.config.hookNames {
            try expectCachedEqualsRecomputed(model, prompts, count: 4, hooks: [positional(site) { $0 >= 5 }], "\(site) on every new token")
        }
    }

    @Test(arguments: LawModels.generating)
    func aBatchEqualsItsRowsAlone(_ name: String) throws {
        let model = try LawModels.named(name), prompts = [[3, 1, 4, 1, 5, 9], [2], [6, 5, 3]]
        let steer = Hook.edit(.names(["blocks.\(model.config.nLayers - 1).hook_resid_pre"])) { residual, at in
            if !at.isPrefill { residual = try residual + 0.25 }
        }
        for hooks in [[], [steer]] {
            let together = try generate(model, prompts, count: 6, keeping: true, hooks: hooks)
            for (row, prompt) in prompts.enumerated() {
                let alone = try generate(model, [prompt], count: 6, keeping: true, hooks: hooks)
                #expect(together.tokens[row] == alone.tokens[0])
                for step in 0..<6 { expectSameBits(try together.logits[step].at(.at(row)), try alone.logits[step].at(.at(0)), "row \(row), step \(step)") }
            }
        }
    }

    /// Row 0 of a sampled batch draws what it draws alone, and ended rows do not disturb the others.
    @Test func endedRowsStop() throws {
        let model = try LawModels.named("gpt2-tiny"), prompts = [[3, 1, 4, 1, 5, 9], [2], [6, 5, 3]]
        let free = try model.generate(prompts, .init(maxNewTokens: 10, sampling: .greedy))
        let eos = free[1][2]
        var told: [[Int?]] = []
        let ended = try model.generate(prompts, .init(maxNewTokens: 10, sampling: .greedy, eosTokens: [eos])) { tokens in
            told.append(tokens)
            return true
        }
        for row in prompts.indices {
            let end = free[row].firstIndex(of: eos).map { $0 + 1 } ?? free[row].count
            #expect(ended[row] == Array(free[row][..<end]))
            for (step, tokens) in told.enumerated() { #expect(tokens[row] == (step < end ? free[row][step] : nil)) }
        }
    }

    @Test func hooksAreToldWhereTheyAre() throws {
        let model = try LawModels.named("llama-grouped")
        var told: [(Range<Int>, Int, [Int], Bool)] = []
        let watch = Hook.read("blocks.1.attn.hook_z") { tensor, at in
            #expect(at.layer == 1 && at.site == .z && at.name == "blocks.1.attn.hook_z")
            #expect(tensor.shape[1] == at.positions.count)
            told.append((at.positions, at.step, at.padding, at.isPrefill))
        }
        _ = try model.generate([[1, 2, 3], [4]], .init(maxNewTokens: 3, sampling: .greedy, hooks: [watch]))
        #expect(told.map(\.0) == [0..<3, 3..<4, 4..<5])
        #expect(told.map(\.1) == [0, 1, 2])
        #expect(told.map(\.2) == [[0, 2], [0, 2], [0, 2]])
        #expect(told.map(\.3) == [true, false, false])
    }

    @Test func whatItRefuses() throws {
        let model = try LawModels.named("gpt2-tiny"), context = model.config.nCtx
        expectError(.usage, "nothing to continue") { try model.generate([]) }
        expectError(.usage, "nothing to continue") { try model.generate([[1], []]) }
        expectError(.usage, "number of new tokens") { try model.generate([[1]], .init(maxNewTokens: -1)) }
        expectError(.usage, "context") { try model.generate([[1, 2]], .init(maxNewTokens: context)) }
        expectError(.usage, "context") { try model.generate([[1]], .init(maxNewTokens: Int.max)) }
        expectError(.usage, "token out of range") { try model.generate([[97]], .init(maxNewTokens: 1)) }
        expectError(.usage, "token out of range") { try model.generate([[-1]], .init(maxNewTokens: 1)) }
        #expect(try model.generate([[1]], .init(maxNewTokens: 0)) == [[]])
        #expect(try model.generate([[1]], .init(maxNewTokens: context, sampling: .greedy))[0].count == context)
        #expect(try model.generate([[1], [2]], .init(maxNewTokens: 5, sampling: .greedy)) { _ in false }.map(\.count) == [1, 1])
    }

    @Test func aBidirectionalModelCannotContinue() throws {
        let model = try LawModels.named("native-bidirectional")
        expectError(.usage, "bidirectional") { try model.generate([[1, 2, 3]], .init(maxNewTokens: 3, sampling: .greedy)) }
    }
}
