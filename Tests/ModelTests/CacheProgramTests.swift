// A random program over key-value caches: forks, truncations, freezes, row selections, saves and loads, runs and
// generations, thousands of steps. Whatever came before, the next logits are those of a run over the tokens alone.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct CacheProgramTests {
    /// Tiny models: plain, grouped, windowed (all layers, and every other).
    private static let models: [(name: String, model: Result<Transformer, any Error>)] = [
        ("gpt2", Result { try Transformer.random(ModelConfig(nLayers: 2, dModel: 12, nCtx: 260, dHead: 6, actFn: .geluNew, dVocab: 19), seed: 1) }),
        ("grouped", Result { try Transformer.random(rotary(), seed: 2) }),
        ("windowed", Result {
            var config = try rotary()
            config.attention.window = .init(size: 9)
            return try Transformer.random(config, seed: 3)
        }),
        ("every other", Result {
            var config = try rotary()
            config.attention.window = .init(size: 70, isLocal: [true, false])
            return try Transformer.random(config, seed: 4)
        }),
    ]

    private static func rotary() throws -> ModelConfig {
        try ModelConfig(nLayers: 2, dModel: 24, nCtx: 260, dHead: 6, nHeads: 4, dMlp: 20, actFn: .silu, dVocab: 19, normalizationType: "RMS",
                        position: .rotary(Rotary(dim: 6)), gatedMLP: true, nKeyValueHeads: 2)
    }

    /// A cache and what it should hold.
    private struct Held {
        var cache: KeyValueCache
        var rows: [[Int]]
    }

    @Test(arguments: 0..<4)
    func anyProgramEqualsRecomputation(_ index: Int) throws {
        let model = try Self.models[index].model.get(), what = Self.models[index].name
        var random = SplitMix64(state: UInt64(index) + 40)
        var held = [Held(cache: KeyValueCache(for: model.config, batch: 2), rows: [[], []])]
        var checks = 0, steps = 0
        func token() -> Int { Int.random(in: 0..<19, using: &random) }
        while steps < 1500 {
            steps += 1
            let at = Int.random(in: held.indices, using: &random), length = held[at].rows[0].count
            switch Int.random(in: 0..<12, using: &random) {
            case 0: // fork
                if held.count < 6 { held.append(held[at]) } else { held[(at + 1) % held.count] = held[at] }
            case 1, 2: // truncate, usually not far
                let kept = Int.random(in: 0..<4, using: &random) == 0 ? Int.random(in: 0...length, using: &random) : max(0, length - Int.random(in: 0...12, using: &random))
                try held[at].cache.truncate(to: kept)
                held[at].rows = held[at].rows.map { Array($0[..<kept]) }
            case 3: held[at].cache.freeze()
            case 4: held[at].cache.unfreeze()
            case 5: // other rows
                let rows = (0..<2).map { _ in Int.random(in: 0..<2, using: &random) }
                held[at] = Held(cache: try held[at].cache.selecting(rows: rows), rows: rows.map { held[at].rows[$0] })
            case 6 where length > 0: // greedy generation, from a copy
                let prompt = (0..<2).map { _ in [token()] }
                guard length < 240 else { continue }
                var options = GenerationOptions(maxNewTokens: 4, sampling: .greedy, outputs: [.keyValues, .logits])
                options.keyValues = held[at].cache
                let generation = try model.generate(.tokens(prompt), options)
                let rows = zip(held[at].rows, zip(prompt, generation.tokens)).map { $0 + $1.0 + $1.1 }
                let whole = try model.run(.tokens(IntTensor(rows: rows.map { Array($0.dropLast()) }))).logits
                expectSameBits(generation.logits, try whole?.at(.all, .from(length)), "\(what): generation at step \(steps)")
                held[at] = Held(cache: try #require(generation.keyValues), rows: rows.map { Array($0.dropLast()) })
                checks += 1
            default: // a run over some tokens, a few of them long
                let count = Int.random(in: 0..<9, using: &random) == 0 ? Int.random(in: 1...70, using: &random) : Int.random(in: 1...3, using: &random)
                guard length + count <= 250 else {
                    try held[at].cache.truncate(to: length / 3)
                    held[at].rows = held[at].rows.map { Array($0[..<(length / 3)]) }
                    continue
                }
                let new = (0..<2).map { _ in (0..<count).map { _ in token() } }
                var cache: KeyValueCache? = held[at].cache
                // Now and then someone looks at keys behind the window.
                let looks = Int.random(in: 0..<10, using: &random) == 0 && model.config.traits.contains(.rotary)
                let filter: ActivationFilter = looks ? "rot_k" : .none
                let output = try model.run(.tokens(IntTensor(rows: new)), .init(cache: filter), keyValues: &cache)
                let rows = zip(held[at].rows, new).map { $0 + $1 }
                // Recomputation is what costs: every third, and whenever something was rebuilt.
                if steps % 3 == 0 || looks {
                    let whole = try model.run(.tokens(IntTensor(rows: rows)), .init(cache: filter))
                    expectSameBits(output.logits, try whole.logits?.at(.all, .from(length)), "\(what): step \(steps)")
                    expectSameBits(output.cache, whole.cache, "\(what): keys at step \(steps)")
                    checks += 1
                }
                let grown = try #require(cache)
                #expect(grown.count == length + (grown.isFrozen ? 0 : count))
                held[at].cache = grown
                if !grown.isFrozen { held[at].rows = rows }
            }
            let now = held[at]
            #expect(now.cache.tokens == now.rows && now.cache.count == now.rows[0].count && now.cache.recomputableCount == now.cache.count)
        }
        #expect(checks > 150, "\(checks)")
    }

    /// A window's cache holds what the window reaches, whatever the length; a plain one grows.
    @Test func windowsKeepTheirWindow() throws {
        func bytes(_ index: Int, _ length: Int) throws -> Int {
            let model = try Self.models[index].model.get()
            var options = GenerationOptions(maxNewTokens: 1, sampling: .greedy, outputs: .keyValues)
            options.prefillChunk = 16
            let prompt = try LawModels.tokens(model, batch: 1, pos: length).row(0)
            return try #require(model.generate(.tokens([prompt]), options).keyValues).byteCount
        }
        #expect(try bytes(2, 60) == bytes(2, 250), "windowed")
        #expect(try bytes(1, 60) * 4 == bytes(1, 250), "all keys")
        // Grouped heads keep their own: two of four.
        let model = try Self.models[1].model.get(), page = KeyValuePages.pageLength
        #expect(try bytes(1, 60) == 4 * 2 * page * 2 * (model.config.dHead + 16))
    }

    /// What edits made cannot be recomputed from tokens, and is refused where that would be needed.
    @Test func editsAreRemembered() throws {
        let model = try Self.models[2].model.get(), tokens = try LawModels.tokens(model, batch: 1, pos: 150)
        let first = try IntTensor(rows: [Array(tokens.row(0)[..<40])]), rest = try IntTensor(rows: [Array(tokens.row(0)[40...])])
        let edit = Hook.edit("blocks.0.hook_resid_post", at: .absolute(45)) { rows, _ in rows = try rows + 1 }
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        _ = try model.run(.tokens(first), keyValues: &keyValues)
        _ = try model.run(.tokens(rest), .init(hooks: [edit]), keyValues: &keyValues)
        var cache = try #require(keyValues)
        #expect(cache.recomputableCount == 40 && cache.count == 150)
        expectError(.usage, "made under edits") { try cache.truncate(to: 60) }
        #expect(cache.count == 150, "as it was")
        // Where the window's keys are still there, and where edits had not begun, it can.
        var near = cache
        try near.truncate(to: 149)
        try cache.truncate(to: 30)
        var back: KeyValueCache? = cache
        let logits = try model.run(.tokens(first), keyValues: &back).logits
        let whole = try model.run(.tokens(IntTensor(rows: [Array(first.row(0)[..<30]) + first.row(0)]))).logits
        expectSameBits(logits, try whole?.at(.all, .from(30)), "before the edit")
        // All keys are wanted, and the edited ones behind the window are gone.
        expectError(.usage, "made under edits") { try model.run(.tokens(first), .init(cache: "rot_k"), keyValues: &keyValues) }
        #expect(keyValues?.count == 150)
        _ = try model.run(.tokens(first), keyValues: &keyValues)
    }

    @Test(arguments: 0..<4)
    func savedAndLoaded(_ index: Int) throws {
        let model = try Self.models[index].model.get(), prompts = try [70, 33].map { try LawModels.tokens(model, batch: 1, pos: $0).row(0) }
        var options = GenerationOptions(maxNewTokens: 3, sampling: .greedy, outputs: .keyValues)
        let cache = try #require(model.generate(.tokens(prompts), options).keyValues)
        try withTemporaryFolder { folder in
            let path = folder + "/cache.safetensors"
            try cache.save(to: path, for: model)
            var loaded = try KeyValueCache(contentsOf: path, for: model)
            #expect(loaded.tokens == cache.tokens && loaded.isReal == cache.isReal && loaded.passes == cache.passes && loaded.recomputableCount == cache.count)
            options.outputs = [.logits, .keyValues]
            options.maxNewTokens = 8
            options.keyValues = cache
            let kept = try model.generate(.tokens([[1], [2]]), options)
            options.keyValues = loaded
            let again = try model.generate(.tokens([[1], [2]]), options)
            expectSameBits(again.logits, kept.logits, "continued after loading")
            try loaded.truncate(to: 40)
            var cut = cache
            try cut.truncate(to: 40)
            var a: KeyValueCache? = loaded, b: KeyValueCache? = cut
            let next = try IntTensor(rows: [[3, 4], [5, 6]])
            expectSameBits(try model.run(.tokens(next), keyValues: &a).logits, try model.run(.tokens(next), keyValues: &b).logits, "cut after loading")
            // Another model: of other shapes, or with one weight changed.
            expectError(.usage, "another model") { try KeyValueCache(contentsOf: path, for: Self.models[(index + 1) % 4].model.get()) }
            let changed = try model.with("blocks.1.attn.W_O", try model.parameters["blocks.1.attn.W_O"] * 1.0001)
            expectError(.usage, "another model") { try KeyValueCache(contentsOf: path, for: changed) }
            var held: KeyValueCache? = cache
            expectError(.usage, "another model") { try changed.run(.tokens(next), keyValues: &held) }
            // A second load of the same weights is the same model to a file.
            let twin = try Transformer(config: model.config, parameters: model.parameters)
            _ = try KeyValueCache(contentsOf: path, for: twin)
        }
    }

    /// Damaged files are errors: bytes changed, cut short, metadata of nonsense.
    @Test func damagedFiles() throws {
        let model = try Self.models[2].model.get()
        let options = GenerationOptions(maxNewTokens: 2, sampling: .greedy, outputs: .keyValues)
        let cache = try #require(model.generate(.tokens([LawModels.tokens(model, batch: 1, pos: 80).row(0)]), options).keyValues)
        try withTemporaryFolder { folder in
            let path = folder + "/cache.safetensors"
            try cache.save(to: path, for: model)
            let bytes = try DataFile(path: path).readAll(limit: 1 << 24)
            var random = SplitMix64(state: 9), failures = 0
            for round in 0..<300 {
                var damaged = bytes
                if round % 10 == 0 { damaged.removeLast(Int.random(in: 1..<bytes.count, using: &random)) }
                // Mostly in the header, where everything is said.
                for _ in 0..<Int.random(in: 1...3, using: &random) where !damaged.isEmpty {
                    damaged[Int.random(in: 0..<min(damaged.count, 1200), using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                let file = try AtomicFileWriter(path: path)
                try file.write(damaged)
                try file.commit()
                do {
                    var loaded: KeyValueCache? = try KeyValueCache(contentsOf: path, for: model)
                    _ = try model.run(.tokens(IntTensor(rows: [[1]])), keyValues: &loaded)
                } catch is LensError { failures += 1 }
            }
            #expect(failures > 200)
        }
    }

    @Test func rowsAndRefusals() throws {
        let model = try Self.models[1].model.get()
        var options = GenerationOptions(maxNewTokens: 2, sampling: .greedy, outputs: .keyValues)
        let cache = try #require(model.generate(.tokens([[1, 2, 3], [4]]), options).keyValues)
        expectError(.shape, "no such row") { try cache.selecting(rows: [0, 2]) }
        options.keyValues = cache
        expectError(.usage, "differ in length") { try model.generate(.tokens([[1, 2], [3]]), options) }
        expectError(.usage, "another batch") { try model.generate(.tokens([[1]]), options) }
        options.maxNewTokens = 258
        expectError(.usage, "context", "4 positions held") { try model.generate(.tokens([[1], [2]]), options) }
        options.usesKeyValueCache = false
        expectError(.usage, "its use is off") { try model.generate(.tokens([[1], [2]]), options) }
        // One row continued in three ways, in one batch, without copying: what each gives alone.
        let trunk = try cache.selecting(rows: [0, 0, 0])
        var together: KeyValueCache? = trunk
        let logits = try model.run(.tokens(IntTensor(rows: [[7], [8], [9]])), keyValues: &together).logits
        for (row, token) in [7, 8, 9].enumerated() {
            let alone = try model.run(.tokens(IntTensor(rows: [cache.tokens[0] + [token]]))).logits
            expectSameBits(try logits?.at(.at(row), .at(0)), try alone?.at(.at(0), .at(-1)), "fork \(row)")
        }
    }
}
