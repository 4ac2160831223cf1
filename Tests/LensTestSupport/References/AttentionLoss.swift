// A number made of attention's outputs, in Double throughout, and its derivatives by central differences.
import Foundation

/// Σ weights · outputs of attention, as a function of everything attention reads.
public struct AttentionLoss: Sendable {
    /// Shapes, masks and biases; its own sinks and relative biases are not looked at.
    public var shape: ReferenceAttention
    public var q: [Double], k: [Double], v: [Double]
    public var sinks: [Double] = []
    /// `[heads, 2 · reach + 1]`
    public var relative: [Double] = []
    /// Where attention starts from these: `[batch, heads, queries, keys]`.
    public var scores: [Double] = [], pattern: [Double] = []
    /// Of the outputs; empty: zero.
    public var zWeights: [Double] = [], patternWeights: [Double] = [], scoreWeights: [Double] = []

    public init(_ shape: ReferenceAttention, q: [Float], k: [Float], v: [Float]) {
        self.shape = shape
        (self.q, self.k, self.v) = (q.map(Double.init), k.map(Double.init), v.map(Double.init))
        sinks = shape.sinks?.map(Double.init) ?? []
        relative = shape.relative?.joined().map(Double.init) ?? []
    }

    /// The derivative with respect to one element.
    public func derivative(_ path: WritableKeyPath<AttentionLoss, [Double]>, _ index: Int) -> Double {
        let step = 1e-5
        var up = self, down = self
        up[keyPath: path][index] += step
        down[keyPath: path][index] -= step
        return (up.value - down.value) / (2 * step)
    }

    public var value: Double {
        var total = 0.0
        for b in 0..<shape.batch {
            for h in 0..<shape.heads {
                for i in 0..<shape.queries { total += row(b, h, i) }
            }
        }
        return total
    }

    private func row(_ b: Int, _ h: Int, _ i: Int) -> Double {
        let s = shape, at = ((b * s.heads + h) * s.queries + i) * s.keys, group = s.heads / s.kvHeads
        var total = 0.0, weights = [Double](repeating: 0, count: s.keys)
        if !pattern.isEmpty {
            for j in 0..<s.keys { weights[j] = pattern[at + j] }
        } else {
            var found = [Double](repeating: -.infinity, count: s.keys)
            for j in 0..<s.keys {
                found[j] = !scores.isEmpty ? scores[at + j] : s.isVisible(batch: b, query: i, key: j) ? score(b, h, i, j) : -.infinity
                if !scoreWeights.isEmpty, found[j] > -.infinity { total += scoreWeights[at + j] * found[j] }
            }
            let visible = found.filter { $0 > -.infinity }
            guard var largest = visible.max() else { return total }
            if !sinks.isEmpty { largest = max(largest, sinks[h]) }
            var sum = sinks.isEmpty ? 0 : exp(sinks[h] - largest)
            for j in 0..<s.keys { sum += exp(found[j] - largest) }
            for j in 0..<s.keys { weights[j] = exp(found[j] - largest) / sum }
        }
        if !patternWeights.isEmpty { for j in 0..<s.keys { total += patternWeights[at + j] * weights[j] } }
        guard !zWeights.isEmpty else { return total }
        for j in 0..<s.keys where weights[j] != 0 {
            let value = ((b * s.keys + j) * s.kvHeads + h / group) * s.headWidth, z = ((b * s.queries + i) * s.heads + h) * s.headWidth
            for d in 0..<s.headWidth { total += weights[j] * v[value + d] * zWeights[z + d] }
        }
        return total
    }

    private func score(_ b: Int, _ h: Int, _ i: Int, _ j: Int) -> Double {
        let s = shape, query = ((b * s.queries + i) * s.heads + h) * s.headWidth, distance = j - (s.keys - s.queries + i)
        let key = ((b * s.keys + j) * s.kvHeads + h / (s.heads / s.kvHeads)) * s.headWidth
        var sum = 0.0
        for d in 0..<s.headWidth { sum += q[query + d] * k[key + d] }
        sum *= Double(s.scale)
        if s.softcap > 0 { sum = Double(s.softcap) * tanh(sum / Double(s.softcap)) }
        if let alibi = s.alibi { sum += Double(alibi[h]) * Double(distance) }
        guard !relative.isEmpty else { return sum }
        let width = relative.count / s.heads, reach = (width - 1) / 2
        return sum + relative[h * width + max(-reach, min(reach, distance)) + reach]
    }
}
