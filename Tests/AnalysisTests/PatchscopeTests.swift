// Patchscopes: a sweep is the naive loop, cached is recomputed, and the presets put their place-holders where they should.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct PatchscopeTests {
    private let gpt2: Transformer, llama: Transformer

    init() throws {
        gpt2 = try ModelFolder(path: TestFolders.goldens + "/gpt2-tiny").load()
        llama = try ModelFolder(path: TestFolders.goldens + "/llama-grouped").load()
    }

    private func tensor(_ shape: [Int], seed: UInt64) throws -> Tensor {
        var random = SplitMix64(state: seed)
        return try Tensor((0..<shape.reduce(1, *)).map { _ in Float(random.unit()) - 0.5 }, shape: shape)
    }

    /// The naive way: run the source, run the target with the state put in by index, choose, append, run it all again.
    private func naive(_ scope: Patchscope, _ pair: PatchscopePair, count: Int, map: @escaping (Tensor) throws -> Tensor = { $0 }) throws -> (tokens: [Int], logits: Tensor) {
        let (source, target) = (scope.source, scope.target), name = "blocks.\(pair.sourceLayer).hook_resid_post"
        let stream = try source.model.run(.tokens(IntTensor(rows: [source.tokens])), .init(cache: .names([name]))).cache[name]
        let places = { (prompt: PatchscopePrompt) in prompt.positions.map { $0 < 0 ? $0 + prompt.tokens.count : $0 } }
        var tokens = target.tokens, first: Tensor?
        for _ in 0..<count {
            let patch = Hook.edit(.names(["blocks.\(pair.targetLayer).hook_resid_post"])) { stream0, _ in
                for (from, to) in zip(places(source), places(target)) { stream0[0, .at(to)] = try map(stream[0, .span(from, from + 1)])[0] }
            }
            let logits = try #require(target.model.run(.tokens(IntTensor(rows: [tokens])), .init(hooks: [patch])).logits)[0, -1]
            first = try first ?? logits.contiguous()
            tokens.append(try #require(try logits.contiguous().argmax().array.first))
        }
        return (Array(tokens.dropFirst(target.tokens.count)), try #require(first))
    }

    private func expectNaive(_ scope: Patchscope, count: Int = 5, map: @escaping (Tensor) throws -> Tensor = { $0 }, _ what: String) throws {
        var scope = scope
        for (cached, size) in [(true, 64), (true, 2), (false, 64)] {
            scope.usesKeyValueCache = cached
            scope.batchSize = size
            let cells = try scope.sweep(nil, .init(maxNewTokens: count, sampling: .greedy))
            #expect(cells.count == scope.source.model.config.nLayers * scope.target.model.config.nLayers)
            for cell in cells {
                let expected = try naive(scope, cell.pair, count: count, map: map)
                #expect(cell.tokens == expected.tokens && cell.topToken == expected.tokens[0], "\(what), \(cell.pair), cached \(cached)")
                #expect(bitDifference(cell.logits, expected.logits) == nil, "\(what), \(cell.pair), cached \(cached)")
            }
        }
    }

    @Test func sweepsAreTheNaiveLoop() throws {
        for (name, model) in [("gpt2", gpt2), ("llama", llama)] {
            for place in [0, 3, -1] {
                try expectNaive(Patchscope(source: .init(model, [5, 3, 9], positions: [1]), target: .init(model, [2, 7, 1, 8, 2, 8], positions: [place])), "\(name) at \(place)")
            }
            try expectNaive(Patchscope(source: .init(model, [5, 3, 9, 4], positions: [-1, 0]), target: .init(model, [2, 7, 1, 8], positions: [1, 3])), "\(name), two places")
        }
    }

    @Test func acrossModelsAndMaps() throws {
        let map = try AffineMap(weight: tensor([gpt2.config.dModel, llama.config.dModel], seed: 1), bias: tensor([llama.config.dModel], seed: 2))
        var scope = Patchscope(source: .init(gpt2, [5, 3, 9]), target: .init(llama, [2, 7, 1, 8], positions: [2]), mapping: .affine(map))
        try expectNaive(scope, map: { try map($0) }, "affine")
        scope.mapping = .function { states, _ in try map(states) * 2 }
        try expectNaive(scope, map: { try map($0) * 2 }, "a function")
        scope.mapping = .identity
        if gpt2.config.dModel != llama.config.dModel {
            #expect(throws: LensError.self) { try scope.sweep() }
        }
    }

    /// A state put where it came from changes nothing.
    @Test func intoItself() throws {
        let prompt = PatchscopePrompt(llama, [2, 7, 1, 8], positions: [2])
        let plain = try llama.generate([prompt.tokens], .init(maxNewTokens: 6, sampling: .greedy))[0]
        for layer in 0..<llama.config.nLayers {
            #expect(try Patchscope(source: prompt, target: prompt)(layer, layer, .init(maxNewTokens: 6, sampling: .greedy)).tokens == plain)
        }
    }

    @Test func theLogitLensIsOne() throws {
        for model in [gpt2, llama] {
            let tokens = [2, 7, 1, 8], last = model.config.nLayers - 1, lens = try Patchscope.logitLens(model, tokens)
            #expect(lens.shape == [last + 1, 4, model.config.dVocabOut])
            for place in tokens.indices {
                // The logits at the patched place itself: the prompt up to it.
                let prompt = PatchscopePrompt(model, Array(tokens[...place]))
                let cells = try Patchscope(source: prompt, target: prompt).sweep(PatchscopePair.grid(Array(0...last), [-1]))
                for cell in cells {
                    #expect(bitDifference(cell.logits, try lens.at(.at(cell.pair.sourceLayer), .at(place))) == nil)
                    #expect(cell.tokens.isEmpty)
                }
            }
            #expect(bitDifference(try lens.at(.at(last)), try model.run(.tokens(IntTensor(rows: [tokens]))).logits?.at(.at(0))) == nil)
        }
    }

    @Test func whatItRefuses() throws {
        func refuses(_ part: String, _ change: (inout Patchscope) -> Void, pairs: [PatchscopePair]? = nil) {
            var scope = Patchscope(source: .init(gpt2, [1, 2]), target: .init(gpt2, [3, 4]))
            change(&scope)
            do {
                _ = try scope.sweep(pairs)
                Issue.record("nothing was thrown: \(part)")
            } catch { #expect("\(error)".contains(part), "\(error)") }
        }
        refuses("no such position") { $0.source.positions = [2] }
        refuses("no such position") { $0.target.positions = [-3] }
        refuses("do not pair") { $0.target.positions = [0, 1] }
        refuses("nothing to look at") { $0.source.tokens = [] }
        refuses("not a hidden state") { $0.sourceSite = .z }
        refuses("batch size") { $0.batchSize = 0 }
        refuses("no such layer", { _ in }, pairs: [PatchscopePair(0, gpt2.config.nLayers)])
        refuses("does not fit the target") { $0.mapping = .function { states, _ in try states.at(.all, .upTo(2)) } }
        refuses("token out of range") { $0.target.tokens = [97] }
    }

    // MARK: Affine maps

    @Test func fitsRecoverMaps() throws {
        let map = try AffineMap(weight: tensor([5, 3], seed: 4), bias: tensor([3], seed: 5)), rows = try tensor([40, 5], seed: 6)
        let fitted = try AffineMap.fit(from: rows, to: map(rows), ridge: 0)
        #expect(zip(fitted.weight.array, map.weight.array).allSatisfy { abs($0 - $1) < 1e-5 })
        #expect(zip(fitted.bias?.array ?? [], map.bias?.array ?? []).allSatisfy { abs($0 - $1) < 1e-5 })
        // Fewer rows than directions: still a map, and one that fits the rows.
        let few = try rows.at(.upTo(3)).contiguous(), small = try AffineMap.fit(from: few, to: map(few), ridge: 0)
        #expect(zip(try small(few).array, try map(few).array).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(throws: LensError.self) { try AffineMap.fit(from: rows, to: Tensor(zeros: [39, 3])) }
        #expect(throws: LensError.self) { try AffineMap.fit(from: Tensor(repeating: .nan, shape: [4, 2]), to: Tensor(zeros: [4, 2])) }
        // Between layers of one model: a layer to itself is the identity on what was seen.
        let same = try AffineMap.fit(from: llama, layer: 0, to: llama, layer: 0, prompts: [[1, 2, 3, 4, 5], [6, 7, 8, 9]])
        let state = try llama.run(.tokens(IntTensor(rows: [[1, 2, 3, 4, 5]])), .init(cache: "resid_post0")).cache["resid_post0"][0]
        #expect(zip(try same(state).array, state.array).allSatisfy { abs($0 - $1) < 1e-2 })
    }

    @Test func mapsAreSaved() throws {
        let map = try AffineMap(weight: tensor([5, 3], seed: 4), bias: tensor([3], seed: 5))
        let folder = try TemporaryPlace()
        try map.save(to: folder("map.safetensors"))
        let again = try AffineMap(contentsOf: folder("map.safetensors"))
        #expect(again.weight.array == map.weight.array && again.bias?.array == map.bias?.array)
        try AffineMap(weight: map.weight).save(to: folder("plain.safetensors"))
        #expect(try AffineMap(contentsOf: folder("plain.safetensors")).bias == nil)
        #expect(throws: LensError.self) { try AffineMap(contentsOf: folder("none.safetensors")) }
    }

    // MARK: Text

    /// A tokenizer of single characters.
    private struct Characters: Tokenizing {
        var bosID: Int? { nil }
        func encode(text: String, addSpecialTokens: Bool) throws -> [Int] { text.utf8.map { Int($0) % 97 } }
        func decode(tokens: [Int], skipSpecialTokens: Bool) throws -> String { String(decoding: tokens.map { UInt8($0 < 31 ? $0 + 97 : $0) }, as: UTF8.self) }
    }

    @Test func presetsPatchTheirPlaceholder() throws {
        for preset in Patchscope.Preset.allCases {
            let prompt = try Patchscope.target(preset, gpt2, Characters())
            let expected = preset == .tokenIdentity ? preset.prompt.utf8.count - 3 : preset.prompt.utf8.count - 1
            #expect(prompt.positions == [expected] && prompt.tokens.count == preset.prompt.utf8.count)
        }
        let relation = try Patchscope.target(relation: "The capital of", gpt2, Characters())
        #expect(relation.positions == [relation.tokens.count - 1])
        #expect(throws: LensError.self) { try Patchscope.target("abc", placeholder: "x", gpt2, Characters()) }
    }
}

private let storiesFolder = TestFolders.shared + "/models/stories260K"

@Suite(.enabled(if: fileExists(storiesFolder + "/config.json"), "../shared/models/stories260K is not there"), .serialized)
struct StoriesPatchscopeTests {
    /// Every layer pair: cached and recomputed tell the same, token for token, and the batch is at least five times faster
    /// than one pair at a time with recomputation.
    @Test func everyPairCachedAndRecomputed() throws {
        let model = try HookedTransformer(folder: storiesFolder)
        let source = try model.toTokens("Once upon a time, there was a little girl named Lily").row(0)
        let target = try model.toTokens("One day, a boy named Tim saw a big dog. The dog said: x is").row(0)
        let place = try #require(try target.lastIndex { try model.toString($0).contains("x") })
        var scope = Patchscope(source: .init(model.model, source), target: .init(model.model, target, positions: [place]))
        // The work is counted in rows of the model's matrices: what a pass costs. Seconds are the bench's business
        // (`lens-bench patchscopes`): this machine does other things too.
        var work = 0
        let count = Hook.read("hook_embed") { embeddings, _ in work += embeddings.shape[0] * embeddings.shape[1] }
        let options = GenerationOptions(maxNewTokens: 20, sampling: .greedy, hooks: [count])
        let pairs = PatchscopePair.grid(Array(0..<5), Array(0..<5))
        let cells = try scope.sweep(pairs, options), together = work + source.count + place
        work = 0
        scope.usesKeyValueCache = false
        let naive = try pairs.map { try scope($0.sourceLayer, $0.targetLayer, options) }, alone = work + pairs.count * source.count
        for (cell, other) in zip(cells, naive) {
            #expect(cell.tokens == other.tokens && cell.tokens.count == 20, "\(cell.pair)")
            #expect(bitDifference(cell.logits, other.logits) == nil, "\(cell.pair)")
        }
        #expect(Set(cells.map(\.tokens)).count > 3, "patches make a difference")
        #expect(alone >= 5 * together, "\(alone) rows of work alone, \(together) together")
    }

    @Test func presetsOnARealTokenizer() throws {
        let model = try HookedTransformer(folder: storiesFolder), tokenizer = try #require(model.tokenizer)
        for preset in Patchscope.Preset.allCases {
            let prompt = try Patchscope.target(preset, model.model, tokenizer) { try model.toTokens($0, truncate: false).row(0) }
            #expect(try model.toString(prompt.tokens[prompt.positions[0]]).contains("x"))
            #expect(try prompt.tokens[(prompt.positions[0] + 1)...].allSatisfy { !(try model.toString($0).contains("x")) })
        }
    }
}
