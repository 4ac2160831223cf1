// Attention patterns in a few numbers for each head: how spread they are, how far they look, how much falls on the token
// itself, the one before it, and the first.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Statistics of each head's attention pattern, means over rows of the batch and queries: each tensor `[layer, head]`.
public struct PatternStatistics: AnalysisResult {
    /// −Σ p·log p over the keys, in nats.
    public let entropy: Tensor
    /// Entropy over the most it could be, log of the number of keys with any weight; queries with one key left out.
    public let relativeEntropy: Tensor
    /// On the query's own position.
    public let diagonal: Tensor
    /// On the position before it; a row's first query left out.
    public let previousToken: Tensor
    /// On the row's first position; a row's first query left out.
    public let firstToken: Tensor
    /// Σ p·|query − key|, in positions.
    public let distance: Tensor
    /// The largest weight.
    public let largest: Tensor

    public var tensors: [LabelledTensor] {
        let layers = (0..<entropy.shape[0]).map { "L\($0)" }, heads = (0..<entropy.shape[1]).map { "H\($0)" }
        return [("entropy", entropy), ("relative_entropy", relativeEntropy), ("diagonal", diagonal), ("previous_token", previousToken),
                ("first_token", firstToken), ("distance", distance), ("largest", largest)].map { LabelledTensor($0, $1, layers, heads) }
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        var fields = JSONObject()
        for labelled in tensors { fields[labelled.name] = try labelled.tensor.json }
        return .object(fields)
    }
}

extension ActivationCache {
    /// Statistics of every layer's pattern.
    /// - Parameter attentionMask: 0 where a position is padding, `[batch, pos]`: such queries do not count, and a row begins with its
    ///   first real token.
    /// - Throws: `LensError(.name)` if `pattern` is not cached for every layer, `(.shape)` for a mask that does not fit or patterns of only
    ///   some positions.
    public func patternStatistics(attentionMask: IntTensor? = nil) throws -> PatternStatistics {
        var sums: [PatternSums] = []
        var heads = 0
        for layer in 0..<nLayers {
            var pattern = try self["pattern", layer]
            if !hasBatchDim { pattern = try pattern.reshaped([1] + pattern.shape) }
            guard pattern.rank == 4, pattern.shape[2] == pattern.shape[3] else {
                throw LensError(.shape, "patterns of some positions only", at: "layer \(layer)", expected: "as many queries as keys", found: "\(pattern.shape)")
            }
            guard attentionMask.map({ $0.shape == [pattern.shape[0], pattern.shape[2]] }) ?? true else {
                throw LensError(.shape, "attention mask", expected: "[\(pattern.shape[0]), \(pattern.shape[2])]", found: "\(attentionMask?.shape ?? [])")
            }
            heads = pattern.shape[1]
            for head in 0..<heads { sums.append(try PatternSums(pattern.at(.all, .at(head)), attentionMask)) }
        }
        let shape = [nLayers, heads]
        func mean(_ value: (PatternSums) -> (sum: Double, count: Int)) throws -> Tensor {
            try Tensor(sums.map { let part = value($0); return Float(part.sum / Double(part.count)) }, shape: shape)
        }
        return PatternStatistics(entropy: try mean(\.entropy), relativeEntropy: try mean(\.relative), diagonal: try mean(\.diagonal),
                                 previousToken: try mean(\.previous), firstToken: try mean(\.first), distance: try mean(\.distance),
                                 largest: try mean(\.largest))
    }
}

/// Sums over one head's queries, and how many there were of each.
private struct PatternSums {
    typealias Sum = (sum: Double, count: Int)
    var entropy: Sum = (0, 0), relative: Sum = (0, 0), diagonal: Sum = (0, 0), previous: Sum = (0, 0)
    var first: Sum = (0, 0), distance: Sum = (0, 0), largest: Sum = (0, 0)

    /// - Parameter pattern: `[batch, query, key]`.
    init(_ pattern: Tensor, _ mask: IntTensor?) throws {
        let batch = pattern.shape[0], size = pattern.shape[1]
        try pattern.withUnsafeElements { elements in
            for row in 0..<batch {
                let real = mask.map { $0.row(row) } ?? Array(repeating: 1, count: size)
                guard let start = real.firstIndex(of: 1) else { continue }
                for query in start..<size where real[query] == 1 {
                    let keys = UnsafeBufferPointer(rebasing: elements[(row * size + query) * size..<(row * size + query + 1) * size])
                    add(keys, query: query, start: start)
                }
            }
        }
    }

    private mutating func add(_ p: UnsafeBufferPointer<Float>, query: Int, start: Int) {
        var spread = 0.0, far = 0.0, most: Float = 0, keys = 0
        for key in p.indices where p[key] > 0 {
            spread -= Double(p[key]) * logarithm(Double(p[key]))
            far += Double(p[key]) * Double(abs(query - key))
            most = max(most, p[key])
            keys += 1
        }
        Self.add(spread, to: &entropy)
        if keys > 1 { Self.add(spread / logarithm(Double(keys)), to: &relative) }
        Self.add(Double(p[query]), to: &diagonal)
        if query > start {
            Self.add(Double(p[query - 1]), to: &previous)
            Self.add(Double(p[start]), to: &first)
        }
        Self.add(far, to: &distance)
        Self.add(Double(most), to: &largest)
    }

    private static func add(_ value: Double, to sum: inout Sum) {
        sum.sum += value
        sum.count += 1
    }
}
