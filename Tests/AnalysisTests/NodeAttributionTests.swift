// Attribution patching of nodes: equal to literal sums and to derivatives by differences, parts sum to wholes, the law of padding,
// integrated gradients are complete, agreement with true patching.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct NodeAttributionTests {
    static let models = ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2"]

    /// Every activation's every place: (clean − corrupted) · gradient, the long way.
    @Test(arguments: models) func areTheLiteralSums(_ name: String) throws {
        let test = try AttributionCase(name), heads = test.model.config.nHeads
        let asked = ["resid_pre", "attn_out", "mlp_out", "z", "result", "q", "k", "v", "pattern", "post", "embed"]
        for point in [GradientPoint.clean, .corrupted] {
            let found = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: asked, gradientAt: point)
            let names = test.model.config.hookPoints.map(\.name).filter { name in asked.contains { ask in (0..<8).contains { actName(ask, layer: $0) == name } || actName(ask) == name } }
            let clean = try test.run(test.pair.clean, cache: .names(names)), corrupted = try test.run(test.pair.corrupted, cache: .names(names))
            let gradients = try test.gradients(point == .clean ? test.pair.clean : test.pair.corrupted, names)
            for result in found {
                #expect(result.clean.array == clean.values && result.corrupted.array == corrupted.values && result.isPerExample)
                let width = result.values.shape.dropLast().reduce(1, *)
                var literal = [Double](repeating: 0, count: width * 2)
                for layer in 0..<(result.layers?.count ?? 1) {
                    let full = result.layers == nil ? actName(result.activationName) : actName(result.activationName, layer: layer)
                    let a = try clean.cache[full], b = try corrupted.cache[full], g = try gradients[full]
                    let per = width / (result.layers?.count ?? 1), inside = a.count / 2 / per
                    for index in 0..<a.count {
                        let row = index / (a.count / 2), cell = index % (a.count / 2) / inside
                        literal[(layer * per + cell) * 2 + row] += (Double(a.array[index]) - Double(b.array[index])) * Double(g.array[index])
                    }
                }
                expectNear(result.values.array.map(Double.init), literal, 1e-5, "\(name) \(result.activationName) \(point)")
            }
            let shapes = Dictionary(uniqueKeysWithValues: try found.map { ($0.activationName, try $0.mean.shape) })
            let layers = test.model.config.nLayers
            #expect(shapes["resid_pre"] == [layers, 5] && shapes["z"] == [layers, 5, heads] && shapes["k"] == [layers, 5, test.model.config.kvHeads])
            #expect(shapes["pattern"] == [layers, heads, 5, 5] && shapes["post"] == [layers, 5, test.model.config.mlp?.width ?? 0] && shapes["embed"] == [5])
        }
    }

    /// The derivative along the change, found without gradients.
    @Test(arguments: models) func areDerivatives(_ name: String) throws {
        let test = try AttributionCase(name)
        for (activation, region) in [("resid_pre", 0), ("z", 1), ("k", 1), ("mlp_out", 0), ("pattern", 2)] {
            for point in [GradientPoint.clean, .corrupted] {
                let tokens = point == .clean ? test.pair.clean : test.pair.corrupted
                let found = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: [activation], gradientAt: point)[0]
                var slopes: [Double] = [], values: [Double] = []
                for layer in 0..<test.model.config.nLayers {
                    let full = actName(activation, layer: layer)
                    let change = try test.run(test.pair.clean, cache: .names([full])).cache[full] - test.run(test.pair.corrupted, cache: .names([full])).cache[full]
                    for (position, head) in [(1, 0), (4, 0), (3, 1)] {
                        let head = head % change.shape[region == 2 ? 1 : min(2, change.rank - 1)]
                        let places: [TensorIndex] = region == 0 ? [.all, .at(position)] : region == 1 ? [.all, .at(position), .at(head)] : [.all, .at(head), .at(position)]
                        slopes += try test.slope(tokens, at: full, places, along: change.view(places))
                        let cell = try region == 2 ? found.values.at(.at(layer), .at(head), .at(position)).summed(axis: 0)
                            : found.values.view([.at(layer)] + places.dropFirst())
                        values += cell.array.map(Double.init)
                    }
                }
                expectNear(values, slopes, 5e-3, "\(name) \(activation) \(point)")
            }
        }
    }

    /// What a layer's parts are worth sums to what they make up.
    @Test(arguments: models + ["native-parallel", "olmo2", "granite"]) func partsSumToWholes(_ name: String) throws {
        let test = try AttributionCase(name)
        let found = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["z", "result", "attn_out", "resid_post"],
                                                  gradientAt: .corrupted)
        // A head's z and what it writes: the same change, before and after W_O.
        expectClose(try found[0].summed(over: "pos").values, try found[1].summed(over: "pos").values, "\(name) z, result", tolerance: 1e-4)
        if test.model.config.outputNorm == nil, test.model.config.normPlacement == .onInput, test.model.config.residualScale == 1 {
            expectClose(try found[1].summed(over: "head").values, found[2].values, "\(name) heads of attn_out", tolerance: 1e-4)
        }
        // At first order, the last stream is all there is.
        let last = test.model.config.nLayers - 1
        let whole = try found[3].values.at(.at(last)).summed(axis: 0).array.map(Double.init)
        let stream = HookSite.residPost.name(layer: last)
        let change = try test.run(test.pair.clean, cache: .names([stream])).cache[stream] - test.run(test.pair.corrupted, cache: .names([stream])).cache[stream]
        expectNear(whole, try test.slope(test.pair.corrupted, at: stream, [.all], along: change), 5e-3, "\(name) whole")
    }

    /// Padding, batches, repetition, one number for all.
    @Test func anyBatch() throws {
        for name in ["gpt2-tiny", "llama-grouped"] {
            let mask = [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
            let both = try AttributionCase(name, mask: mask)
            let all = ["resid_pre", "z", "pattern", "post"]
            let found = try Patching.attributionPatch(both.model, both.pair, metric: both.metric, activations: all, gradientAt: .integrated(steps: 3))
            let again = try Patching.attributionPatch(both.model, both.pair, metric: both.metric, activations: all, gradientAt: .integrated(steps: 3))
            for (a, b) in zip(found, again) { expectSameBits(a.values, b.values, "\(name) again") }
            let short = try PromptPair(clean: IntTensor(rows: [[44, 2, 9]]), corrupted: IntTensor(rows: [[44, 70, 3]]))
            let alone = try Patching.attributionPatch(both.model, short, metric: .logitDifference(answers: [31], wrong: [4]), activations: all, gradientAt: .integrated(steps: 3))
            for (a, b) in zip(found, alone) {
                let pattern = a.activationName == "pattern"
                let row = try pattern ? a.values.at(.all, .all, .from(2), .from(2), .at(1)) : a.values.view([.all, .from(2)] + Array(repeating: .all, count: a.values.rank - 3) + [.at(1)])
                expectClose(row.contiguousCopy, try b.values.reshaped(row.shape), "\(name) \(a.activationName) alone", tolerance: 1e-4)
                let padding = try pattern ? a.values.at(.all, .all, .upTo(2), .all, .at(1)) : a.values.view([.all, .upTo(2)] + Array(repeating: .all, count: a.values.rank - 3) + [.at(1)])
                #expect(padding.array.allSatisfy { $0 == 0 })
            }
            // One number for the whole batch: the sum.
            let metric = both.metric
            let total = try Patching.attributionPatch(both.model, both.pair, metric: GradientMetric { try metric($0).summed(axis: 0) }, activations: ["z"], gradientAt: .corrupted)[0]
            let each = try Patching.attributionPatch(both.model, both.pair, metric: metric, activations: ["z"], gradientAt: .corrupted)[0]
            let width = try each.mean.shape
            #expect(!total.isPerExample && total.values.shape == width)
            expectClose(total.values, try each.mean.scaled(by: 2), "\(name) total", tolerance: 1e-5)
        }
    }

    /// What is patched wholly, by many steps, sums to what it does.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox"]) func integratedGradientsAreComplete(_ name: String) throws {
        let test = try AttributionCase(name)
        for activation in ["blocks.1.hook_resid_pre", "mlp_out0", "z1"] {
            let full = actName(activation)
            let clean = try test.run(test.pair.clean, cache: .names([full])).cache[full], corrupted = try test.run(test.pair.corrupted, cache: .names([full])).cache[full]
            let patched = try test.run(test.pair.corrupted, hooks: [.edit(.names([full])) { tensor, _ in tensor = clean }]).values
            let found = try test.model.integratedGradients(test.pair.corrupted, activation: activation, value: clean, baseline: corrupted, metric: test.metric, steps: 16)
            #expect(found.end.array == patched)
            #expect(found.start.array == (try test.run(test.pair.corrupted).values))
            #expect(try found.values.shape == clean.shape && found.sums.shape == [2])
            let gap = try found.completenessGap.array.map { abs(Double($0)) }.max() ?? .nan, size = zip(patched, found.start.array).map { abs(Double($0 - $1)) }.max() ?? 1
            #expect(gap < 0.01 * size, "\(name) \(activation): \(gap) of \(size)")
        }
        // Along inputs: by the whole way at layer 0 it is complete too.
        let found = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["resid_pre"], gradientAt: .integrated(steps: 32, rule: .midpoint))[0]
        let sums = try found.values.at(.at(0)).summed(axis: 0).array.map(Double.init)
        expectNear(sums, zip(found.clean.array, found.corrupted.array).map { Double($0) - Double($1) }, 0.01, "\(name) inputs")
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"]) func inputTokens(_ name: String) throws {
        let test = try AttributionCase(name), tokens = test.pair.clean
        let gradient = try test.gradients(tokens, ["hook_embed"])["hook_embed"], embed = try test.run(tokens, cache: "hook_embed").cache["hook_embed"]
        let lengths = try test.model.inputAttribution(tokens, metric: test.metric, method: .gradient)
        expectClose(try lengths.values * lengths.values, try (gradient * gradient).summed(axis: -1), "\(name) lengths", tolerance: 1e-5)
        let products = try test.model.inputAttribution(tokens, metric: test.metric, method: .gradientTimesInput)
        expectClose(products.values, try (gradient * embed).summed(axis: -1), "\(name) gradient times input", tolerance: 1e-5)
        for baseline in [InputBaseline.zero, .mean, .tokens(test.pair.corrupted)] {
            let found = try test.model.inputAttribution(tokens, metric: test.metric, baseline: baseline, steps: 50)
            let sums = try found.values.summed(axis: -1).array.map(Double.init), start = try #require(found.baselineMetric)
            let gaps = try #require(found.completenessGap).array.map(Double.init)
            let whole = zip(found.metric.array, start.array).map { Double($0) - Double($1) }
            expectNear(zip(sums, gaps).map { $0 - $1 }, whole, 1e-4, "\(name) sums less the gap")
            // A zero baseline is far from anything a norm keeps apart: there the way is steep.
            if case .tokens = baseline { expectNear(sums, whole, 0.02, "\(name) sums") }
        }
        let same = try test.model.inputAttribution(tokens, metric: test.metric, baseline: .tokens(test.pair.corrupted), steps: 4)
        // Tokens that are the same in both prompts have nothing to be attributed to.
        for (place, (a, b)) in zip(tokens.array, test.pair.corrupted.array).enumerated() where a == b { #expect(same.values.array[place] == 0) }
        let json = try same.json { "t\($0)" }
        #expect(json["rows"]?.arrayValue?.count == 2 && json["method"]?.stringValue == "integrated")
        expectError(.shape, "baseline tokens do not fit") { try test.model.inputAttribution(tokens, metric: test.metric, baseline: .tokens(IntTensor(rows: [[1]]))) }
        expectError(.usage, "steps of an integral") { try test.model.inputAttribution(tokens, metric: test.metric, steps: 0) }
    }

    /// Metrics by hand, and at positions of their own.
    @Test func metrics() throws {
        let test = try AttributionCase("gpt2-tiny"), logits = try test.run(test.pair.clean).logits, other = try test.run(test.pair.corrupted).logits
        func at(_ row: Int, _ position: Int, _ token: Int) throws -> Double { Double(try logits.at(.at(row), .at(position), .at(token)).item()) }
        let difference = try GradientMetric.logitDifference(answers: [10, 31], wrong: [77, 4], positions: [-1, 2])(logits).array.map(Double.init)
        expectNear(difference, [try at(0, 4, 10) - at(0, 4, 77), try at(1, 2, 31) - at(1, 2, 4)], 1e-6, "difference")
        let last = try logits.at(.all, .at(-1)).contiguous(), logs = try last.logSoftmax(), shares = try last.softmax()
        #expect(try GradientMetric.logProbability(answers: [3])(logits).array == logs.at(.all, .at(3)).array)
        #expect(try GradientMetric.probability(answers: [3, 4])(logits).array == [shares.at(.at(0), .at(3)).item(), shares.at(.at(1), .at(4)).item()])
        #expect(try GradientMetric.logit(answers: [3])(logits).array == last.at(.all, .at(3)).array)
        let divergence = try GradientMetric.divergence(from: other)(logits).array.map(Double.init)
        let p = try other.at(.all, .at(-1)).contiguous().softmax().array.map(Double.init), q = shares.array.map(Double.init)
        let width = q.count / 2
        expectNear(divergence, (0..<2).map { row in (row * width..<(row + 1) * width).reduce(0) { $0 + p[$1] * (log(p[$1]) - log(q[$1])) } }, 1e-4, "divergence")
        #expect(try GradientMetric.divergence(from: logits)(logits).array.allSatisfy { abs($0) < 1e-6 })
        // Each has a gradient: that of differences.
        let metrics: [GradientMetric] = [.logit(answers: [3, 5]), .logProbability(answers: [3]), .probability(answers: [3, 4], positions: [-1, 2]), .divergence(from: other)]
        for metric in metrics {
            var options = Transformer.Options()
            options.gradients = "blocks.2.hook_resid_post"
            let gradient = try test.model.runWithGradients(.tokens(test.pair.clean), options) { try metric(#require($0.logits)).summed(axis: 0) }.activations["resid_post", 2]
            let direction = try randomTensor(gradient.shape, seed: 5)
            func value(_ step: Float) throws -> Double {
                let edited = try test.run(test.pair.clean, hooks: [.edit("blocks.2.hook_resid_post") { x, _ in x = try x + direction.scaled(by: step) }]).logits
                return try metric(edited).array.reduce(0) { $0 + Double($1) }
            }
            let slope = try (value(0.02) - value(-0.02)) / 0.04, own = try (gradient * direction).reshaped([gradient.count]).summed(axis: 0).item()
            #expect(abs(slope - Double(own)) < 5e-3 * max(1, abs(slope)), "\(metric.name): \(own), \(slope)")
        }
    }

    @Test func refusals() throws {
        let test = try AttributionCase("gpt2-tiny"), pair = test.pair
        func attribute(_ names: [String], metric: GradientMetric? = nil, at point: GradientPoint = .clean) throws -> [NodeAttribution] {
            try Patching.attributionPatch(test.model, pair, metric: metric ?? test.metric, activations: names, gradientAt: point)
        }
        expectError(.name) { try attribute(["resid_prr"]) }
        expectError(.usage, "no attribution of this activation") { try attribute(["tokens"]) }
        expectError(.usage, "steps of an integral") { try attribute(["z"], at: .integrated(steps: 0)) }
        expectError(.usage, "answers do not fit the batch") { try attribute(["z"], metric: .logit(answers: [1, 2, 3])) }
        expectError(.usage, "token out of range") { try attribute(["z"], metric: .logit(answers: [97])) }
        expectError(.shape, "not a metric") { try attribute(["z"], metric: GradientMetric { $0 }) }
        expectError(.shape, "no such position") { try attribute(["z"], metric: .logit(answers: [1], positions: [0, 9])) }
        expectError(.shape) { try attribute(["z"], metric: .logit(answers: [1], positions: [9])) }
        expectError(.shape, "prompts that cannot be compared") { try PromptPair(clean: pair.clean, corrupted: IntTensor(rows: [[1]])) }
        expectError(.shape, "attention mask") { try PromptPair(clean: pair.clean, corrupted: pair.corrupted, attentionMask: IntTensor(rows: [[1]])) }
        expectError(.name, "no such axis") { try attribute(["z"])[0].summed(over: "neuron") }
        #expect(try attribute([]).isEmpty)
        struct Odd: Error {}
        #expect(throws: Odd.self) { try attribute(["z"], metric: GradientMetric { _ in throw Odd() }) }
    }

    /// Attribution ranks what patching ranks; where the model is linear in what is patched, the two are the same.
    @Test(arguments: ["gpt2-tiny", "llama-grouped"]) func agreesWithPatching(_ name: String) throws {
        let test = try AttributionCase(name)
        for point in [GradientPoint.clean, .corrupted, .integrated(steps: 8)] {
            let report = try Patching.attributionAgreement(test.model, test.pair, metric: test.metric, gradientAt: point, options: PatchingOptions(onlyLastLogits: true))
            #expect(report.agreements.map(\.patch) == [.residPre, .residMid, .attnOut, .mlpOut, .attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos])
            for part in report.agreements {
                #expect(part.effect.shape == part.estimate.shape && (-1...1).contains(part.spearman), "\(name) \(part.patch)")
                // Random models are curved (the grouped one so much that ranks say little); the smaller the part, the better the estimate.
                if name == "gpt2-tiny", [.mlpOut, .attnHeadOutByPos, .attnHeadVByPos].contains(part.patch) {
                    #expect(part.spearman > 0.6, "\(part.patch) \(point): \(part.spearman)")
                }
            }
        }
        // As a sweep: its shape and cells, the baseline and what is estimated.
        for isNoising in [false, true] {
            let own = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["pattern"], gradientAt: isNoising ? .clean : .corrupted)[0]
            for patch in [NamedPatch.attnHeadPatternByPos, .attnHeadPatternDestSrcPos, .attnHeadPatternAllPos] {
                let predicted = try own.predicted(patch, isNoising: isNoising)
                let cache = try test.run(isNoising ? test.pair.corrupted : test.pair.clean, cache: "pattern").cache
                let truth = try Patching.getActPatch(patch, test.model, tokens: isNoising ? test.pair.clean : test.pair.corrupted, cache: cache,
                                                     metrics: [test.metric.patching(isPerExample: true)])[0]
                #expect(predicted.indices == truth.indices && predicted.axisNames == truth.axisNames && predicted.values.shape == truth.values.shape)
                #expect(predicted.baseline.array == truth.baseline.array)
                expectClose(try predicted.effect, try own.estimate(of: patch).values.scaled(by: isNoising ? -1 : 1), "\(name) \(patch)", tolerance: 1e-4)
            }
        }
        expectError(.usage, "a sweep of another activation") {
            try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["z"], gradientAt: .clean)[0].estimate(of: .residPre)
        }
        #expect(Statistics.spearman([1, 2, 3, 4], [10, 20, 40, 30]) == 0.8)
        #expect(abs(Statistics.spearman([1, 2, 2, 3], [1, 2, 3, 4]) - 0.9486832980505138) < 1e-12)
        #expect(Statistics.spearman([1, 2], [2, 2]).isNaN && Statistics.spearman([1], [2]).isNaN && Statistics.spearman([1, .nan], [2, 3]).isNaN)
        #expect(Statistics.pearson([1, 2, 3], [2, 4, 6]) == 1)
    }
}

extension Tensor {
    fileprivate var contiguousCopy: Tensor { (try? contiguous()) ?? self }
}
