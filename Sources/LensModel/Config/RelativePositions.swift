// T5's relative positions: distances between key and query fall into buckets, exact near by and ever wider further off, and
// each head adds its number for the bucket to the score.

import LensFiles
import LensTensor
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Relative position buckets (Raffel et al., 2020; Hugging Face's `T5Attention._relative_position_bucket`).
public struct RelativePositions: Sendable, Hashable {
    public var buckets: Int
    /// Distances from here on share a bucket.
    public var maxDistance: Int

    public init(buckets: Int = 32, maxDistance: Int = 128) {
        self.buckets = buckets
        self.maxDistance = maxDistance
    }

    /// The bucket of `distance`, key position - query position. A bidirectional stack has half of its buckets for keys after
    /// the query; in a causal one they share bucket 0, and are masked.
    public func bucket(_ distance: Int, bidirectional: Bool) -> Int {
        let count = bidirectional ? buckets / 2 : buckets, exact = count / 2
        let offset = bidirectional && distance > 0 ? count : 0
        let far = bidirectional ? abs(distance) : max(0, -distance)
        guard far >= exact, exact > 0 else { return offset + min(far, count - 1) }
        // In single precision and this order, as the models were trained: it decides on which side of an edge a distance falls.
        let ratio = logf(Float(far) / Float(exact)) / Float(log(Double(maxDistance) / Double(exact)))
        return offset + min(count - 1, exact + Int(ratio * Float(count - exact)))
    }

    /// What each head adds to a score at each distance.
    /// - Parameter weight: `[buckets, head]`
    func bias(_ weight: Tensor, bidirectional: Bool) throws -> RelativeBias {
        guard weight.rank == 2, weight.shape[0] == buckets else {
            throw LensError(.shape, "relative position bias", expected: "[\(buckets), head]", found: "\(weight.shape)")
        }
        let reach = maxDistance, heads = weight.shape[1], width = 2 * reach + 1
        var values = [Float](repeating: 0, count: heads * width)
        let table = weight.array
        for place in 0..<width {
            let bucket = bucket(place - reach, bidirectional: bidirectional)
            for head in 0..<heads { values[head * width + place] = table[bucket * heads + head] }
        }
        var bias = try RelativeBias(heads: heads, reach: reach, values: values)
        bias.graph = weight.graph.map { table in
            let buckets = buckets, places = (0..<width).map { bucket($0 - reach, bidirectional: bidirectional) }
            return GraphValue(GraphNode("relative bias", inputs: [table], outputShapes: [[heads, width]]) { request in
                var sums = [Float](repeating: 0, count: buckets * heads)
                for (index, gradient) in try request.first().array.enumerated() { sums[places[index % width] * heads + index / width] += gradient }
                return [try Tensor(sums, shape: [buckets, heads])]
            })
        }
        return bias
    }

    /// Distances a table can reach: it is written out for each.
    private static let furthest = 1 << 16

    /// - Throws: `LensError(.config)` for buckets that do not divide a distance.
    func validate(bidirectional: Bool) throws {
        let exact = (bidirectional ? buckets / 2 : buckets) / 2
        guard buckets > 1, buckets <= 1 << 16, exact > 0, maxDistance > exact, maxDistance <= Self.furthest else {
            throw LensError(.config, "impossible relative positions", at: "relative_attention_num_buckets",
                            expected: "at least \(bidirectional ? 4 : 2) buckets and a largest distance above a quarter of them, up to \(Self.furthest)",
                            found: "\(buckets) buckets, distance \(maxDistance)")
        }
    }
}
