// How well attribution patching ranks what patching ranks in a trained model: docs/attribution.md has the whole table. The floors
// are for two of its pairs of prompts.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct ShippedAttributionTests {
    private static let model = Result { try HookedTransformer(folder: "shipped:tiny-ioi") }

    /// Names that are to be moved, and three others in their place: what differs is at every position from the first name on.
    private static func pair() throws -> (pair: PromptPair, metric: GradientMetric) {
        let model = try model.get()
        let clean = ["When Mary and John went to the store, John gave a drink to", "When Anna and Tom went to the park, Tom gave a ball to"]
        let corrupted = ["When Anna and Paul went to the store, Kate gave a drink to", "When Lucy and Mark went to the park, Peter gave a ball to"]
        return (try PromptPair(clean: model.toTokens(clean), corrupted: model.toTokens(corrupted)),
                .logitDifference(answers: try [" Mary", " Anna"].map(model.toSingleToken), wrong: try [" John", " Tom"].map(model.toSingleToken)))
    }

    /// Spearman's correlations by kind of component.
    private static func ranks(at point: GradientPoint, _ patches: [NamedPatch]) throws -> [NamedPatch: AttributionAgreement] {
        let (pair, metric) = try pair()
        let report = try Patching.attributionAgreement(model.get().model, pair, metric: metric, gradientAt: point, patches: patches,
                                                       options: PatchingOptions(onlyLastLogits: true))
        return Dictionary(uniqueKeysWithValues: report.agreements.map { ($0.patch, $0) })
    }

    private static let small: [NamedPatch] = [.attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos, .attnHeadPatternByPos]
    private static let large: [NamedPatch] = [.residPre, .residMid, .attnOut, .mlpOut]

    @Test(arguments: [GradientPoint.clean, .corrupted])
    func ranksWhatHeadsDo(_ point: GradientPoint) throws {
        let found = try Self.ranks(at: point, Self.small)
        for patch in Self.small {
            let part = try #require(found[patch])
            #expect(part.effect.array.contains { abs($0) > 0.1 }, "\(patch): the task is nothing to it")
            #expect(part.spearman > 0.8 && part.topOverlap > 0.6, "\(patch) \(point.name): \(part.spearman), \(part.topOverlap)")
        }
    }

    @Test(arguments: [GradientPoint.clean, .corrupted, .integrated(steps: 10, rule: .midpoint)])
    func ranksWhatLayersDo(_ point: GradientPoint) throws {
        let found = try Self.ranks(at: point, Self.large)
        for patch in Self.large {
            let part = try #require(found[patch])
            #expect(part.spearman > 0.5 && part.topOverlap >= 0.5, "\(patch) \(point.name): \(part.spearman), \(part.topOverlap)")
        }
    }

    /// Every fourth neuron of every layer at the last position, one run each: a clean neuron in the corrupted run.
    @Test func ranksWhatNeuronsDo() throws {
        let model = try Self.model.get().model, (pair, metric) = try Self.pair(), last = pair.clean.shape[1] - 1
        let names = try [[" Mary", " John"], [" Anna", " Tom"]].map { try $0.map(Self.model.get().toSingleToken) }
        func difference(_ hooks: [Hook]) throws -> Double {
            var options = Transformer.Options(hooks: hooks)
            options.onlyLastLogits = true
            let logits = try #require(try model.run(.tokens(pair.corrupted), options).logits)
            return try names.enumerated().map { row, ids in try Double(logits.at(.at(row), 0, .at(ids[0])).item() - logits.at(.at(row), 0, .at(ids[1])).item()) }.reduce(0, +) / 2
        }
        let clean = try model.run(.tokens(pair.clean), .init(cache: "post")).cache, before = try difference([])
        let estimates = try Patching.attributionPatch(model, pair, metric: metric, activations: ["post"], gradientAt: .corrupted)[0].mean
        var effect: [Double] = [], estimate: [Double] = []
        for layer in 0..<model.config.nLayers {
            let name = actName("post", layer: layer), values = try clean[name]
            for neuron in stride(from: 0, to: values.shape[2], by: 4) {
                let put = try values.at(.all, .at(last), .at(neuron)).contiguous()
                effect.append(try difference([.edit(.names([name])) { post, _ in try post.set(.all, .at(last), .at(neuron), to: put) }]) - before)
                estimate.append(Double(try estimates.at(.at(layer), .at(last), .at(neuron)).item()))
            }
        }
        #expect(effect.count == 512 && effect.contains { abs($0) > 0.01 })
        let rank = Statistics.spearman(effect, estimate)
        #expect(rank > 0.95, "neurons: \(rank)")
    }
}
