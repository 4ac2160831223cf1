// What generation returns: logits, log-probabilities, reasons, seeds by row, embeddings as input, streams and their end.

import LensTestSupport
import Synchronization
import Testing
import TransformerLens

@Suite struct GenerationResultTests {
    private let prompts = [[3, 1, 4, 1, 5], [9, 2]]

    @Test(arguments: ["gpt2-tiny", "gemma2", "gpt-neox"])
    func logitsAndLogProbabilities(_ name: String) throws {
        let model = try LawModels.named(name)
        let options = GenerationOptions(maxNewTokens: 6, sampling: Sampling(temperature: 1.5, seed: 3), outputs: [.logits, .logProbabilities])
        let result = try model.generate(.tokens(prompts), options)
        let logits = try #require(result.logits), logProbabilities = try #require(result.logProbabilities)
        #expect(logits.shape == [2, 6, model.config.dVocabOut])
        for (row, prompt) in prompts.enumerated() {
            let whole = try #require(model.run(.tokens(IntTensor(rows: [prompt + result.tokens[row]]))).logits)
            expectSameBits(try logits.at(.at(row)), try whole.at(.at(0), .span(prompt.count - 1, prompt.count + 5)), "row \(row)")
            let expected = try whole.logSoftmax()
            for (step, token) in result.tokens[row].enumerated() {
                #expect(try logProbabilities[row][step] == expected.at(.at(0), .at(prompt.count - 1 + step), .at(token)).item())
            }
        }
        #expect(result.finishReasons == [.length, .length])
        #expect(result.sequences.rows == [prompts[0] + result.tokens[0], [0, 0, 0] + prompts[1] + result.tokens[1]])
    }

    @Test func reasons() throws {
        let model = try LawModels.named("gpt2-tiny")
        let free = try model.generate(prompts, .init(maxNewTokens: 8, sampling: .greedy))
        var options = GenerationOptions(maxNewTokens: 8, sampling: .greedy, eosTokens: [free[0][2], 96, free[0][5]])
        options.stopping = { row, new in row == 1 && new.count == 4 }
        var result = try model.generate(.tokens(prompts), options)
        let end = (free[0].firstIndex { options.eosTokens.contains($0) } ?? 7) + 1
        #expect(result.tokens[0] == Array(free[0][..<end]) && result.finishReasons[0] == .eos)
        let other = free[1].prefix(4).firstIndex { options.eosTokens.contains($0) }
        #expect(result.finishReasons[1] == (other == nil ? .stop : .eos) && result.tokens[1].count == (other ?? 3) + 1)
        result = try model.generate(.tokens(prompts), .init(maxNewTokens: 8, sampling: .greedy)) { _ in false }
        #expect(result.finishReasons == [.caller, .caller] && result.tokens.map(\.count) == [1, 1])
    }

    @Test func seedsByRow() throws {
        let model = try LawModels.named("gpt2-tiny"), same = [[1, 2, 3], [1, 2, 3], [1, 2, 3]]
        var options = GenerationOptions(maxNewTokens: 12, sampling: Sampling(temperature: 2))
        options.seeds = [5, 6, 5]
        let rows = try model.generate(same, options)
        #expect(rows[0] == rows[2] && rows[0] != rows[1])
        options.seeds = [6]
        #expect(try model.generate([[1, 2, 3]], options)[0] == rows[1])
        options.seeds = [1, 2]
        expectError(.usage, "seeds") { try model.generate(same, options) }
        expectError(.usage, "prefill chunk") {
            options.seeds = nil
            options.prefillChunk = 0
            return try model.generate(same, options)
        }
    }

    /// Embeddings of tokens generate what the tokens do, with a cache or without, in unequal rows, with edits at positions.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gemma2", "bloom", "native-parallel"])
    func embeddingsAsInput(_ name: String) throws {
        let model = try LawModels.named(name)
        let rows = try prompts.map { prompt in
            try model.run(.tokens(IntTensor(rows: [prompt])), .init(cache: "hook_embed")).cache["hook_embed"].at(.at(0)).contiguous()
        }
        let edit = Hook.edit("blocks.0.hook_resid_post", at: .absolute(1)) { rows, _ in rows = try rows * 2 }
        for (cached, chunk) in [(true, nil), (true, 2), (false, nil)] as [(Bool, Int?)] {
            var options = GenerationOptions(maxNewTokens: 5, sampling: .greedy, usesKeyValueCache: cached, hooks: [edit], cache: ["resid_post"], outputs: .logits)
            options.prefillChunk = chunk
            let expected = try model.generate(.tokens(prompts), options), found = try model.generate(.embeddings(rows), options)
            #expect(found.tokens == expected.tokens)
            expectSameBits(found.logits, expected.logits, "cached \(cached)")
            // The row without padding: what stands at padded places differs, and nobody reads it.
            for (name, activation) in try #require(expected.cache).entries {
                expectSameBits(try found.cache?[name].at(.at(0)), try activation.at(.at(0)), "cached \(cached), \(name)")
            }
        }
        let whole = try model.generate(.embeddings(rows), .init(maxNewTokens: 2, sampling: .greedy, outputs: .keyValues))
        #expect(whole.keyValues?.recomputableCount == 0 && whole.keyValues?.tokens == [[], []])
        expectError(.usage, "not embeddings") { try model.generate(.embeddings([Tensor(zeros: [2, 3])])) }
        expectError(.usage, "nothing to continue") { try model.generate(.embeddings([Tensor(zeros: [0, model.config.dModel])])) }
    }

    // MARK: Streams

    @Test func streamsTellEverything() async throws {
        let model = try LawModels.named("gpt2-tiny")
        let expected = try model.generate(prompts, .init(maxNewTokens: 7, sampling: .greedy))
        for atOnce in [1, 3, 25] {
            var told: [[Int]] = [[], []], reasons: [FinishReason]?, yields = 0
            for try await step in model.generateStream(.tokens(prompts), .init(maxNewTokens: 7, sampling: .greedy), maxTokensPerYield: atOnce) {
                for row in told.indices {
                    #expect(step.tokens[row].count <= atOnce)
                    told[row] += step.tokens[row]
                }
                reasons = step.finishReasons ?? reasons
                yields += 1
            }
            #expect(told == expected && reasons == [.length, .length] && yields == 7 / atOnce + 1)
        }
        await #expect(throws: LensError.self) { for try await _ in model.generateStream(.tokens([])) {} }
    }

    /// Cancelled while layer 0 runs: layer 1 does not.
    @Test func cancelledWithinABlock() async throws {
        let model = try LawModels.named("gpt2-tiny"), cancellation = Cancellation()
        let blocks = Mutex<[Int]>([])
        var options = GenerationOptions(maxNewTokens: 20, sampling: .greedy)
        options.cancellation = cancellation
        options.hooks = [.read("resid_pre") { _, at in
            if let layer = at.layer { blocks.withLock { $0.append(layer) } }
            if at.step == 2, at.layer == 0 { cancellation.cancel() }
        }]
        expectError(.cancelled, "before layer 1") { try model.generate(prompts, options) }
        let all = Array(0..<model.config.nLayers)
        #expect(blocks.withLock { $0 } == all + all + [0])
    }

    /// A reader that goes away ends the work; no thread of the cooperative pool is held meanwhile.
    @Test func readersThatLeave() async throws {
        let model = try LawModels.named("gpt2-tiny"), steps = Mutex(0), gate = Mutex(true)
        var options = GenerationOptions(maxNewTokens: 20, sampling: .greedy)
        let cancellation = Cancellation()
        options.cancellation = cancellation
        // The work waits at its third step until this test lets it go on: it must not be on a thread the test needs.
        options.hooks = [.read("hook_embed") { _, at in
            steps.withLock { $0 = at.step }
            while at.step == 3, gate.withLock({ $0 }), !cancellation.isCancelled {}
        }]
        let stream = model.generateStream(.tokens([[1]]), options)
        let reader = Task {
            var count = 0
            for try await _ in stream { count += 1 }
            return count
        }
        while steps.withLock({ $0 }) < 3 { await Task.yield() }
        // Many tasks run while the stream is in its long region: the pool's threads are free.
        await withTaskGroup(of: Void.self) { group in for _ in 0..<64 { group.addTask { await Task.yield() } } }
        reader.cancel()
        _ = await reader.result
        while !cancellation.isCancelled { await Task.yield() }
        #expect(steps.withLock { $0 } == 3, "stopped before the next step")
    }

    /// Two tasks generate from one model with different hooks: each gets what it gets alone.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gemma2", "gpt-neox"])
    func tasksGenerateAtOnce(_ name: String) async throws {
        let model = try LawModels.named(name), prompts = prompts
        @Sendable func generate(_ factor: Float) throws -> Generation {
            let hook = Hook.edit("blocks.0.hook_resid_post", at: .everyNewToken) { rows, _ in rows = try rows * Tensor(factor) }
            return try model.generate(.tokens(prompts), .init(maxNewTokens: 10, sampling: Sampling(temperature: 1, seed: 2), hooks: [hook],
                                                              cache: ["resid_post", "pattern"], outputs: [.logits, .keyValues]))
        }
        let alone = try (0..<2).map { try generate(Float($0 + 2)) }
        let trunk = try #require(alone[0].keyValues)
        try await withThrowingTaskGroup(of: (Int, Generation, Tensor?).self) { group in
            for index in 0..<8 {
                group.addTask {
                    // A cache of both, forked by each.
                    var fork: KeyValueCache? = trunk
                    let more = try model.run(.tokens(IntTensor(rows: [[1, 2], [3, 4]])), keyValues: &fork).logits
                    return (index % 2, try generate(Float(index % 2 + 2)), more)
                }
            }
            var first: Tensor?
            for try await (index, generation, more) in group {
                #expect(generation.tokens == alone[index].tokens)
                expectSameBits(generation.logits, alone[index].logits, "logits")
                expectSameBits(try #require(generation.cache), try #require(alone[index].cache), "capture")
                expectSameBits(more, first ?? more, "forks")
                first = more
            }
        }
    }
}
