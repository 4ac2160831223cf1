// The acceptance tests of generation with hooks, for models that read one text and write another, and, where an edit is said
// without named positions, for decoders of each shape too: cached equals recomputed, looking changes nothing, rows are alone,
// shapes of passes, steering, capture; and two tasks at once.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct EncoderDecoderAcceptanceTests {
    static let names = ["t5", "t5-gated"]
    /// One of each shape.
    static let shapes = names + ["gpt-neox", "gpt2-tiny", "llama-grouped", "gemma2"]
    static let positions: [HookPosition] = [.all, .absolute(0), .absolute(3), .absolute(-2), .lastOfPrompt, .everyNewToken,
                                            .absolutePerRow([1, nil, 4]), .absolute(7), .absolutePerRow([-1, 0, 6])]
    private let inputs = [[7, 12, 3, 1], [8, 5, 41, 30, 2, 1], [9, 1]]
    private let prompts = [[0, 4, 1, 8, 5], [0, 2], [0, 5, 3]]

    // MARK: Runs

    /// Unequal rows to encode, filled up on the right or the left; nil for a model without an encoder.
    private func encoderInput(_ model: Transformer, _ rows: [[Int]], _ side: PaddingSide = .right) throws -> EncoderInput? {
        guard model.config.encoder != nil else { return nil }
        let longest = rows.map(\.count).max() ?? 0
        func fill(_ row: [Int], _ value: Int) -> [Int] {
            let filling = Array(repeating: value, count: longest - row.count)
            return side == .left ? filling + row : row + filling
        }
        return EncoderInput(try IntTensor(rows: rows.map { fill($0, 6) }), attentionMask: try IntTensor(rows: rows.map { fill($0.map { _ in 1 }, 0) }))
    }

    private func generate(_ model: Transformer, _ inputs: [[Int]], _ prompts: [[Int]], _ hooks: [Hook], cached: Bool = true, chunk: Int? = nil,
                          cache: ActivationFilter = .none, side: PaddingSide = .right) throws -> Generation {
        var options = GenerationOptions(maxNewTokens: 6, sampling: .greedy, usesKeyValueCache: cached, hooks: hooks, cache: cache, outputs: .logits)
        options.prefillChunk = chunk
        options.encoderInput = try encoderInput(model, inputs, side)
        return try model.generate(.tokens(prompts), options)
    }

    /// One run over what was written without its last position, in the generation's coordinates.
    private func oneRun(_ model: Transformer, _ generation: Generation, _ hooks: [Hook], cache: ActivationFilter = .none) throws -> Transformer.Output {
        let rows = generation.sequences.rows.map { Array($0.dropLast()) }, longest = generation.prompts.map(\.count).max() ?? 0
        var options = Transformer.Options(hooks: hooks, cache: cache)
        options.attentionMask = try IntTensor(rows: zip(rows, generation.prompts).map { row, prompt in
            row.indices.map { $0 < longest - prompt.count ? 0 : 1 }
        })
        options.promptLength = longest
        options.encoderInput = try encoderInput(model, inputs)
        return try model.run(.tokens(IntTensor(rows: rows)), options)
    }

    /// What is computed once: the encoder's activations, and what cross-attention makes of its output.
    private func isOnce(_ name: String, _ model: Transformer) throws -> Bool {
        guard model.config.encoder != nil else { return false }
        let point = try #require(HookPoint(name: name))
        if point.layer != nil { return point.stack == .encoder || [.crossK, .crossV].contains(point.site) }
        return !name.hasPrefix("decoder") && !name.hasPrefix("unembed")
    }

    /// Sites whose positions are the encoder's as its reader sees them: they have none to name.
    private func hasPositions(_ site: String) -> Bool { HookPoint(name: site).map { ![.crossK, .crossV].contains($0.site) } ?? false }

    /// Halves what it is given (tokens: 3), which no two positions share.
    private func halve(_ site: String, _ position: HookPosition) -> Hook {
        .edit(.names([site]), at: position) { rows, at in
            #expect(rows.shape[0] == at.places.count && !at.places.isEmpty)
            rows = try at.site == .tokens ? Tensor(repeating: 3, shape: rows.shape) : rows * 0.5
        }
    }

    // MARK: Positions

    /// Tests 1 and 5: at every site, encoder's included (whose positions are the encoder's); the four named modes at each site
    /// of self-attention and cross-attention and at the residual streams.
    @Test(arguments: names)
    func cachedEqualsRecomputed(_ name: String) throws {
        let model = try Models.named(name), plain = try generate(model, inputs, prompts, [])
        for (index, site) in model.config.hookNames.enumerated() where hasPositions(site) {
            let isMain = site.hasPrefix("decoder.") && ["attn.", "resid"].contains { site.contains($0) }
            // The others turn: all pairs of site and position would take a minute.
            let positions = isMain ? [.absolute(3), .lastOfPrompt, .everyNewToken, .all] : [Self.positions[index % Self.positions.count]]
            var isChanged = false
            for position in positions {
                let hooks = [halve(site, position)]
                let recomputed = try generate(model, inputs, prompts, hooks, cached: false)
                let cached = try generate(model, inputs, prompts, hooks, chunk: index % 2 == 0 ? nil : 2)
                #expect(cached.tokens == recomputed.tokens, "\(site) at \(position)")
                expectSameBits(cached.logits, recomputed.logits, "\(site) at \(position)")
                isChanged = isChanged || bitDifference(cached.logits, plain.logits) != nil
            }
            #expect(isChanged || !isMain, "edits of \(site) do something")
        }
    }

    /// Keys and values of the encoder's output have no positions of what is written, and say so.
    @Test func whatHasNoPositionsSaysSo() throws {
        let model = try Models.named("t5")
        for site in ["hook_k", "hook_v"] {
            expectError(.usage, "no positions of the sequence", "edit it whole") {
                try generate(model, inputs, prompts, [halve("decoder.0.cross_attn.\(site)", .absolute(1))])
            }
        }
    }

    /// Tests 1 and 5 without named positions: an edit of the given places of whole activations, in one run, is the named one
    /// while generating.
    @Test(arguments: shapes)
    func namedPositionsAreThesePlaces(_ name: String) throws {
        let model = try LawModels.named(name), isT5 = model.config.encoder != nil, stack = isT5 ? "decoder" : "blocks"
        let sites = ["\(stack).0.hook_resid_post", "\(stack).1.attn.hook_q"] + (isT5 ? ["decoder.0.cross_attn.hook_q", "decoder.1.cross_attn.hook_z"] : [])
        let longest = prompts.map(\.count).max() ?? 0
        // Places on the padded axis, row by row.
        let cases: [(HookPosition, (Int) -> Range<Int>)] = [
            (.absolute(1), { row in longest - prompts[row].count + 1..<longest - prompts[row].count + 2 }),
            (.lastOfPrompt, { _ in longest - 1..<longest }),
            (.everyNewToken, { _ in longest..<longest + 5 }),
            (.all, { row in longest - prompts[row].count..<longest + 5 }),
        ]
        for site in sites {
            for (position, places) in cases {
                let named = Hook.edit(.names([site]), at: position) { rows, _ in rows = try rows * 0.5 + 0.25 }
                let whole = Hook.edit(.names([site])) { tensor, _ in
                    for row in prompts.indices {
                        let place = [TensorIndex.at(row), .range(places(row))]
                        try tensor.assign(tensor.view(place) * 0.5 + 0.25, at: place)
                    }
                }
                let generation = try generate(model, inputs, prompts, [named])
                let expected = try oneRun(model, generation, [whole]).logits?.at(.all, .from(longest - 1))
                expectSameBits(generation.logits, expected, "\(site) at \(position)")
            }
        }
    }

    // MARK: Looking

    /// Test 2: edits that return their input change no bit.
    @Test(arguments: names)
    func identity(_ name: String) throws {
        let model = try Models.named(name), plain = try generate(model, inputs, prompts, [])
        let hooks = model.config.hookNames.map { site in
            guard hasPositions(site) else { return identityEdit(.names([site])) }
            return Hook.edit(.names([site]), at: .all) { rows, _ in try rows.withUnsafeMutableElements { for i in $0.indices { $0[i] = $0[i] } } }
        }
        for cached in [true, false] {
            let hooked = try generate(model, inputs, prompts, hooks, cached: cached)
            #expect(plain.tokens == hooked.tokens)
            expectSameBits(hooked.logits, plain.logits, "identity everywhere, cached \(cached)")
        }
    }

    // MARK: Rows

    /// Test 3: a row of an unequal batch, padded on both sides of the encoder and on the decoder's left, is the row alone.
    @Test(arguments: names, [PaddingSide.left, .right])
    func paddedRowsAreAlone(_ name: String, _ side: PaddingSide) throws {
        let model = try Models.named(name)
        let sites = ["decoder.0.hook_resid_post", "decoder.1.attn.hook_z", "decoder.0.attn.hook_v", "decoder.0.cross_attn.hook_q",
                     "decoder.1.cross_attn.hook_z", "decoder.0.hook_resid_mid_cross", "encoder.1.hook_resid_post"]
        for (turn, position) in Self.positions.enumerated() {
            for (index, site) in sites.enumerated() where (index + turn) % 2 == 0 {
                let together = try generate(model, inputs, prompts, [halve(site, position)], side: side)
                for row in prompts.indices {
                    var own = position
                    if case .absolutePerRow(let all) = position { own = .absolutePerRow([all[row]]) }
                    let alone = try generate(model, [inputs[row]], [prompts[row]], [halve(site, own)])
                    #expect(together.tokens[row] == alone.tokens[0])
                    expectSameBits(try together.logits?.at(.at(row)), try alone.logits?.at(.at(0)), "\(site) at \(position), row \(row)")
                }
            }
        }
    }

    // MARK: Passes

    /// Test 4: a hook sees the prompt once, then one position at a time; what is computed once, once.
    @Test(arguments: shapes)
    func shapesOfPasses(_ name: String) throws {
        let model = try LawModels.named(name), encoderPos = inputs.map(\.count).max() ?? 0
        for site in model.config.hookNames {
            var told: [(step: Int, positions: Range<Int>, shape: [Int])] = []
            let watch = Hook.read(.names([site])) { tensor, at in told.append((at.step, at.positions, tensor.shape)) }
            _ = try generate(model, inputs, prompts, [watch])
            let once = try isOnce(site, model), axes = try #require(HookPoint(name: site)).site.row.axes
            #expect(told.map(\.step) == (once ? [0] : Array(0..<6)), "\(site)")
            for (step, pass) in told.enumerated() {
                let isEncoders = once && !site.contains("cross_attn")
                let positions = isEncoders ? 0..<encoderPos : step == 0 ? 0..<5 : 4 + step..<5 + step
                #expect(pass.positions == positions, "\(site), step \(step)")
                for (axis, length) in zip(axes, pass.shape) {
                    switch axis {
                    case .batch: #expect(length == 3, "\(site)")
                    case .pos: #expect(length == positions.count, "\(site), step \(step)")
                    case .keyPos: #expect(length == positions.upperBound, "\(site), step \(step)")
                    case .encoderPos: #expect(length == encoderPos, "\(site), step \(step)")
                    default: break
                    }
                }
            }
        }
    }

    // MARK: Capture

    private func steer() -> [Hook] {
        [.edit("decoder.0.hook_resid_post", at: .everyNewToken) { rows, _ in rows = try rows + 0.25 },
         .edit("decoder.1.cross_attn.hook_z", at: .absolute(1)) { rows, _ in rows = try rows * 2 },
         .edit("decoder.0.attn.hook_pattern", at: .absolute(6)) { rows, _ in rows = try rows * 0.5 },
         .edit("decoder.1.cross_attn.hook_pattern", at: .everyNewToken) { rows, _ in rows = try rows * 0.5 },
         .edit("decoder.0.cross_attn.hook_v") { v, _ in v = try v * 1.5 },
         .edit("encoder.0.hook_resid_post", at: .lastOfPrompt) { rows, _ in rows = try rows * 2 }]
    }

    /// Test 6: what is captured is what one run over prompt and new tokens has, with the same edits.
    @Test(arguments: names)
    func captureEqualsOneRun(_ name: String) throws {
        let model = try Models.named(name), everything = ActivationFilter.matching { _ in true }
        for hooks in [[], steer()] {
            for (cached, chunk) in [(true, nil), (true, 2), (true, 3), (false, nil)] as [(Bool, Int?)] {
                let generation = try generate(model, inputs, prompts, hooks, cached: cached, chunk: chunk, cache: everything)
                let whole = try oneRun(model, generation, hooks, cache: everything), captured = try #require(generation.cache)
                #expect(captured.names == model.config.hookNames)
                expectSameBits(captured, whole.cache, "cached \(cached), chunks of \(chunk ?? 0)")
                expectSameBits(generation.logits, try whole.logits?.at(.all, .from(4)), "cached \(cached), chunks of \(chunk ?? 0)")
                #expect(try captured["decoder.1.attn.hook_pattern"].shape == [3, model.config.nHeads, 10, 10])
                #expect(try captured["decoder.1.cross_attn.hook_pattern"].shape == [3, model.config.nHeads, 10, 6])
                #expect(try captured["decoder.1.cross_attn.hook_k"].shape[1] == 6)
            }
        }
    }

    // MARK: At once

    /// Two tasks generate from one model with different hooks, and stream from it: each gets what it gets alone.
    @Test(arguments: names)
    func tasksGenerateAtOnce(_ name: String) async throws {
        let model = try Models.named(name), prompts = prompts, input = try encoderInput(model, inputs)
        @Sendable func options(_ factor: Float) -> GenerationOptions {
            let hooks: [Hook] = [.edit("decoder.0.hook_resid_post", at: .everyNewToken) { rows, _ in rows = try rows * Tensor(factor) },
                                 .edit("decoder.1.cross_attn.hook_k") { k, _ in k = try k * Tensor(factor) },
                                 .edit("encoder.0.hook_resid_post", at: .absolute(0)) { rows, _ in rows = try rows * Tensor(factor) }]
            var options = GenerationOptions(maxNewTokens: 10, sampling: Sampling(temperature: 1, seed: 2), hooks: hooks,
                                            cache: ["resid_post", "pattern"], outputs: [.logits, .keyValues])
            options.encoderInput = input
            return options
        }
        let alone = try (0..<2).map { try model.generate(.tokens(prompts), options(Float($0 + 2))) }
        #expect(bitDifference(alone[0].logits, alone[1].logits) != nil)
        let trunk = try #require(alone[0].keyValues)
        try await withThrowingTaskGroup(of: (Int, Generation, [[Int]], Tensor?).self) { group in
            for index in 0..<8 {
                group.addTask {
                    // A cache of all, and the encoding in it, forked by each.
                    var fork: KeyValueCache? = trunk
                    let more = try model.run(.tokens(IntTensor(rows: [[1, 2], [3, 4], [5, 6]])), keyValues: &fork).logits
                    let generation = try model.generate(.tokens(prompts), options(Float(index % 2 + 2)))
                    var streamed: [[Int]] = prompts.map { _ in [] }
                    for try await step in model.generateStream(.tokens(prompts), options(Float(index % 2 + 2))) {
                        for (row, tokens) in step.tokens.enumerated() { streamed[row] += tokens }
                    }
                    return (index % 2, generation, streamed, more)
                }
            }
            var first: Tensor?
            for try await (index, generation, streamed, more) in group {
                #expect(generation.tokens == alone[index].tokens && streamed == alone[index].tokens)
                expectSameBits(generation.logits, alone[index].logits, "logits")
                expectSameBits(try #require(generation.cache), try #require(alone[index].cache), "capture")
                expectSameBits(more, first ?? more, "forks")
                first = more
            }
        }
    }

    /// Text told as it comes is the text generated, hooks and options the same.
    @Test func textsAreStreamed() async throws {
        let t5 = try HookedEncoderDecoder(folder: "\(TestFolders.goldens)/t5"), text = "the cat sat on the mat"
        func options(_ count: Int = 12) -> GenerationOptions {
            let hook = Hook.edit("decoder.0.hook_resid_post", at: .everyNewToken) { rows, _ in rows = try rows * 1.5 }
            return GenerationOptions(maxNewTokens: count, sampling: Sampling(temperature: 2, seed: 4), hooks: [hook])
        }
        for begin in [nil, "hello"] {
            let expected = try t5.generation(text, decoderInput: begin.map { [$0] }, options())
            var told: [String] = []
            for try await piece in t5.generateStream(text, decoderInput: begin, options()) { told.append(piece) }
            #expect(told.joined() == expected.texts[0] && told.count > 2)
            #expect(told.first == (try t5.decoded(t5.decoderRows(begin, batch: 1)[0], skipSpecialTokens: true)))
        }
        await #expect(throws: LensError.self) { for try await _ in t5.generateStream(text, options(-1)) {} }
    }
}
