// The laws, for models that read one text and write another, and for the heads of encoders: looking changes nothing, one
// number one way, generating equals recomputing.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct EncoderDecoderLawTests {
    static let names = ["t5", "t5-gated"]
    /// A long one, whose distances go past the furthest bucket and whose keys fill several pages.
    static let long = "long-t5"

    private static let longT5 = Result { () throws -> Transformer in
        var mlp = ModelConfig.MLP(width: 30, activation: .geluNew, gate: .biasOnEach)
        mlp.hasBiases = false
        var attention = ModelConfig.Attention(scale: 1)
        attention.hasBiases = false
        var config = ModelConfig(nLayers: 2, dModel: 24, nCtx: 512, nHeads: 3, dHead: 14, dVocab: 97, norm: .init(.rms, eps: 1e-6), mlp: mlp,
                                 position: .relative(.init(buckets: 32, maxDistance: 50)), attention: attention)
        config.encoder = .init(nLayers: 1)
        return try Transformer.random(config, seed: 9)
    }

    private func named(_ name: String) throws -> Transformer { try name == Self.long ? Self.longT5.get() : Models.named(name) }

    private func tokens(_ lengths: [Int], seed: UInt64) -> [[Int]] {
        var random = SplitMix64(state: seed)
        return lengths.map { length in (0..<length).map { _ in Int.random(in: 2..<97, using: &random) } }
    }

    /// Rows padded to one length, with their mask.
    private func padded(_ rows: [[Int]], _ side: PaddingSide, filler: Int = 5) throws -> (tokens: IntTensor, mask: IntTensor) {
        let longest = rows.map(\.count).max() ?? 0
        func fill(_ row: [Int], _ value: Int) -> [Int] {
            let filling = Array(repeating: value, count: longest - row.count)
            return side == .left ? filling + row : row + filling
        }
        return (try IntTensor(rows: rows.map { fill($0, filler) }), try IntTensor(rows: rows.map { fill($0.map { _ in 1 }, 0) }))
    }

    /// Two rows, the encoder's second padded on the right, the decoder's on the left.
    private func run(_ model: Transformer, hooks: [Hook] = [], cache: ActivationFilter = .none, encoder: [Int] = [8, 5],
                     decoder: [Int] = [6, 4]) throws -> Transformer.Output {
        let input = try padded(tokens(encoder, seed: 1), .right), output = try padded(tokens(decoder, seed: 2), .left)
        var options = Transformer.Options(hooks: hooks, cache: cache, attentionMask: output.mask)
        options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        return try model.run(.tokens(output.tokens), options)
    }

    // MARK: Looking

    @Test(arguments: names)
    func lookingChangesNothing(_ name: String) throws {
        let model = try named(name), sites = model.config.hookNames, plain = try run(model).logits
        var fired: [String] = []
        let read = Hook.read(.names(sites)) { _, at in fired.append(at.name) }
        expectSameBits(try run(model, hooks: [read]).logits, plain, "reads everywhere")
        #expect(fired == sites)
        let everything = try run(model, cache: .names(sites)).cache
        #expect(everything.names == sites)
        let identity = identityEdit(.names(sites))
        expectSameBits(try run(model, hooks: [identity], cache: .names(sites)).cache, everything, "identity everywhere")
        expectSameBits(try run(model, hooks: [stridedIdentityEdit(.names(sites))]).logits, plain, "the same values, strided")
        for site in sites {
            let one = try run(model, hooks: [identityEdit(.names([site]))], cache: .names([site]))
            expectSameBits(one.logits, plain, "identity at \(site)")
            expectSameBits(try one.cache[site], try everything[site], "\(site) alone")
        }
        let onDemand = Set(model.config.hookPoints.filter(\.site.row.isOnDemand).map(\.name))
        let ungated = try run(model, cache: .all).cache.names
        #expect(!onDemand.isEmpty && onDemand.isDisjoint(with: ungated))
    }

    /// Every site matters, and an edit of it does the same whoever else looks.
    @Test(arguments: names)
    func editsDoTheSameWhoeverLooks(_ name: String) throws {
        let model = try named(name), sites = model.config.hookNames, plain = try run(model).logits
        for site in sites where site != "hook_tokens" {
            let real = Hook.edit(.names([site])) { tensor, at in
                // The first row's last position, which sees all keys, and half of what is there.
                let axis = at.site.positionAxis ?? 1, last = tensor.rank - 1
                let place = [TensorIndex.at(0)] + Array(repeating: .all, count: axis - 1) + [.at(-1)]
                    + Array(repeating: .all, count: last - axis - 1) + [.upTo((tensor.shape[last] + 1) / 2)]
                try tensor.assign(tensor.view(place) * 0.5 + Tensor(0.25), at: place)
            }
            let edited = try run(model, hooks: [real]).logits
            #expect(bitDifference(edited, plain) != nil, "an edit of \(site) does something")
            expectSameBits(try run(model, hooks: [real, identityEdit(.names(sites))], cache: .names(sites)).logits, edited, "an edit of \(site), all looking")
        }
    }

    // MARK: One number, one way

    /// The part of an activation that belongs to one row's real positions, of encoder and decoder.
    private func part(_ activation: Tensor, _ name: String, row: Int, _ encoder: Range<Int>, _ decoder: Range<Int>) throws -> Tensor {
        let point = try #require(HookPoint(name: name))
        let isDecoders = point.stack == .decoder || name.hasPrefix("decoder") || name.hasPrefix("unembed")
        return try activation.view(point.site.row.axes.map { axis in
            switch axis {
            case .batch: .at(row)
            case .pos, .keyPos: .range(isDecoders ? decoder : encoder)
            case .encoderPos: .range(encoder)
            default: .all
            }
        })
    }

    @Test(arguments: [("t5", [7, 1, 4, 9], [2, 5, 1, 3]), ("t5-gated", [7, 1, 4, 9], [2, 5, 1, 3]), ("long-t5", [130, 64, 65, 3], [70, 3, 129, 66])],
          [PaddingSide.left, .right])
    func aRowAloneAndInABatch(_ model: (name: String, encoder: [Int], decoder: [Int]), _ side: PaddingSide) throws {
        let transformer = try named(model.name), filter = ActivationFilter.names(transformer.config.hookNames.filter { !$0.contains("_input") })
        let inputs = tokens(model.encoder, seed: 3), outputs = tokens(model.decoder, seed: 4)
        let input = try padded(inputs, side), output = try padded(outputs, .left)
        var options = Transformer.Options(cache: filter, attentionMask: output.mask)
        options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        let together = try transformer.run(.tokens(output.tokens), options)
        for row in inputs.indices {
            var options = Transformer.Options(cache: filter)
            options.encoderInput = EncoderInput(try IntTensor(rows: [inputs[row]]))
            let alone = try transformer.run(.tokens(IntTensor(rows: [outputs[row]])), options)
            let width = input.tokens.shape[1], length = inputs[row].count, decoderWidth = output.tokens.shape[1]
            let encoder = side == .left ? width - length..<width : 0..<length
            let decoder = decoderWidth - outputs[row].count..<decoderWidth
            expectSameBits(try together.logits?.at(.at(row), .range(decoder)), try alone.logits?.at(.at(0)), "row \(row): logits")
            for (name, activation) in alone.cache.entries {
                expectSameBits(try part(together.cache[name], name, row: row, encoder, decoder), try activation.at(0), "row \(row): \(name)")
            }
        }
    }

    /// Chunks over a key-value cache, which also holds what cross-attention reads.
    @Test(arguments: [("t5", 9, [[1], [2, 3], [5, 1, 1]]), ("t5-gated", 9, [[1], [4]]), ("long-t5", 140, [[64], [50, 1, 70]])])
    func inChunks(_ model: (name: String, pos: Int, chunkings: [[Int]])) throws {
        let transformer = try named(model.name), pos = model.pos
        let input = try padded(tokens([8, 5], seed: 5), .left), output = try IntTensor(rows: tokens([pos, pos], seed: 6))
        let filter = ActivationFilter.names(transformer.config.hookNames)
        var options = Transformer.Options(cache: filter)
        options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        let whole = try transformer.run(.tokens(output), options)
        for chunks in model.chunkings {
            var keyValues: KeyValueCache? = KeyValueCache(for: transformer.config, batch: 2)
            var start = 0, turn = 0
            while start < pos {
                let end = min(pos, start + chunks[turn % chunks.count])
                let piece = try IntTensor(rows: output.rows.map { Array($0[start..<end]) })
                let part = try transformer.run(.tokens(piece), options, keyValues: &keyValues)
                expectSameBits(part.logits, try whole.logits?.at(.all, .range(start..<end)), "chunks \(chunks) at \(start): logits")
                let isOnce: (String) -> Bool = { name in
                    HookPoint(name: name).map { $0.stack == .encoder || [.crossK, .crossV].contains($0.site) || ($0.layer == nil && !name.hasPrefix("decoder") && !name.hasPrefix("unembed")) } ?? false
                }
                #expect(part.cache.names == transformer.config.hookNames.filter { start == 0 || !isOnce($0) }, "what is kept is computed once")
                for (name, activation) in part.cache.entries where !isOnce(name) {
                    let axes = try #require(HookPoint(name: name)).site.row.axes
                    let expected = try whole.cache[name].view(axes.map { axis in
                        switch axis {
                        case .pos: .range(start..<end)
                        case .keyPos: .range(0..<end)
                        default: .all
                        }
                    })
                    expectSameBits(activation, expected, "chunks \(chunks) at \(start): \(name)")
                }
                options.encoderInput = nil
                start = end
                turn += 1
            }
            options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        }
    }

    @Test func theLastLogitsAlone() throws {
        let model = try named("t5"), plain = try run(model).logits
        var options = Transformer.Options()
        options.onlyLastLogits = true
        let input = try padded(tokens([8, 5], seed: 1), .right), output = try padded(tokens([6, 4], seed: 2), .left)
        options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        options.attentionMask = output.mask
        expectSameBits(try model.run(.tokens(output.tokens), options).logits, try plain?.at(.all, .from(-1)), "last logits")
    }

    // MARK: Generation

    /// Logits of each step, with and without a key-value cache.
    private func generate(_ model: Transformer, _ inputs: [[Int]], _ prompts: [[Int]], count: Int, keeping: Bool,
                          hooks: [Hook] = []) throws -> (tokens: [[Int]], logits: [Tensor]) {
        var steps: [Tensor] = []
        let watch = Hook.read("unembed.hook_out") { logits, _ in steps.append(try logits.at(.all, .at(-1))) }
        var options = GenerationOptions(maxNewTokens: count, sampling: .greedy, usesKeyValueCache: keeping, hooks: hooks + [watch])
        let input = try padded(inputs, .right)
        options.encoderInput = EncoderInput(input.tokens, attentionMask: input.mask)
        return (try model.generate(prompts, options), steps)
    }

    @Test(arguments: names + [long])
    func generatingIsRecomputing(_ name: String) throws {
        let model = try named(name), isLong = name == Self.long
        let inputs = tokens(isLong ? [70, 3, 130] : [6, 3, 9], seed: 7), prompts = isLong ? tokens([60, 2, 63], seed: 8) : [[0], [0, 4, 2], [0, 9]]
        let cached = try generate(model, inputs, prompts, count: 9, keeping: true)
        let recomputed = try generate(model, inputs, prompts, count: 9, keeping: false)
        #expect(cached.tokens == recomputed.tokens)
        #expect(cached.logits.count == 9 && recomputed.logits.count == 9)
        for (step, pair) in zip(cached.logits, recomputed.logits).enumerated() { expectSameBits(pair.0, pair.1, "step \(step)") }
        for row in inputs.indices {
            let alone = try generate(model, [inputs[row]], [prompts[row]], count: 9, keeping: true)
            #expect(alone.tokens[0] == cached.tokens[row])
            for (step, logits) in alone.logits.enumerated() { expectSameBits(try cached.logits[step].at(.at(row)), try logits.at(.at(0)), "row \(row) alone, step \(step)") }
        }
    }

    /// Edits of what the encoder writes and of cross-attention's keys and values last; the others act where they are.
    @Test(arguments: names)
    func editsHoldWhileGenerating(_ name: String) throws {
        let model = try named(name), inputs = tokens([6, 3], seed: 7), prompts = [[0], [0]]
        let plain = try generate(model, inputs, prompts, count: 4, keeping: true)
        for site in model.config.hookNames where !["hook_tokens"].contains(site) {
            let isSquare = HookPoint(name: site)?.site.row.axes.contains(.keyPos) ?? false
            // Scores and patterns have another shape in a step; the rest is edited whole.
            let edit = Hook.edit(.names([site])) { tensor, _ in if !isSquare { tensor = try tensor * 0.75 } }
            let cached = try generate(model, inputs, prompts, count: 4, keeping: true, hooks: [edit])
            let recomputed = try generate(model, inputs, prompts, count: 4, keeping: false, hooks: [edit])
            for (step, pair) in zip(cached.logits, recomputed.logits).enumerated() { expectSameBits(pair.0, pair.1, "\(site): step \(step)") }
            if !isSquare { #expect(bitDifference(cached.logits.last, plain.logits.last) != nil, "\(site)") }
        }
    }

    @Test func anEncodingIsKeptAndForked() throws {
        let model = try named("t5"), input = EncoderInput(try IntTensor(rows: tokens([7], seed: 1)))
        let encoded = try model.encode(input, .init(cache: "encoder_final_ln.hook_normalized"))
        #expect(encoded.residual?.shape == [1, 7, model.config.dModel] && encoded.cache.count == 1)
        var options = Transformer.Options()
        options.encoderInput = input
        var first: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        _ = try model.run(.tokens(IntTensor(rows: [[0, 5]])), options, keyValues: &first)
        for next in [3, 8] {
            var fork = first
            let forked = try model.run(.tokens(IntTensor(rows: [[next]])), .init(), keyValues: &fork).logits
            expectSameBits(forked, try model.run(.tokens(IntTensor(rows: [[0, 5, next]])), options).logits?.at(.all, .from(-1)), "forked with \(next)")
        }
    }

    /// A run that failed leaves nothing of its edits behind.
    @Test func aFailedRunIsForgotten() throws {
        struct Stop: Error {}
        let model = try named("t5")
        var options = Transformer.Options(hooks: [.edit("decoder.0.cross_attn.hook_k") { k, _ in k = try k * 3 },
                                                  .read("decoder.1.hook_resid_pre") { _, _ in throw Stop() }])
        options.encoderInput = EncoderInput(try IntTensor(rows: tokens([7], seed: 1)))
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        #expect(throws: Stop.self) { try model.run(.tokens(IntTensor(rows: [[0, 5]])), options, keyValues: &keyValues) }
        options.hooks = []
        let after = try model.run(.tokens(IntTensor(rows: [[0, 5]])), options, keyValues: &keyValues).logits
        expectSameBits(after, try model.run(.tokens(IntTensor(rows: [[0, 5]])), options).logits, "after a failed run")
    }

    // MARK: Heads of encoders

    /// Pooler and next-sentence head: the same alone, padded and looked at, and they change no logits.
    @Test(arguments: ["bert", "bert-bare", "bert-next-sentence"])
    func pooledHeads(_ name: String) throws {
        let model = try Models.named(name), sites = model.config.hookNames, rows = tokens([6, 1, 4], seed: 3)
        let heads = ["pooler.hook_pooler_out", "nsp_head.hook_nsp_out"].filter(sites.contains)
        #expect(!heads.isEmpty)
        for side in [PaddingSide.left, .right] {
            let batch = try padded(rows, side)
            func run(_ hooks: [Hook] = [], _ cache: ActivationFilter) throws -> Transformer.Output {
                try model.run(.tokens(batch.tokens), .init(hooks: hooks, cache: cache, attentionMask: batch.mask))
            }
            let plain = try run([], .names(heads))
            for cache in [try run([identityEdit(.names(sites))], .names(sites)).cache, try run([stridedIdentityEdit(.names(sites))], .names(sites)).cache] {
                for head in heads { expectSameBits(try cache[head], try plain.cache[head], "\(head), looked at") }
            }
            expectSameBits(try run([], .none).logits, plain.logits, "logits")
            expectSameBits(try run([], .none).residual, plain.residual, "output")
            for (index, row) in rows.enumerated() {
                let alone = try model.run(.tokens(IntTensor(rows: [row])), .init(cache: .names(heads))).cache
                for head in heads { expectSameBits(try plain.cache[head].at(.at(index)), try alone[head].at(0), "\(head), row \(index) alone") }
            }
        }
        let edited = try model.run(.tokens(IntTensor(rows: [rows[0]])), .init(hooks: [.edit(.names([heads[0]])) { x, _ in x = try x * 2 }], cache: .names(heads))).cache
        let plain = try model.run(.tokens(IntTensor(rows: [rows[0]])), .init(cache: .names(heads))).cache
        #expect(bitDifference(try edited[heads[heads.count - 1]], try plain[heads[heads.count - 1]]) != nil)
    }

    // MARK: What is refused

    @Test func whatDoesNotFitIsRefused() throws {
        let t5 = try named("t5"), bert = try Models.named("bert"), gpt = try Models.named("gpt2-tiny"), tokens = try IntTensor(rows: [[0, 3]])
        func options(_ change: (inout Transformer.Options) throws -> Void) rethrows -> Transformer.Options {
            var options = Transformer.Options()
            try change(&options)
            return options
        }
        expectError(.usage, "something to encode") { try t5.run(.tokens(tokens)) }
        expectError(.usage, "different sizes") { try t5.run(.tokens(tokens), options { $0.encoderInput = EncoderInput(try IntTensor(rows: [[1], [2]])) }) }
        expectError(.usage, "token out of range") { try t5.run(.tokens(tokens), options { $0.encoderInput = EncoderInput(try IntTensor(rows: [[97]])) }) }
        expectError(.usage, "attention mask") { try t5.run(.tokens(tokens), options { $0.encoderInput = EncoderInput(tokens, attentionMask: try IntTensor(rows: [[1]])) }) }
        expectError(.usage, "no encoder") { try gpt.run(.tokens(tokens), options { $0.encoderInput = EncoderInput(tokens) }) }
        expectError(.usage, "no encoder beside") { try gpt.encode(EncoderInput(tokens)) }
        expectError(.usage, "no kinds of token") { try gpt.run(.tokens(tokens), options { $0.tokenTypes = try IntTensor(rows: [[0, 1]]) }) }
        expectError(.usage, "token types") { try bert.run(.tokens(tokens), options { $0.tokenTypes = try IntTensor(rows: [[0, 2]]) }) }
        expectError(.usage, "token types") { try bert.run(.tokens(tokens), options { $0.tokenTypes = try IntTensor(rows: [[0]]) }) }
        for name in ["bert", "t5", "opt-350m"] {
            try withTemporaryFolder { folder in
                expectError(.usage, "cannot say what this model is") { try Models.named(name).save(to: folder + "/model") }
            }
        }
    }
}
