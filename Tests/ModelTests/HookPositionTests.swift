// Edits at named positions: the same tokens are meant however a sequence is cut into passes, padded or batched.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct HookPositionTests {
    static let names = ["gpt2-tiny", "llama-grouped", "gemma2", "gpt-neox", "native-parallel", "bloom", "gemma3", "native-gated-ln"]
    static let positions: [HookPosition] = [.all, .absolute(0), .absolute(3), .absolute(-2), .lastOfPrompt, .everyNewToken,
                                            .absolutePerRow([1, nil, 4]), .absolute(7), .absolutePerRow([-1, 0, 6])]
    private let prompts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]

    /// Halves what it is given (tokens: 3), which no two positions share.
    private func halve(_ site: String, _ position: HookPosition) -> Hook {
        .edit(.names([site]), at: position) { rows, at in
            #expect(rows.shape[0] == at.places.count && !at.places.isEmpty)
            rows = try at.site == .tokens ? Tensor(repeating: 3, shape: rows.shape) : rows * 0.5
        }
    }

    private func logits(_ model: Transformer, _ prompts: [[Int]], _ hooks: [Hook], cached: Bool = true, chunk: Int? = nil) throws -> Generation {
        var options = GenerationOptions(maxNewTokens: 5, sampling: .greedy, usesKeyValueCache: cached, hooks: hooks, outputs: .logits)
        options.prefillChunk = chunk
        return try model.generate(.tokens(prompts), options)
    }

    /// Acceptance tests 1 and 5 of the design's reference, over every site: cached equals recomputed, in one pass or in chunks.
    @Test(arguments: names)
    func cachedEqualsRecomputed(_ name: String) throws {
        let model = try LawModels.named(name)
        for (index, site) in model.config.hookNames.enumerated() {
            // Sites and positions turn together, from another start in each model; all pairs would take minutes.
            let position = Self.positions[(index + name.count) % Self.positions.count], hooks = [halve(site, position)]
            let recomputed = try logits(model, prompts, hooks, cached: false)
            let cached = try logits(model, prompts, hooks, chunk: index % 2 == 0 ? nil : 2)
            #expect(cached.tokens == recomputed.tokens, "\(site) at \(position)")
            expectSameBits(cached.logits, recomputed.logits, "\(site) at \(position)")
        }
    }

    /// Test 3: a row of a left-padded batch is the row alone, edits at its own positions included.
    @Test(arguments: names)
    func paddedRowsAreAlone(_ name: String) throws {
        let model = try LawModels.named(name), last = model.config.nLayers - 1
        for position in Self.positions {
            for site in ["blocks.0.hook_resid_post", "blocks.\(last).attn.hook_z", "blocks.0.attn.hook_v"] {
                let together = try logits(model, prompts, [halve(site, position)])
                for (row, prompt) in prompts.enumerated() {
                    var own = position
                    if case .absolutePerRow(let all) = position { own = .absolutePerRow([all[row]]) }
                    let alone = try logits(model, [prompt], [halve(site, own)])
                    expectSameBits(try together.logits?.at(.at(row)), try alone.logits?.at(.at(0)), "\(site) at \(position), row \(row)")
                }
            }
        }
    }

    /// What the modes mean, by what they are told.
    @Test func places() throws {
        let model = try LawModels.named("llama-grouped")
        func told(_ position: HookPosition, site: String = "blocks.1.hook_resid_post", chunk: Int? = nil) throws -> [[HookPlace]] {
            var told: [[HookPlace]] = []
            let watch = Hook.read(.names([site]), at: position) { rows, at in
                #expect(rows.shape.first == at.places.count)
                told.append(at.places)
            }
            _ = try logits(model, [[3, 1, 4], [9]], [watch], chunk: chunk)
            return told
        }
        func place(_ row: Int, _ index: Int, _ position: Int) -> HookPlace { HookPlace(row: row, index: index, position: position) }
        #expect(try told(.lastOfPrompt) == [[place(0, 2, 2), place(1, 2, 0)]])
        #expect(try told(.lastOfPrompt, chunk: 2) == [[place(0, 0, 2), place(1, 0, 0)]])
        #expect(try told(.absolute(-2), chunk: 2) == [[place(0, 1, 1)]])
        #expect(try told(.absolute(-4)) == [])
        #expect(try told(.absolute(1)) == [[place(0, 1, 1)], [place(1, 0, 1)]], "the second row's comes later")
        #expect(try told(.everyNewToken) == (1..<5).map { [place(0, 0, 2 + $0), place(1, 0, $0)] })
        #expect(try told(.all).first == [place(0, 0, 0), place(0, 1, 1), place(0, 2, 2), place(1, 2, 0)])
        #expect(try told(.all).count == 5)
        #expect(try told(.absolute(1), site: "blocks.1.attn.hook_rot_k").map(\.count) == [1, 2, 2, 2, 2], "all keys, in every pass")
        #expect(try told(.absolute(400)) == [])
        expectError(.usage, "another number of rows") { try told(.absolutePerRow([1])) }
        // A plain run: everything is prompt, padding on the right is none of it.
        var seen: [HookPlace] = []
        let hook = Hook.read("hook_embed", at: .lastOfPrompt) { _, at in seen = at.places }
        _ = try model.run(.tokens(IntTensor(rows: [[1, 2, 3], [1, 2, 0]])), .init(hooks: [hook], attentionMask: IntTensor(rows: [[1, 1, 1], [1, 1, 0]])))
        #expect(seen == [place(0, 2, 2), place(1, 1, 1)])
    }

    /// Rows are gathered without batch and position, and go back where they came from.
    @Test func rowsAreTheActivations() throws {
        let model = try LawModels.named("llama-grouped"), tokens = try IntTensor(rows: [[1, 2, 3, 4], [5, 6, 7, 8]])
        for name in model.config.hookNames {
            var whole: Tensor?, rows: Tensor?, places: [HookPlace] = [], axis = 0
            let hooks = [Hook.read(.names([name])) { tensor, at in (whole, axis) = (tensor, at.site.positionAxis ?? 0) },
                         Hook.read(.names([name]), at: .absolutePerRow([2, 1])) { tensor, at in (rows, places) = (tensor, at.places) }]
            _ = try model.run(.tokens(tokens), .init(hooks: hooks))
            let tensor = try #require(whole), chosen = try #require(rows)
            #expect(places.map(\.index) == [2, 1])
            for (index, place) in places.enumerated() {
                let view = [.at(place.row)] + Array(repeating: TensorIndex.all, count: axis - 1) + [.at(place.index)]
                expectSameBits(try chosen.at(.at(index)), try tensor.view(view), name)
            }
        }
        expectError(.shape, "changed the shape", "hook_z") {
            try model.run(.tokens(tokens), .init(hooks: [.edit("blocks.0.attn.hook_z", at: .all) { z, _ in z = Tensor(zeros: [1]) }]))
        }
    }

    /// An edit that returns its input changes no bit (test 2).
    @Test(arguments: names)
    func identity(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model, prompts, [])
        let hooks = model.config.hookNames.map { name in
            Hook.edit(.names([name]), at: .all) { rows, _ in try rows.withUnsafeMutableElements { for i in $0.indices { $0[i] = $0[i] } } }
        }
        let hooked = try logits(model, prompts, hooks)
        #expect(plain.tokens == hooked.tokens)
        expectSameBits(hooked.logits, plain.logits, "identity everywhere")
    }
}
