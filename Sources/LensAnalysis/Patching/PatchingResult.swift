// What a sweep found: the metric for every cell and for the unpatched run, its effects, and what the examples say about them.

import LensFiles
import LensTensor

/// A sweep's values for one metric.
public struct PatchingResult: Sendable {
    /// The names of the axes of `values`, outermost first; `["cell"]` for a list of indices.
    public let axisNames: [String]
    /// The index of every cell, in the order of `values`.
    public let indices: [[Int]]
    /// The metric for every cell: `[axes…]`, or `[axes…, batch]` for a per-example metric.
    public let values: Tensor
    /// Whether `values` has a batch axis.
    public let isPerExample: Bool
    /// The metric for the unpatched run: `[]`, or `[batch]`.
    public let baseline: Tensor

    public init(axisNames: [String], indices: [[Int]], values: Tensor, isPerExample: Bool, baseline: Tensor) {
        self.axisNames = axisNames
        self.indices = indices
        self.values = values
        self.isPerExample = isPerExample
        self.baseline = baseline
    }

    /// The metric's mean over examples: `[axes…]`.
    public var mean: Tensor { get throws { try reduced(values, Statistics.mean) } }

    /// What patching changed: `values − baseline`.
    public var effect: Tensor { get throws { try values - baseline } }

    /// The standard error of the mean effect over examples: `[axes…]`; NaN where there are no examples to tell.
    public var standardError: Tensor { get throws { try reduced(effect, Statistics.standardError) } }

    /// 0 where the metric is as in the unpatched run, 1 where it is `other` (the metric of the run patched from), so the usual
    /// `(x − corrupted) / (clean − corrupted)`: `[axes…]`, of means.
    /// - Throws: `LensError(.usage)` where the two do not differ.
    public func normalized(to other: Double) throws -> Tensor {
        let base = Statistics.mean(baseline.array.map(Double.init))
        guard other != base, (other - base).isFinite else {
            throw LensError(.usage, "nothing to normalise by", expected: "runs with different metrics", found: "\(base) and \(other)")
        }
        let mean = try mean
        return try Tensor(mean.array.map { Float((Double($0) - base) / (other - base)) }, shape: mean.shape)
    }

    /// The bootstrap interval of each cell's mean effect: two tensors `[axes…]`.
    /// - Throws: `LensError(.usage)` if the metric was not per example.
    public func bootstrapInterval(confidence: Double = 0.95, resamples: Int = 1000, seed: UInt64 = 0) throws -> (low: Tensor, high: Tensor) {
        let intervals = try effectsByCell("a bootstrap interval").map {
            try Statistics.bootstrapInterval($0, confidence: confidence, resamples: resamples, seed: seed)
        }
        return (try Tensor(intervals.map { Float($0.lowerBound) }, shape: cellShape), try Tensor(intervals.map { Float($0.upperBound) }, shape: cellShape))
    }

    /// The sign-flip permutation p-value of each cell's mean effect being 0: `[axes…]`.
    /// - Throws: `LensError(.usage)` if the metric was not per example.
    public func permutationPValue(permutations: Int = 10_000, seed: UInt64 = 0) throws -> Tensor {
        try Tensor(effectsByCell("a permutation test").map {
            Float(try Statistics.signFlipPermutationPValue($0, permutations: permutations, seed: seed))
        }, shape: cellShape)
    }

    private var cellShape: [Int] { isPerExample ? values.shape.dropLast() : values.shape }

    private func effectsByCell(_ what: String) throws -> [[Double]] {
        guard isPerExample else {
            throw LensError(.usage, "\(what) needs examples", expected: "a per-example metric", advice: "PatchingMetric.perExample")
        }
        let effects = try effect.array, batch = values.shape.last ?? 1
        return indices.indices.map { cell in effects[cell * batch..<(cell + 1) * batch].map(Double.init) }
    }

    private func reduced(_ tensor: Tensor, _ body: ([Double]) -> Double) throws -> Tensor {
        let elements = tensor.array, batch = isPerExample ? tensor.shape.last ?? 1 : 1
        return try Tensor(indices.indices.map { Float(body(elements[$0 * batch..<($0 + 1) * batch].map(Double.init))) }, shape: cellShape)
    }
}
