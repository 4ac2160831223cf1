// Attention in Double, everything written out: scores, pattern and values of every query and key.
import Foundation

/// The question: shapes as in `lens_attention_args`. Queries are the last positions of `keys`.
public struct ReferenceAttention: Sendable {
    public var batch = 1, heads = 1, kvHeads = 1, headWidth = 1, queries = 1, keys = 1
    public var scale: Float = 1
    public var softcap: Float = 0
    public var alibi: [Float]?
    /// A score for each head that has no value.
    public var sinks: [Float]?
    /// Biases are those of keys, counted from the row's first real token, rounded to bfloat16, and scaled.
    public var roundsALiBi = false
    /// What each head adds at distances -reach ... reach; further ones as the furthest.
    public var relative: [[Float]]?
    public var causal = true
    public var window = 0
    /// Position of each batch row's first real token.
    public var first: [Int] = [0]
    /// [batch, keys], false: masked.
    public var mask: [Bool]?

    public init() {}

    /// Scores and pattern [batch, heads, queries, keys], z [batch, queries, heads, headWidth].
    public struct Result: Sendable {
        public var scores: [Expected] = [], pattern: [Expected] = [], z: [Expected] = []
    }

    public func isVisible(batch b: Int, query i: Int, key j: Int) -> Bool {
        let p = keys - queries + i
        if j < first[b] || (causal && j > p) || (window > 0 && j <= p - window) { return false }
        return mask.map { $0[b * keys + j] } ?? true
    }

    /// q: [batch, queries, heads, headWidth]; k, v: [batch, keys, kvHeads, headWidth].
    public func callAsFunction(q: [Float], k: [Float], v: [Float]) -> Result {
        var result = Result()
        result.z = .init(repeating: Expected(0, within: 0), count: batch * queries * heads * headWidth)
        for b in 0..<batch {
            for h in 0..<heads {
                for i in 0..<queries {
                    let scores = (0..<keys).map { j in
                        isVisible(batch: b, query: i, key: j) ? score(q, k, b, h, i, j) : Expected(-.infinity, within: 0)
                    }
                    let pattern = Self.softmax(scores, sink: sinks.map { Double($0[h]) })
                    result.scores += scores
                    result.pattern += pattern
                    for d in 0..<headWidth {
                        result.z[((b * queries + i) * heads + h) * headWidth + d] = value(pattern, v, b, h, i, d)
                    }
                }
            }
        }
        return result
    }

    private func score(_ q: [Float], _ k: [Float], _ b: Int, _ h: Int, _ i: Int, _ j: Int) -> Expected {
        let query = ((b * queries + i) * heads + h) * headWidth
        let key = ((b * keys + j) * kvHeads + h / (heads / kvHeads)) * headWidth
        var sum = 0.0, magnitude = 0.0
        for d in 0..<headWidth {
            let product = Double(q[query + d]) * Double(k[key + d])
            sum += product
            magnitude += abs(product)
        }
        var value = sum * Double(scale)
        var error = Double(headWidth + 3) * roundoff * magnitude * Double(abs(scale))
        if softcap > 0 {
            value = Double(softcap) * tanh(value / Double(softcap))
            error += 8 * roundoff * sizeOf(value)
        }
        if let alibi {
            let rounded = Double(Self.bfloat16(Self.bfloat16(alibi[h]) * Float(j - first[b]))) * Double(scale)
            let bias = roundsALiBi ? rounded : Double(alibi[h]) * Double(j - (keys - queries + i))
            value += bias
            error += 2 * roundoff * (sizeOf(bias) + sizeOf(value))
        }
        if let table = relative?[h] {
            let reach = (table.count - 1) / 2, distance = j - (keys - queries + i)
            let bias = Double(table[max(-reach, min(reach, distance)) + reach])
            value += bias
            error += roundoff * (sizeOf(bias) + sizeOf(value))
        }
        return Expected(value, within: error.isFinite ? error + 0x1p-149 : 0)
    }

    /// Rounded to the nearest bfloat16, ties to even.
    private static func bfloat16(_ x: Float) -> Float {
        let bits = x.bitPattern
        return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }

    private static func softmax(_ scores: [Expected], sink: Double?) -> [Expected] {
        let hasNaN = scores.contains { $0.value.isNaN }
        var largest = scores.map(\.value).filter { !$0.isNaN }.max() ?? -.infinity
        if largest == -.infinity && !hasNaN { return scores.map { _ in Expected(0, within: 0) } }
        largest = max(largest, sink ?? largest)
        let e = scores.map { exp($0.value - largest) }
        let sum = e.reduce(0, +) + (sink.map { exp($0 - largest) } ?? 0)
        let scoreError = scores.map(\.tolerance).max() ?? 0
        let steps = Double(scores.count) / 16 + 16
        return zip(e, scores).map { (e: Double, s: Expected) -> Expected in
            let relative: Double = 2.2 * scoreError + roundoff * (2 * sizeOf(s.value - largest) + steps)
            return Expected(e / sum, within: sizeOf(e / sum) * relative + 0x1p-149)
        }
    }

    private func value(_ pattern: [Expected], _ v: [Float], _ b: Int, _ h: Int, _ i: Int, _ d: Int) -> Expected {
        var sum = 0.0, error = 0.0
        for j in 0..<keys where isVisible(batch: b, query: i, key: j) {
            let x = Double(v[((b * keys + j) * kvHeads + h / (heads / kvHeads)) * headWidth + d])
            sum += pattern[j].value * x
            error += sizeOf(x) * (pattern[j].tolerance + Double(keys + 2) * roundoff * sizeOf(pattern[j].value))
        }
        return Expected(sum, within: error + 0x1p-149)
    }
}
