// Hooks and the options of a run: order, errors, slices, layer bounds, what is returned.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct HookTests {
    struct Stop: Error {}
    private func tokens(_ model: Transformer, batch: Int = 2, pos: Int = 6) throws -> IntTensor { try LawModels.tokens(model, batch: batch, pos: pos) }

    @Test func hooksOfOneSiteRunInTheirOrder() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try tokens(model)
        var seen: [Float] = []
        let hooks: [Hook] = [
            .read("resid_pre1") { x, _ in seen.append(x[0, 0, 0].array[0]) },
            .edit("blocks.1.hook_resid_pre") { x, _ in x[.all] = 2 },
            .read("blocks.1.hook_resid_pre") { x, _ in seen.append(x[0, 0, 0].array[0]) },
            .edit("*resid_pre") { x, at in if at.layer == 1 { x = try x * 3 } },
            .read("resid_pre1") { x, _ in seen.append(x[0, 0, 0].array[0]) },
        ]
        let output = try model.run(.tokens(tokens), .init(hooks: hooks, cache: "resid_pre1"))
        #expect(seen.count == 3 && seen[1] == 2 && seen[2] == 6 && seen[0] != 2)
        #expect(try output.cache["resid_pre1"].array.allSatisfy { $0 == 6 }, "the cache holds what the hooks leave")
    }

    @Test(arguments: LawModels.names)
    func anEditMustKeepTheShape(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try tokens(model)
        for site in model.config.hookNames {
            for change: (inout Tensor) throws -> Void in [{ $0 = try $0.reshaped([1] + $0.shape) }, { $0 = Tensor(0) }, { $0 = try $0.reshaped([-1]) }] {
                let hook = Hook.edit(.names([site])) { x, _ in try change(&x) }
                expectError(.shape, "changed the shape", site) { try model.run(.tokens(tokens), .init(hooks: [hook])) }
            }
        }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"])
    func whatAHookThrowsComesOut(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try tokens(model)
        for site in model.config.hookNames {
            #expect(throws: Stop.self) { try model.run(.tokens(tokens), .init(hooks: [.read(.names([site])) { _, _ in throw Stop() }])) }
        }
    }

    @Test func tokensAreEdited() throws {
        let model = try LawModels.named("llama-grouped"), tokens = try tokens(model)
        var other = tokens
        other[1, 2] = 5
        let edit = Hook.edit("hook_tokens") { tokens, _ in tokens[1, 2] = 5 }
        let edited = try model.run(.tokens(tokens), .init(hooks: [edit], returnType: .both))
        let expected = try model.run(.tokens(other), .init(returnType: .both))
        expectSameBits(edited.logits, expected.logits, "logits")
        expectSameBits(edited.loss, expected.loss, "the loss is of the edited tokens")
        for wrong: Float in [97, -1, 0.5, .nan, .infinity, 1e20] {
            expectError(.usage, "hook_tokens") { try model.run(.tokens(tokens), .init(hooks: [.edit("hook_tokens") { x, _ in x[0, 0] = Tensor(wrong) }])) }
        }
    }

    // MARK: What the cache keeps

    @Test(arguments: LawModels.names)
    func positionsAreSlicedOnTheirAxis(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try tokens(model), names = model.config.hookNames
        let whole = try model.run(.tokens(tokens), .init(cache: .names(names)))
        let slices: [(TensorIndex, Range<Int>)] = [(.at(0), 0..<1), (.at(-1), 5..<6), (.at(3), 3..<4), (.range(1..<4), 1..<4), (.from(-2), 4..<6),
                                                   (.upTo(2), 0..<2), (.range(2..<2), 2..<2), (.all, 0..<6), (.span(-4, -1), 2..<5)]
        for (slice, positions) in slices {
            let sliced = try model.run(.tokens(tokens), .init(cache: .names(names), posSlice: slice))
            expectSameBits(sliced.logits, whole.logits, "logits are whole")
            for (name, activation) in whole.cache.entries {
                var expected = activation
                if let routed = try whole.cache.routed(name) {
                    expected = try activation.gatherRows(routed.indices.filter { positions.contains(routed[$0] % 6) })
                } else {
                    let axis = try #require(HookPoint(name: name)?.site.positionAxis)
                    expected = try activation.view(Array(repeating: .all, count: axis) + [.range(positions)])
                }
                expectSameBits(try sliced.cache[name], expected, "\(slice), \(name)")
            }
        }
        expectError(.shape, "out of range") { try model.run(.tokens(tokens), .init(cache: "resid_pre0", posSlice: .at(6))) }
        for wrong: TensorIndex in [.range(0..<7), .at(-7), .at(Int.max), .at(Int.min), .from(7)] {
            expectError(.shape, "out of range") { try model.run(.tokens(tokens), .init(cache: "resid_pre0", posSlice: wrong)) }
        }
    }

    @Test func theBatchAxisIsDropped() throws {
        let model = try LawModels.named("gpt2-tiny"), one = try tokens(model, batch: 1)
        let whole = try model.run(.tokens(one), .init(cache: .all)).cache
        let dropped = try model.run(.tokens(one), .init(cache: .all, removeBatchDim: true)).cache
        #expect(whole.hasBatchDim && !dropped.hasBatchDim && dropped.names == whole.names)
        for (name, activation) in whole.entries { expectSameBits(try dropped[name], try activation.at(0), name) }
        expectError(.shape, "batch") { try model.run(.tokens(tokens(model)), .init(cache: .all, removeBatchDim: true)) }
        expectError(.usage, "already") { try dropped.removingBatchDim() }
    }

    // MARK: Layers

    @Test(arguments: ["gpt2-tiny", "llama-grouped", "native-parallel", "native-attn-only"])
    func stoppedAndStartedRunsAreTheWholeRun(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try tokens(model), layers = model.config.nLayers
        let mask = try IntTensor(rows: [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
        let whole = try model.run(.tokens(tokens), .init(cache: .all, returnType: .both, attentionMask: mask))
        func stream(_ layer: Int) throws -> Tensor { try layer < layers ? whole.cache["resid_pre", layer] : whole.cache["resid_post", -1] }
        for layer in -layers...layers {
            let absolute = layer < 0 ? layer + layers : layer
            let stopped = try model.run(.tokens(tokens), .init(cache: .all, attentionMask: mask, stopAtLayer: layer))
            expectSameBits(stopped.residual, try stream(absolute), "stopped at \(layer)")
            #expect(stopped.logits == nil && stopped.loss == nil)
            for (name, activation) in stopped.cache.entries { expectSameBits(activation, try whole.cache[name], "stopped at \(layer): \(name)") }
            #expect(stopped.cache.names == whole.cache.names.filter { (HookPoint(name: $0)?.layer ?? ($0.hasPrefix("hook_") ? -1 : layers)) < absolute })

            let input = Transformer.Input.residual(try stream(absolute), tokens: tokens)
            let started = try model.run(input, .init(cache: .all, returnType: .both, attentionMask: mask, startAtLayer: layer))
            expectSameBits(started.logits, whole.logits, "started at \(layer)")
            expectSameBits(started.loss, whole.loss, "started at \(layer): loss")
            for (name, activation) in started.cache.entries { expectSameBits(activation, try whole.cache[name], "started at \(layer): \(name)") }
            #expect(started.cache.names == whole.cache.names.filter { (HookPoint(name: $0)?.layer ?? ($0.hasPrefix("hook_") ? -1 : layers)) >= absolute })
        }
        for wrong in [layers + 1, -layers - 1, Int.max, Int.min] {
            expectError(.usage, "no such layer", "stopAtLayer") { try model.run(.tokens(tokens), .init(stopAtLayer: wrong)) }
            expectError(.usage, "no such layer", "startAtLayer") { try model.run(.residual(stream(0)), .init(startAtLayer: wrong)) }
        }
        expectError(.usage, "startAtLayer needs a residual stream") { try model.run(.tokens(tokens), .init(startAtLayer: 0)) }
        expectError(.usage, "not a residual stream") { try model.run(.residual(Tensor(zeros: [2, 6, model.config.dModel + 1])), .init(startAtLayer: 0)) }
    }

    // MARK: What is returned

    @Test func unembeddingIsSeenThoughNothingIsReturned() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try tokens(model)
        let logits = try model.run(.tokens(tokens)).logits
        let output = try model.run(.tokens(tokens), .init(cache: "unembed.hook_out", returnType: .none))
        #expect(output.logits == nil && output.loss == nil)
        expectSameBits(try output.cache["unembed.hook_out"], logits, "unembed.hook_out")
    }

    @Test(arguments: Transformer.ReturnType.allCases)
    func returnsWhatWasAskedFor(_ type: Transformer.ReturnType) throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try tokens(model)
        let output = try model.run(.tokens(tokens), .init(cache: "hook_embed", returnType: type))
        let both = try model.run(.tokens(tokens), .init(returnType: .both))
        #expect((output.logits != nil) == (type == .logits || type == .both))
        #expect((output.loss != nil) == (type == .loss || type == .both))
        #expect(output.residual == nil && output.cache.count == 1)
        if let logits = output.logits { expectSameBits(logits, both.logits, "logits") }
        if let loss = output.loss { expectSameBits(loss, both.loss, "loss") }
    }

    @Test func lossIsTheMeanOfItsTokens() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try tokens(model)
        let mask = try IntTensor(rows: [[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1]])
        let each = try #require(try model.run(.tokens(tokens), .init(returnType: .loss, lossPerToken: true, attentionMask: mask)).loss)
        let mean = try #require(try model.run(.tokens(tokens), .init(returnType: .loss, attentionMask: mask)).loss)
        #expect(each.shape == [2, 5] && mean.shape == [])
        let counted = [1, 1, 1, 1, 1, 0, 1, 0, 0, 1]
        for (index, loss) in each.array.enumerated() { #expect((loss > 0) == (counted[index] == 1)) }
        #expect(abs(try mean.item() - each.array.reduce(0, +) / 7) < 1e-5)
        let logits = try #require(try model.run(.tokens(tokens), .init(attentionMask: mask)).logits)
        let logProbabilities = try logits.logSoftmax()
        for (index, count) in counted.enumerated() where count == 1 {
            let (row, place) = (index / 5, index % 5)
            let expected = -(try logProbabilities.at(.at(row), .at(place), .at(tokens[row, place + 1])).item())
            #expect(abs(each.array[index] - expected) < 1e-5)
        }
        expectError(.usage, "tokens") { try model.run(.residual(Tensor(zeros: [1, 3, model.config.dModel])), .init(returnType: .loss, startAtLayer: 0)) }
    }

    @Test func inputThatDoesNotFit() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try tokens(model)
        for wrong in [[[97]], [[-1]], [[0, Int.max]], [[Int.min]]] {
            expectError(.usage, "token out of range", "0..<97") { try model.run(.tokens(IntTensor(rows: wrong))) }
        }
        for shape in [[0, 3], [3, 0], [0, 0], [6]] {
            expectError(.usage, "nothing to run on") { try model.run(.tokens(IntTensor(Array(repeating: 0, count: shape.reduce(1, *)), shape: shape))) }
        }
        for wrong in [[[1, 1, 1, 1, 1, 1]], [[1, 1], [1, 1]], [[1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 1]], [[1, 1, 1, 1, 1, -1], [1, 1, 1, 1, 1, 1]]] {
            expectError(.usage, "attention mask") { try model.run(.tokens(tokens), .init(attentionMask: IntTensor(rows: wrong))) }
        }
        expectError(.usage, "context") { try model.run(.tokens(LawModels.tokens(model, batch: 1, pos: model.config.nCtx + 1))) }
        #expect(try model.run(.tokens(LawModels.tokens(model, batch: 1, pos: model.config.nCtx))).logits?.shape == [1, model.config.nCtx, 97])
    }

    /// Rows that are all padding, a single token, and a loss of nothing: no crash, no NaN in what is real.
    @Test(arguments: LawModels.names)
    func emptyRowsAndSingleTokens(_ name: String) throws {
        let model = try LawModels.named(name)
        let output = try model.run(.tokens(IntTensor(rows: [[1, 2], [3, 4]])), .init(cache: .all, attentionMask: IntTensor(rows: [[0, 0], [1, 1]])))
        let alone = try model.run(.tokens(IntTensor(rows: [[3, 4]])))
        expectSameBits(try output.logits?.at(.from(1)), alone.logits, "the other row")
        #expect(try #require(output.logits).array.allSatisfy { !$0.isNaN })
        let single = try model.run(.tokens(IntTensor(rows: [[1]])), .init(returnType: .both, lossPerToken: true))
        #expect(single.loss?.shape == [1, 0])
    }
}
