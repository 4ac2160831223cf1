// Gradients as a user asks for them, of the models that hold hooks and text: rows of unequal lengths, caches with gradients beside
// activations, scopes of hooks, encoders. Goldens hold the numbers themselves; here they are held against differences of the loss.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct HookedGradientTests {
    private let model: HookedTransformer
    private let tokens = [3, 1, 4, 1, 5]

    init() throws { model = HookedTransformer(try Models.named("gpt2-tiny")) }

    private static func asking(_ sites: ActivationFilter, _ returnType: Transformer.ReturnType = .logits) -> Transformer.Options {
        var options = Transformer.Options(returnType: returnType)
        options.gradients = sites
        return options
    }

    /// A weighted sum of logits at the real tokens of rows that start or end with padding.
    private static func pick(_ logits: Tensor?, of rows: [[Int]], _ side: PaddingSide) throws -> Tensor {
        let logits = try #require(logits), length = logits.shape[1]
        var sum: Tensor?
        for (index, row) in rows.enumerated() {
            let real = side == .left ? length - row.count..<length : 0..<row.count
            let own = try logits.at(.at(index), .range(real)), part = try (own * GradientGolden.weights(own.shape)).sum()
            sum = try sum.map { try $0 + part } ?? part
        }
        return try #require(sum)
    }

    @Test(arguments: PaddingSide.allCases)
    func unequalRowsHaveTheGradientsOfTheRowsAlone(_ side: PaddingSide) throws {
        let rows = [[3, 1, 4, 1, 5], [9], [2, 6, 5]], sites: [String] = ["hook_embed", "blocks.1.hook_resid_pre", "blocks.1.attn.hook_k", "blocks.2.attn.hook_z"]
        let options = Self.asking(.names(sites))
        let together = try model.runWithGradients(rows, options, parameters: .all, paddingSide: side) { try Self.pick($0.logits, of: rows, side) }
        var sums: [String: Tensor] = [:], total: Tensor?
        for (index, row) in rows.enumerated() {
            let alone = try model.runWithGradients(row, options, parameters: .all) { try Self.pick($0.logits, of: [row], side) }
            let real = side == .left ? 5 - row.count..<5 : 0..<row.count
            for site in sites {
                let gradient = try together.activations[site]
                expectClose(try gradient.at(.at(index), .range(real)), try alone.activations[site].at(.at(0)), "\(site), row \(index)", tolerance: 1e-5)
                // Nothing depends on padding.
                for place in 0..<5 where !real.contains(place) {
                    #expect(try gradient.at(.at(index), .at(place)).array.allSatisfy { $0 == 0 }, "\(site), row \(index), place \(place)")
                }
            }
            for (name, gradient) in alone.parameters { sums[name] = try sums[name].map { try $0 + gradient } ?? gradient }
            total = try total.map { try $0 + alone.metric } ?? alone.metric
        }
        expectClose(together.metric, try #require(total), "the metric", tolerance: 1e-5)
        let largest = sums.values.flatMap(\.array).map(abs).max() ?? 0
        #expect(Set(sums.keys) == Set(together.parameters.keys) && largest > 0)
        for (name, sum) in sums {
            let apart = try zip(#require(together.parameters[name]).array, sum.array).map { abs($0 - $1) }.max() ?? .infinity
            #expect(apart <= 1e-5 * largest, "\(name): \(apart) of \(largest)")
        }
    }

    /// `incl_bwd`: the loss is gone back from, unless a metric is given.
    @Test func cachesHoldGradientsBesideActivations() throws {
        let plain = try model.runWithCache(tokens, namesFilter: ["z", "resid_post"])
        let (logits, cache) = try model.runWithCache(tokens, namesFilter: ["z", "resid_post"], inclBwd: true)
        expectSameBits(logits, plain.0, "logits")
        #expect(cache.names == plain.1.names + plain.1.names.map { $0 + "_grad" })
        for (name, activation) in plain.1.entries { expectSameBits(try cache[name], activation, name) }
        let options = Self.asking(["z", "resid_post"], .loss)
        let own = try model.runWithGradients(tokens, options) { try #require($0.loss) }
        expectSameBits(own.metric, try model.loss(tokens), "what is differentiated")
        for layer in 0..<3 {
            for name in ["z", "resid_post"] { expectSameBits(try cache[name + "_grad", layer], try own.activations[name, layer], "\(name) \(layer)") }
        }
        // What is after the last logit that the loss reads has no part in it.
        #expect(try cache["resid_post_grad", 2].at(.at(0), .at(-1)).array.allSatisfy { $0 == 0 })

        let metric: Metric = { try #require($0.logits).at(.at(0), .at(-1), .at(7)) }
        let (_, last) = try model.runWithCache(tokens, namesFilter: "z", posSlice: .at(-1), removeBatchDim: true, inclBwd: true, of: metric)
        let whole = try model.runWithGradients(tokens, Self.asking("z"), of: metric).activations
        for layer in 0..<3 {
            expectSameBits(try last["z_grad", layer], try whole["z", layer].at(.at(0), .at(-1)).reshaped(last["z", layer].shape), "the last position's, \(layer)")
        }
        expectError(.usage, "no loss") { try model.runWithCache(tokens, stopAtLayer: 1, inclBwd: true) }
        expectError(.shape) { try model.runWithCache(tokens, namesFilter: "z", inclBwd: true) { try #require($0.logits) } }
        expectError(.usage, "depends on nothing") { try model.runWithCache(tokens, namesFilter: "z", inclBwd: true) { _ in 3 } }
    }

    /// The loss's change as one element of the stream moves a little either way.
    @Test func gradientsAreSlopes() throws {
        let step: Float = 0.01, double = Hook.edit("blocks.0.hook_mlp_out") { x, _ in x = try x * 2 }
        try model.hooks([double]) { hooked in
            let (_, cache) = try hooked.runWithCache(tokens, namesFilter: "resid_pre", inclBwd: true)
            let gradient = try cache["resid_pre_grad", 1], largest = gradient.array.map(abs).max() ?? 0
            for (place, width) in [(0, 3), (1, 0), (2, 17), (3, 41), (3, 8)] {
                func loss(_ change: Float) throws -> Float {
                    let nudge = Hook.edit("blocks.1.hook_resid_pre") { x, _ in x[.all, .at(place), .at(width)] = try x.at(.all, .at(place), .at(width)) + Tensor(change) }
                    return try #require(try hooked.run(tokens, .init(hooks: [nudge], returnType: .loss)).loss).item()
                }
                let slope = try (loss(step) - loss(-step)) / (2 * step), own = try gradient.at(.at(0), .at(place), .at(width)).item()
                #expect(abs(slope - own) < 0.01 * largest, "\(place) \(width): \(own), by differences \(slope)")
            }
            // The scope's edit is part of what is differentiated: what is doubled has twice the gradient of what comes out.
            let (_, plain) = try model.runWithCache(tokens, namesFilter: "resid_pre", inclBwd: true)
            #expect(bitDifference(try plain["resid_pre_grad", 1], gradient) != nil)
        }
    }

    @Test func hooksOnTheWayBackAreOfAScopeOrARun() throws {
        final class Seen { var names: [String] = [] }
        let seen = Seen(), stop = Hook.stopGradient("blocks.1.hook_resid_pre")
        let read = Hook.gradient("resid_pre") { gradient, at in
            seen.names.append(at.name)
            gradient = try gradient * 2
        }
        let plain = try model.runWithCache(tokens, namesFilter: "resid_pre", inclBwd: true).1
        try model.hooks([read]) { hooked in
            let twice = try hooked.runWithCache(tokens, namesFilter: "resid_pre", inclBwd: true).1
            #expect(seen.names == (0..<3).reversed().map { "blocks.\($0).hook_resid_pre" })
            expectClose(try twice["resid_pre_grad", 0], try plain["resid_pre_grad", 0].scaled(by: 8), "doubled three times", tolerance: 1e-5)
            let cut = try hooked.runWithCache(tokens, namesFilter: "resid_pre", hooks: [stop], inclBwd: true).1
            #expect(try cut["resid_pre_grad", 0].array.allSatisfy { $0 == 0 })
            expectSameBits(try cut["resid_pre_grad", 1], try twice["resid_pre_grad", 1], "at the site itself")
        }
    }

    @Test func encodersToo() throws {
        let bert = try HookedEncoder(folder: "\(TestFolders.goldens)/bert"), t5 = try HookedEncoderDecoder(folder: "\(TestFolders.goldens)/t5")
        let text = "the cat sat on the mat", metric: Metric = { try #require($0.logits).at(.at(0), .at(1), .at(7)) }
        let (logits, cache) = try bert.runWithCache(text, namesFilter: "z", inclBwdOf: metric)
        expectSameBits(logits, try bert.logits(text), "logits")
        let found = try bert.runWithGradients(text, Self.asking("z"), of: metric)
        expectSameBits(found.metric, try logits.at(.at(0), .at(1), .at(7)), "the metric")
        expectSameBits(try cache["z_grad", 1], try found.activations["z", 1], "BERT's z")
        #expect(try cache["z_grad", 1].shape == cache["z", 1].shape && cache["z_grad", 0].array.contains { $0 != 0 })

        let decoded = [[0, 5, 9, 2]], names: [String] = ["encoder.0.hook_resid_pre", "decoder.1.hook_resid_pre"]
        let both = try t5.runWithCache([[4, 7, 2]], decoderInput: decoded, namesFilter: .names(names), inclBwd: true).1
        let loss = try t5.runWithGradients([[4, 7, 2]], decoderInput: decoded, Self.asking(.names(names), .loss)) { try #require($0.loss) }
        for name in names {
            expectSameBits(try both[name + "_grad"], try loss.activations[name], name)
            #expect(try both[name + "_grad"].shape == both[name].shape && both[name + "_grad"].array.contains { $0 != 0 })
        }
    }
}
