// A sweep equals the naive loop bit for bit, whatever it is batched by; metrics, masks, refusals; path patching through the
// head's own input.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct PatchingTests {
    private func load(_ name: String) throws -> Transformer {
        let folder = "\(TestFolders.goldens)/\(name)"
        guard name.hasPrefix("native-") else { return try ModelFolder(path: folder).load() }
        let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: folder + "/tl_config.json", limit: 1 << 20))
        return try Transformer(config: config, savedParameters: SafetensorsFile(path: folder + "/state_dict.safetensors"))
    }

    private func tokens(_ model: Transformer, _ batch: Int, _ pos: Int, seed: UInt64) throws -> IntTensor {
        var random = SeededRandom(seed)
        return try IntTensor(random.ids(batch * pos, below: model.config.dVocab).map(Int.init), shape: [batch, pos])
    }

    /// All the logits, so that no bit can hide.
    private let everything = PatchingMetric.perExample { logits in
        (0..<logits.shape[0]).map { row in
            let sum = (try? logits.at(.at(row)).array) ?? []
            return sum.reduce(Float(0)) { $0 * 0.75 + $1 }
        }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2", "gemma3", "bloom", "falcon-new", "native-attn-only",
                      "native-bidirectional", "native-parallel", "native-ln-pre", "gpt-neo"])
    func aSweepIsTheNaiveLoop(_ name: String) throws {
        let model = try load(name), clean = try tokens(model, 2, 3, seed: 1), corrupted = try tokens(model, 2, 3, seed: 2)
        let mask = try IntTensor(rows: [[1, 1, 1], [0, 1, 1]])
        for mask in ["gpt2-tiny", "bloom"].contains(name) ? [nil, mask] : [nil] {
            var run = Transformer.Options(cache: .all)
            run.attentionMask = mask
            let cache = try model.run(.tokens(clean), run).cache
            for patch in NamedPatch.allCases {
                let site = HookPoint(name: actName(patch.activationName, layer: 0))
                guard model.config.hookPoints.contains(where: { $0 == site }) else {
                    expectError(.name, "this model has no such activation") {
                        try Patching.getActPatch(patch, model, tokens: corrupted, cache: model.run(.tokens(clean), .init(cache: "pattern")).cache, metrics: [])
                    }
                    continue
                }
                let result = try Patching.getActPatch(patch, model, tokens: corrupted, cache: cache, metrics: [everything],
                                                      options: PatchingOptions(attentionMask: mask, tokensAtOnce: 40))[0]
                #expect(result.indices.count * 2 == result.values.count)
                var naive: [Float] = []
                for index in result.indices {
                    let activation = actName(patch.activationName, layer: index[0]), clean = try cache[activation]
                    var patched = Transformer.Options(hooks: [.edit(.names([activation])) { tensor, _ in
                        try patch.setter.apply(to: &tensor, rows: 0..<2, index: index, clean: clean)
                    }])
                    patched.attentionMask = mask
                    naive += try everything.values(#require(model.run(.tokens(corrupted), patched).logits))
                }
                expectSameBits(try result.values.reshaped([-1]), try Tensor(naive, shape: [naive.count]), "\(name) \(patch.rawValue)")
            }
        }
    }

    /// Batching, the last logits alone and the number of metrics change nothing.
    @Test func howItIsRunDoesNotMatter() throws {
        let model = try load("llama-grouped"), clean = try tokens(model, 3, 6, seed: 3), corrupted = try tokens(model, 3, 6, seed: 4)
        let cache = try model.run(.tokens(clean), .init(cache: .all)).cache
        let last = PatchingMetric.logitDifference(answers: [1, 2, 3], wrong: [4, 5, 6])
        let reference = try Patching.getActPatch(.attnHeadOutByPos, model, tokens: corrupted, cache: cache, metrics: [last])[0]
        for atOnce in [1, 18, 19, 100, 100_000] {
            for onlyLast in [false, true] {
                var done: [Int] = []
                let options = PatchingOptions(onlyLastLogits: onlyLast, tokensAtOnce: atOnce) { step, total in
                    done.append(step)
                    #expect(total == reference.indices.count)
                }
                let both = try Patching.getActPatch(.attnHeadOutByPos, model, tokens: corrupted, cache: cache,
                                                    metrics: [last, .logProbability(answers: [1, 2, 3])], options: options)
                expectSameBits(both[0].values, reference.values, "\(atOnce) at once")
                #expect(both.count == 2 && done == Array(1...reference.indices.count))
            }
        }
        // A cell that changes nothing gives the baseline; patching all of the stream gives the clean run.
        let own = try model.run(.tokens(corrupted), .init(cache: .all)).cache
        let same = try Patching.getActPatch(.residPre, model, tokens: corrupted, cache: own, metrics: [last])[0]
        for cell in 0..<same.indices.count { #expect(Array(same.values.array[cell * 3..<cell * 3 + 3]) == same.baseline.array) }
        let whole = PatchSetter.custom { corrupted, _, clean in corrupted = clean }
        let restored = try Patching.genericActivationPatch(model, tokens: corrupted, cache: cache, metrics: [last], setter: whole,
                                                           activationName: "resid_pre", axes: [.layer])[0]
        let cleanValues = try last.values(#require(model.run(.tokens(clean)).logits))
        for layer in 0..<model.config.nLayers { #expect(Array(restored.values.array[layer * 3..<layer * 3 + 3]) == cleanValues) }
        let normalized = try restored.normalized(to: Statistics.mean(cleanValues.map(Double.init)))
        #expect(normalized.shape == [model.config.nLayers] && normalized.array.allSatisfy { abs($0 - 1) < 1e-6 })
    }

    @Test func whatExamplesSay() throws {
        let model = try load("gpt2-tiny"), clean = try tokens(model, 6, 4, seed: 5), corrupted = try tokens(model, 6, 4, seed: 6)
        let cache = try model.run(.tokens(clean), .init(cache: .all)).cache
        let metric = PatchingMetric.logitDifference(answers: [1], wrong: [2])
        let result = try Patching.getActPatch(.residPre, model, tokens: corrupted, cache: cache, metrics: [metric])[0]
        #expect(result.values.shape == [3, 4, 6] && result.baseline.shape == [6] && result.axisNames == ["layer", "pos"])
        let effects = try result.effect
        let errors = try result.standardError, means = try result.mean, values = try result.permutationPValue(seed: 1), interval = try result.bootstrapInterval(seed: 1)
        for (tensor, shape) in [(errors, [3, 4]), (means, [3, 4]), (values, [3, 4]), (interval.low, [3, 4])] { #expect(tensor.shape == shape) }
        for cell in 0..<12 {
            let sample = effects.array[cell * 6..<cell * 6 + 6].map(Double.init), mean = sample.reduce(0, +) / 6
            let deviation = (sample.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 5).squareRoot()
            #expect(abs(Double(errors.array[cell]) - deviation / 6.0.squareRoot()) < 1e-5)
            #expect(Double(interval.low.array[cell]) <= mean + 1e-6 && mean - 1e-6 <= Double(interval.high.array[cell]))
        }
        #expect(try result.bootstrapInterval(seed: 1).low.array == interval.low.array)
        let scalar = try Patching.getActPatch(.residPre, model, tokens: corrupted, cache: cache, metrics: [.scalar { try $0.mean() }])[0]
        #expect(scalar.values.shape == [3, 4] && scalar.baseline.shape == [])
        expectError(.usage, "a permutation test needs examples") { try scalar.permutationPValue() }
        expectError(.usage, "nothing to normalise by") { try scalar.normalized(to: Double(scalar.baseline.item())) }
    }

    @Test func statistics() throws {
        // By hand: of ±1 ±2 ±3, only +++ and −−− reach a sum of 6.
        #expect(try Statistics.signFlipPermutationPValue([1, 2, 3]) == 0.25)
        #expect(try Statistics.signFlipPermutationPValue([1, -1]) == 1)
        #expect(Statistics.standardError([1, 2, 3, 4]) == (5.0 / 3 / 4).squareRoot())
        #expect(Statistics.standardError([1]).isNaN)
        let strong = (0..<40).map { 1 + Double($0 % 3) / 10 }
        #expect(try Statistics.signFlipPermutationPValue(strong, permutations: 999) == 0.001)
        let none = (0..<40).map { $0 % 2 == 0 ? 1.0 : -1.0 }
        #expect(try Statistics.signFlipPermutationPValue(none, permutations: 999) == 1)
        let interval = try Statistics.bootstrapInterval((0..<100).map(Double.init), resamples: 2000, seed: 3)
        // The mean is 49.5, its standard error 2.9.
        #expect((42...46).contains(interval.lowerBound) && (53...57).contains(interval.upperBound))
        #expect(try Statistics.bootstrapInterval([2, 2, 2]) == 2...2)
        #expect(Statistics.quantile([1, 2, 3, 4], 0.5) == 2.5 && Statistics.quantile([7], 0.9) == 7)
        expectError(.usage, "no bootstrap interval") { try Statistics.bootstrapInterval([]) }
        expectError(.usage, "no bootstrap interval") { try Statistics.bootstrapInterval([1, .nan]) }
        expectError(.usage, "no permutation test") { try Statistics.signFlipPermutationPValue([1], permutations: 0) }
    }

    @Test func refusals() throws {
        let model = try load("gpt2-tiny"), tokens = try tokens(model, 2, 4, seed: 1)
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        func sweep(_ activation: String, _ setter: PatchSetter, _ axes: [PatchAxis], cache other: ActivationCache? = nil) throws -> [PatchingResult] {
            try Patching.genericActivationPatch(model, tokens: tokens, cache: other ?? cache, metrics: [.scalar { try $0.mean() }], setter: setter,
                                                activationName: activation, axes: axes)
        }
        expectError(.usage, "a sweep's first axis is the layer") { try sweep("z", .layerPos, [.pos, .layer]) }
        expectError(.usage, "an index does not fit the patch setter", "2 numbers") { try sweep("resid_pre", .layerPos, [.layer, .pos, .head]) }
        expectError(.name, "no activation has this name") { try sweep("resid_prr", .layerPos, [.layer, .pos]) }
        expectError(.name, "not in the cache") { try sweep("z", .layerHeadVector, [.layer, .head], cache: ActivationCache(nLayers: 3)) }
        let short = try model.run(.tokens(IntTensor(rows: [[1, 2, 3], [1, 2, 3]])), .init(cache: .all)).cache
        expectError(.shape, "index out of range") { try sweep("resid_pre", .layerPos, [.layer, .pos], cache: short) }
        expectError(.shape) { try sweep("z", .layerHeadVector, [.layer, .head], cache: short) }
        let flat = try model.run(.tokens(IntTensor(rows: [[1, 2, 3, 4]])), .init(cache: .all, removeBatchDim: true)).cache
        expectError(.usage, "needs its batch dimension") { try sweep("resid_pre", .layerPos, [.layer, .pos], cache: flat) }
        let grow = PatchSetter.custom { corrupted, _, _ in corrupted = Tensor(zeros: [9]) }
        expectError(.shape, "changed the shape") { try sweep("resid_pre", grow, [.layer, .pos]) }
        for index in [[3, 0], [-1, 0], []] {
            expectError(.usage, "no such layer") {
                try Patching.genericActivationPatch(model, tokens: tokens, cache: cache, metrics: [], setter: .layerPos, activationName: "resid_pre", indices: [index])
            }
        }
        expectError(.shape, "index out of range") {
            try Patching.genericActivationPatch(model, tokens: tokens, cache: cache, metrics: [], setter: .layerPos, activationName: "resid_pre", indices: [[0, 9]])
        }
        expectError(.shape, "a metric's values do not fit the batch") {
            try Patching.getActPatch(.residPre, model, tokens: tokens, cache: cache, metrics: [.perExample { _ in [1] }])
        }
        expectError(.usage, "answers do not fit the batch") {
            try Patching.getActPatch(.residPre, model, tokens: tokens, cache: cache, metrics: [.logitDifference(answers: [1, 2, 3], wrong: [4])])
        }
        expectError(.shape, "index out of range") {
            try Patching.getActPatch(.residPre, model, tokens: tokens, cache: cache, metrics: [.logProbability(answers: [97])])
        }
        struct Odd: Error {}
        #expect(throws: Odd.self) { try Patching.getActPatch(.residPre, model, tokens: tokens, cache: cache, metrics: [.scalar { _ in throw Odd() }]) }
    }
}

@Suite struct UngroupedTests {
    /// The same numbers, bit for bit, with a head of keys and values for every query head.
    @Test(arguments: ["llama-grouped", "llama-multiquery", "llama-bias", "qwen3", "gemma3", "starcoder2", "gpt-bigcode", "falcon-new", "glm4"])
    func computesTheSame(_ name: String) throws {
        let model = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").load(), ungrouped = try model.ungroupingQueryAttention()
        let tokens = try IntTensor(rows: [[3, 5, 7, 9, 11], [2, 4, 6, 8, 10]])
        let before = try model.run(.tokens(tokens), .init(cache: .all)), after = try ungrouped.run(.tokens(tokens), .init(cache: .all))
        expectSameBits(try #require(after.logits), try #require(before.logits), name)
        let group = model.config.nHeads / model.config.kvHeads
        for site in ["k", "v"] {
            let shared = try before.cache[site, 0], own = try after.cache[site, 0]
            #expect(own.shape[2] == model.config.nHeads)
            for head in 0..<model.config.nHeads {
                expectSameBits(try own.at(.all, .all, .at(head)), try shared.at(.all, .all, .at(head / group)), "\(name) \(site) \(head)")
            }
        }
        #expect(try ungrouped.parameters["blocks.0.attn.W_K"].array == model.parameters["blocks.0.attn.W_K"].array)
        // Heads that are not grouped stay the same model.
        let plain = try ModelFolder(path: "\(TestFolders.goldens)/llama-full").load()
        #expect(try plain.ungroupingQueryAttention().config == plain.config)
    }
}

@Suite struct PathPatchingTests {
    private func setUp(_ name: String) throws -> (Transformer, IntTensor, ActivationCache) {
        let model = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").load()
        let cache = try model.run(.tokens(IntTensor(rows: [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]])), .init(cache: .all)).cache
        return (model, try IntTensor(rows: [[5, 23, 80, 51, 33], [61, 12, 44, 70, 3]]), cache)
    }

    private let metric: (Tensor) throws -> Float = { try $0.at(.all, .at(-1), .at(7)).contiguous().mean() }

    /// What every head of a layer receives at once through q, k and v is what the layer reads.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gemma2"])
    func allInputsOfALayerAreItsStream(_ name: String) throws {
        let (model, tokens, cache) = try setUp(name)
        let last = model.config.nLayers - 1
        let receivers = (0..<model.config.nHeads).flatMap { head in HeadInput.allCases.map { PathReceiver.head(layer: last, head: head, input: $0) } }
        for sender in [PathSender.mlpOut(layer: 0), .head(layer: 0, head: 1), .attnOut(layer: 0), .resid(layer: last), .embed] {
            let found = try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: [Path(from: [sender], to: receivers)])
            // The same by hand, with the change added to the stream and taken from it again behind attention.
            let (site, layer, head) = sender.site
            func stream(_ hooks: [Hook]) throws -> ActivationCache { try model.run(.tokens(tokens), .init(hooks: hooks, cache: .all)).cache }
            let dirty = try stream([]), seen = head == nil ? site.name(layer: layer) : "blocks.0.hook_attn_out"
            let edit = Hook.edit(.names([site.name(layer: layer)])) { tensor, _ in
                let region: [TensorIndex] = head.map { [.all, .all, .at($0)] } ?? []
                try tensor.assign(cache[site.name(layer: layer)].view(region), at: region)
            }
            let change = try stream([edit])[seen] - dirty[seen]
            let by = try model.run(.tokens(tokens), .init(hooks: [
                .edit(.names(["blocks.\(last).hook_resid_pre"])) { tensor, _ in tensor = try tensor + change },
                .edit(.names(["blocks.\(last).hook_resid_mid"])) { tensor, _ in tensor = try tensor - change },
            ]))
            expectClose(found[0].values, try Tensor([metric(#require(by.logits))], shape: [1]), "\(name) \(sender)", tolerance: 1e-4)
        }
    }

    /// A path to the final norm from every layer's input restores the clean run, from the last layer's stream and all it writes.
    @Test func severalSenders() throws {
        let (model, tokens, cache) = try setUp("gpt2-tiny")
        let last = model.config.nLayers - 1
        let path = Path(from: [.resid(layer: last), .attnOut(layer: last), .mlpOut(layer: last)], to: [.final])
        let found = try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: [path])
        let clean = try model.run(.tokens(IntTensor(rows: [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]]))).logits
        expectClose(found[0].values, try Tensor([metric(#require(clean))], shape: [1]), "restored", tolerance: 1e-5)
        // Nothing sent where nothing differs; one position alone.
        let own = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let still = try Patching.pathPatch(model, tokens: tokens, cache: own, metrics: [.scalar(metric)], paths: [path])
        expectSameBits(try still[0].values.reshaped([]), still[0].baseline, "nothing sent")
        let first = try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: [path], positions: .at(0))
        expectSameBits(try first[0].values.reshaped([]), first[0].baseline, "the last position does not see the first one's final norm")
    }

    /// Wang et al.'s algorithm to the letter: every head but the sender is frozen and MLPs are not, the receiver's query, key or
    /// value is recorded, and put into a run of its own.
    private func literally(_ model: Transformer, _ tokens: IntTensor, _ clean: ActivationCache, from sender: (layer: Int, head: Int),
                           to receiver: (layer: Int, head: Int, input: HeadInput)?) throws -> Float {
        let base = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let frozen = Hook.edit(.names((0..<model.config.nLayers).map { "blocks.\($0).attn.hook_z" })) { z, context in
            let layer = try #require(context.point.layer)
            for head in 0..<model.config.nHeads {
                let from = (layer, head) == sender ? clean : base
                try z.set(.all, .all, .at(head), to: from["z", layer].at(.all, .all, .at(head)))
            }
        }
        let run = try model.run(.tokens(tokens), .init(hooks: [frozen], cache: .all))
        guard let receiver else { return try metric(#require(run.logits)) }
        let name = "blocks.\(receiver.layer).attn.hook_\(receiver.input.rawValue)"
        return try metric(#require(model.run(.tokens(tokens), .init(hooks: [.edit(.names([name])) { tensor, _ in
            try tensor.set(.all, .all, .at(receiver.head), to: run.cache[name].at(.all, .all, .at(receiver.head)))
        }])).logits))
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gemma2", "gpt-neox"])
    func throughMLPs(_ name: String) throws {
        let (model, tokens, cache) = try setUp(name), ungrouped = try model.ungroupingQueryAttention()
        let last = model.config.nLayers - 1
        var isDifferent = false
        for input in HeadInput.allCases {
            for head in [0, model.config.nHeads - 1] {
                let path = Path(from: [.head(layer: 0, head: 1)], to: [.head(layer: last, head: head, input: input)])
                func patch(_ recomputing: PathComponents) throws -> Tensor {
                    try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: [path], recomputing: recomputing)[0].values
                }
                let found = try patch(.mlps), direct = try patch([])
                let slow = try literally(ungrouped, tokens, cache, from: (0, 1), to: (last, head, input))
                expectClose(found, try Tensor([slow], shape: [1]), "\(name): \(head).\(input)", tolerance: 2e-5)
                isDifferent = isDifferent || abs(direct.array[0] - found.array[0]) > 1e-4
            }
        }
        #expect(isDifferent, "\(name): MLPs make a difference")
        let heads = try Patching.getPathPatchHeadsTo([.final], model, tokens, cache, recomputing: .mlps, metric)
        var slow: [Float] = []
        for layer in 0...last { for head in 0..<model.config.nHeads { slow.append(try literally(model, tokens, cache, from: (layer, head), to: nil)) } }
        expectClose(heads, try Tensor(slow, shape: heads.shape), "\(name): to the logits", tolerance: 2e-5)
        let sources = try Patching.getActPatchDirectPathAllSources(model, tokens, cache, component: .v, recomputing: .mlps, metric)
        let one = try Patching.getActPatchDirectPath(model, tokens, cache, sourceLayer: 0, sourceHead: 1, component: .v, recomputing: .mlps, metric)
        expectSameBits(try sources.at(.at(0), .at(1)).contiguous(), one, "\(name): all sources")
        expectClose(try one.at(.at(last), .at(0)).contiguous(), Tensor(try literally(ungrouped, tokens, cache, from: (0, 1), to: (last, 0, .v))), "\(name): one", tolerance: 2e-5)
    }

    /// With everything recomputed a path to the end is activation patching; without MLPs there is nothing to recompute.
    @Test func whatIsRecomputed() throws {
        let (model, tokens, cache) = try setUp("gpt2-tiny"), everything: PathComponents = [.mlps, .attention]
        func run(_ senders: [PathSender], _ receiver: PathReceiver, _ recomputing: PathComponents) throws -> Tensor {
            try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: [Path(from: senders, to: [receiver])], recomputing: recomputing)[0].values
        }
        let patched = try Patching.genericActivationPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], setter: .layerHeadVector,
                                                          activationName: "z", axes: [.layer, .head])[0].values
        for layer in 0..<model.config.nLayers {
            for head in 0..<model.config.nHeads {
                expectClose(try run([.head(layer: layer, head: head)], .final, everything), try patched.at(.at(layer), .range(head..<head + 1)).contiguous(),
                            "\(layer).\(head)", tolerance: 2e-5)
            }
        }
        // All that enters the model, and so all of it.
        let clean = try Tensor([metric(#require(model.run(.tokens(IntTensor(rows: [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]]))).logits))], shape: [1])
        for senders in [[PathSender.resid(layer: 0)], [.embed], [.resid(layer: 1), .embed], [.resid(layer: 0), .mlpOut(layer: 2), .attnOut(layer: 1)]] {
            expectClose(try run(senders, .final, everything), clean, "\(senders)", tolerance: 2e-5)
        }
        // With attention frozen the last MLP alone stands between the last heads and the end; frozen too, nothing does.
        let attention = try run([.attnOut(layer: 2)], .final, .attention)
        expectClose(attention, try run([.attnOut(layer: 2)], .final, []), "nothing but the MLP is left to recompute", tolerance: 2e-5)
        let own = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let still = try Patching.pathPatch(model, tokens: tokens, cache: own, metrics: [.scalar(metric)],
                                           paths: [Path(from: [.head(layer: 0, head: 2)], to: [.head(layer: 2, head: 0, input: .k)])], recomputing: .mlps)[0]
        expectSameBits(try still.values.reshaped([]), still.baseline, "nothing sent")
        expectError(.usage, "a path without a sender") { try run([], .final, .mlps) }
        expectError(.usage, "no path leads back") { try run([.mlpOut(layer: 1)], .head(layer: 1, head: 0, input: .q), .mlps) }
        let file = "\(TestFolders.goldens)/native-attn-only", config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: file + "/tl_config.json", limit: 1 << 20))
        let only = try Transformer(config: config, savedParameters: SafetensorsFile(path: file + "/state_dict.safetensors"))
        let other = try only.run(.tokens(IntTensor(rows: [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]])), .init(cache: .all)).cache
        let direct = try Patching.getPathPatchHeadsTo([.final], only, tokens, other, metric)
        expectClose(try Patching.getPathPatchHeadsTo([.final], only, tokens, other, recomputing: .mlps, metric), direct, "attention only", tolerance: 2e-5)
    }

    @Test func zerosWhereNoPathLeads() throws {
        let (model, tokens, cache) = try setUp("gpt2-tiny")
        let direct = try Patching.getActPatchDirectPath(model, tokens, cache, sourceLayer: 1, sourceHead: 0, metric)
        #expect(direct.shape == [3, 3] && direct.array[0..<6].allSatisfy { $0 == 0 } && direct.array[6...].allSatisfy { $0 != 0 })
        let last = try Patching.getActPatchDirectPath(model, tokens, cache, sourceLayer: 2, sourceHead: 0, metric)
        #expect(last.array.allSatisfy { $0 == 0 })
        let to = try Patching.getPathPatchHeadsTo([.head(layer: 1, head: 0, input: .v)], model, tokens, cache, metric)
        #expect(to.array[0..<3].allSatisfy { $0 != 0 } && to.array[3...].allSatisfy { $0 == 0 })
    }

    @Test func refusals() throws {
        let (model, tokens, cache) = try setUp("gpt2-tiny")
        func patch(_ sender: PathSender, _ receiver: PathReceiver, cache other: ActivationCache? = nil) throws -> [PatchingResult] {
            try Patching.pathPatch(model, tokens: tokens, cache: other ?? cache, metrics: [.scalar(metric)], paths: [Path(from: [sender], to: [receiver])])
        }
        expectError(.usage, "no path leads back") { try patch(.head(layer: 1, head: 0), .head(layer: 1, head: 1, input: .q)) }
        expectError(.usage, "no path leads back") { try patch(.mlpOut(layer: 2), .head(layer: 1, head: 1, input: .k)) }
        expectError(.usage, "no such sender") { try patch(.head(layer: 0, head: 3), .final) }
        expectError(.usage, "no such sender") { try patch(.mlpOut(layer: 3), .final) }
        expectError(.usage, "no such receiver") { try patch(.embed, .head(layer: 3, head: 0, input: .q)) }
        expectError(.usage, "no such receiver") { try patch(.embed, .head(layer: 0, head: -1, input: .q)) }
        expectError(.name, "not in the cache") { try patch(.embed, .final, cache: ActivationCache(nLayers: 3)) }
        expectError(.usage, "a path without a sender") {
            try Patching.pathPatch(model, tokens: tokens, cache: cache, metrics: [], paths: [Path(from: [], to: [.final])])
        }
        expectError(.usage, "no such sender") { try Patching.getActPatchDirectPath(model, tokens, cache, sourceLayer: 7, sourceHead: 0, metric) }
    }
}
