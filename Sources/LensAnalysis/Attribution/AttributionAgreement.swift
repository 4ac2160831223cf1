// How far attribution patching is to be believed: the same sweep done truly, cell by cell, and how well the two rank the cells
// (Nanda, 2023; Kramár et al., 2024, AtP*).

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// One kind of component, patched truly and estimated.
public struct AttributionAgreement: Sendable {
    public let patch: NamedPatch
    /// What patching each cell does to the metric, and what attribution says it does: `[axes…]`, means over examples.
    public let effect: Tensor, estimate: Tensor
    /// Spearman's rank correlation of the two over the cells; NaN where one of them is the same everywhere.
    public let spearman: Double
    /// Pearson's correlation.
    public let pearson: Double
    /// How many of the n cells of greatest absolute effect are among the n of greatest absolute estimate, over n; NaN where there is
    /// no ranking (`spearman`).
    public let topOverlap: Double
    /// That n: a tenth of the cells, at least one.
    public let topCount: Int

    init(_ patch: NamedPatch, effect: Tensor, estimate: Tensor) {
        self.patch = patch
        self.effect = effect
        self.estimate = estimate
        let a = effect.array.map(Double.init), b = estimate.array.map(Double.init), count = max(1, a.count / 10)
        spearman = Statistics.spearman(a, b)
        pearson = Statistics.pearson(a, b)
        func top(_ values: [Double]) -> Set<Int> {
            Set(values.indices.sorted { (abs(values[$0]), $1) > (abs(values[$1]), $0) }.prefix(count))
        }
        topOverlap = spearman.isNaN ? .nan : Double(top(a).intersection(top(b)).count) / Double(count)
        topCount = count
    }
}

/// Kinds of components, each patched truly and estimated.
public struct AgreementReport: AnalysisResult {
    public let gradientAt: GradientPoint
    public let agreements: [AttributionAgreement]

    public var tensors: [LabelledTensor] {
        agreements.flatMap { [LabelledTensor("\($0.patch.rawValue).effect", $0.effect), LabelledTensor("\($0.patch.rawValue).estimate", $0.estimate)] }
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        ["gradient_at": .string(gradientAt.name), "components": .array(agreements.map { part in
            ["component": .string(part.patch.rawValue), "cells": .int(part.effect.count), "spearman": .double(part.spearman), "pearson": .double(part.pearson),
             "top_overlap": .double(part.topOverlap), "top_count": .int(part.topCount)]
        })]
    }
}

extension Patching {
    /// Compares attribution patching with true patching, kind by kind.
    ///
    /// With gradients at the clean run the true sweep puts corrupted activations into the clean run (noising); else clean ones into the corrupted
    /// run (denoising).
    /// - Parameters:
    ///   - patches: the sweeps; each needs a run for every cell, so patterns are left out unless named. nil: those that the model has.
    /// - Throws: as `getActPatch` and `attributionPatch`.
    public static func attributionAgreement(_ model: Transformer, _ pair: PromptPair, metric: GradientMetric, gradientAt point: GradientPoint,
                                            patches: [NamedPatch]? = nil, options: PatchingOptions = PatchingOptions()) throws -> AgreementReport {
        let usual: [NamedPatch] = [.residPre, .residMid, .attnOut, .mlpOut, .attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos]
        let known = Set(model.config.hookPoints.map(\.name))
        let patches = patches ?? usual.filter { known.contains(actName($0.activationName, layer: 0)) }
        var activations: [String] = []
        for name in patches.map(\.activationName) where !activations.contains(name) { activations.append(name) }
        let attributions = try attributionPatch(model, pair, metric: metric, activations: activations, gradientAt: point)
        let isNoising = point == .clean
        var run = Transformer.Options(cache: .names(activations), returnType: .none)
        run.attentionMask = pair.attentionMask
        let cache = try model.run(.tokens(isNoising ? pair.corrupted : pair.clean), run).cache
        var patching = options
        patching.attentionMask = pair.attentionMask
        let agreements = try patches.map { patch -> AttributionAgreement in
            guard let own = attributions.first(where: { $0.activationName == patch.activationName }) else {
                throw LensError(.name, "no attribution", at: patch.rawValue)  // unreachable: all were asked for
            }
            let truth = try getActPatch(patch, model, tokens: isNoising ? pair.clean : pair.corrupted, cache: cache,
                                        metrics: [metric.patching(isPerExample: own.isPerExample)], options: patching)[0]
            let effect = try PatchingResult(axisNames: truth.axisNames, indices: truth.indices, values: truth.effect, isPerExample: truth.isPerExample,
                                            baseline: truth.baseline).mean
            let estimate = try own.estimate(of: patch).mean.scaled(by: isNoising ? -1 : 1)
            return AttributionAgreement(patch, effect: effect, estimate: try estimate.reshaped(effect.shape))
        }
        return AgreementReport(gradientAt: point, agreements: agreements)
    }
}

extension NodeAttribution {
    /// The cells of a sweep: of its activation, summed over the axes that the sweep patches whole.
    /// - Throws: `LensError(.usage)` for a sweep of another activation.
    public func estimate(of patch: NamedPatch) throws -> NodeAttribution {
        guard patch.activationName == activationName else {
            throw LensError(.usage, "a sweep of another activation", expected: activationName, found: patch.activationName)
        }
        let kept = Set(patch.axes.map { $0 == .headIndex ? "head" : $0.rawValue })
        return try axisNames.filter { !kept.contains($0) }.reduce(self) { try $0.summed(over: $1) }
    }
}

extension NodeAttribution {
    /// What a sweep would give, at first order: the metric of the run that is patched plus each cell's estimate.
    /// - Parameter isNoising: corrupted into clean, with gradients at the clean run; else clean into corrupted.
    /// - Throws: as `estimate(of:)`.
    public func predicted(_ patch: NamedPatch, isNoising: Bool) throws -> PatchingResult {
        let estimate = try estimate(of: patch), baseline = isNoising ? clean : corrupted, sizes = estimate.values.shape.prefix(estimate.axisNames.count)
        let indices = Patching.product(Array(sizes)).map { index in layers.map { [$0[index[0]]] + index.dropFirst() } ?? index }
        return PatchingResult(axisNames: patch.axes.map(\.rawValue), indices: indices, values: try baseline + estimate.values.scaled(by: isNoising ? -1 : 1),
                              isPerExample: isPerExample, baseline: baseline)
    }
}

extension Statistics {
    /// Pearson's correlation; NaN where one side is constant.
    public static func pearson(_ a: [Double], _ b: [Double]) -> Double {
        guard a.count == b.count, a.count > 1 else { return .nan }
        let meanA = mean(a), meanB = mean(b)
        var product = 0.0, squareA = 0.0, squareB = 0.0
        for (x, y) in zip(a, b) {
            product += (x - meanA) * (y - meanB)
            squareA += (x - meanA) * (x - meanA)
            squareB += (y - meanB) * (y - meanB)
        }
        return product / (squareA * squareB).squareRoot()
    }

    /// Spearman's rank correlation: Pearson's of ranks, equals sharing the mean of theirs.
    public static func spearman(_ a: [Double], _ b: [Double]) -> Double {
        guard a.count == b.count, (a + b).allSatisfy({ !$0.isNaN }) else { return .nan }
        return pearson(ranks(a), ranks(b))
    }

    /// The rank of each value, from 1; equals have the mean of the ranks they take up.
    static func ranks(_ values: [Double]) -> [Double] {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = [Double](repeating: 0, count: values.count), start = 0
        while start < order.count {
            var end = start
            while end + 1 < order.count, values[order[end + 1]] == values[order[start]] { end += 1 }
            for place in start...end { ranks[order[place]] = Double(start + end) / 2 + 1 }
            start = end + 1
        }
        return ranks
    }
}
