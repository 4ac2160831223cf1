// What a few examples say about a mean: standard error, a bootstrap interval, and a sign-flip permutation p-value. Seeds make
// them the same every time.

import LensFiles
import LensModel

/// Statistics of a mean over examples.
public enum Statistics {
    /// The mean; NaN of nothing.
    public static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

    /// The standard error of the mean, from the sample's deviation (n − 1); NaN of fewer than two.
    public static func standardError(_ values: [Double]) -> Double {
        guard values.count > 1 else { return .nan }
        let mean = mean(values), squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Double(values.count - 1) / Double(values.count)).squareRoot()
    }

    /// The percentile bootstrap interval of the mean (Efron, 1979): examples are drawn anew with replacement, and the interval
    /// holds the middle `confidence` of the means, by linear interpolation between them.
    /// - Throws: `LensError(.usage)` without values or resamples, or a confidence outside 0..<1.
    public static func bootstrapInterval(_ values: [Double], confidence: Double = 0.95, resamples: Int = 1000,
                                         seed: UInt64 = 0) throws -> ClosedRange<Double> {
        guard !values.isEmpty, resamples > 0, confidence > 0, confidence < 1 else {
            throw LensError(.usage, "no bootstrap interval", expected: "values, resamples and a confidence between 0 and 1",
                            found: "\(values.count) values, \(resamples) resamples, confidence \(confidence)")
        }
        guard values.allSatisfy(\.isFinite) else { throw LensError(.usage, "no bootstrap interval", expected: "finite values") }
        var random = SplitMix64(state: seed)
        let means = (0..<resamples).map { _ in
            (0..<values.count).reduce(0.0) { total, _ in total + values[Int.random(in: 0..<values.count, using: &random)] } / Double(values.count)
        }.sorted()
        let low = quantile(means, (1 - confidence) / 2), high = quantile(means, (1 + confidence) / 2)
        return low...max(low, high)
    }

    /// The quantile of sorted values, by linear interpolation (numpy's default).
    package static func quantile(_ sorted: [Double], _ share: Double) -> Double {
        let place = share * Double(sorted.count - 1), below = Int(place)
        guard below + 1 < sorted.count else { return sorted[sorted.count - 1] }
        return sorted[below] + (place - Double(below)) * (sorted[below + 1] - sorted[below])
    }

    /// How many examples have all their sign patterns counted rather than drawn.
    static let exactCount = 12

    /// The two-sided p-value of "the mean is 0": how often flipping the examples' signs gives a mean at least as far from 0.
    ///
    /// Up to twelve examples all sign patterns are counted; beyond, `permutations` are drawn, and the observed one counts among
    /// them, so that it is never 0 (Phipson & Smyth, 2010).
    /// - Throws: `LensError(.usage)` without values or permutations.
    public static func signFlipPermutationPValue(_ values: [Double], permutations: Int = 10_000, seed: UInt64 = 0) throws -> Double {
        guard !values.isEmpty, permutations > 0, values.allSatisfy(\.isFinite) else {
            throw LensError(.usage, "no permutation test", expected: "finite values and permutations",
                            found: "\(values.count) values, \(permutations) permutations")
        }
        let observed = abs(values.reduce(0, +)), reach = values.reduce(0) { $0 + abs($1) }
        // Sums of the same numbers in another order differ in their last bits.
        let least = observed - 1e-12 * reach
        if values.count <= exactCount {
            let patterns = 1 << values.count
            let extreme = (0..<patterns).count { pattern in
                abs(values.indices.reduce(0.0) { $0 + (pattern >> $1 & 1 == 0 ? values[$1] : -values[$1]) }) >= least
            }
            return Double(extreme) / Double(patterns)
        }
        var random = SplitMix64(state: seed)
        let extreme = (0..<permutations).count { _ in
            abs(values.reduce(0.0) { total, value in total + (Bool.random(using: &random) ? value : -value) }) >= least
        }
        return Double(extreme + 1) / Double(permutations + 1)
    }
}
