// Which heads can read what which heads write, from the weights alone: the overlap of what W_O spans with what another head's
// W_Q, W_K or W_V reads. TransformerLens 3.9's `attention_head_subspace_affinity`.

import LensFiles
import LensModel
import LensTensor

/// Overlaps of every head's output with every head's input.
public struct HeadAffinity: Sendable {
    /// One pair of heads.
    public struct Pair: Sendable, Hashable {
        public let source: HeadIndex, target: HeadIndex
        public let score: Double, normalized: Double
    }

    public let input: HeadInput
    /// `[n_layers, n_heads, n_layers, heads]`, 0 where the target does not come after the source (with `.forward`). Keys and values
    /// have their own number of heads.
    public let scores: Tensor
    /// Over √(rank · rank).
    public let normalized: Tensor
    /// Whether targets in earlier and the same layers count.
    public let isForward: Bool
    /// The ranks measured: `[n_layers][head]`.
    public let sourceRanks: [[Int]], targetRanks: [[Int]]

    /// The pairs of greatest overlap; of equals, the earlier.
    /// - Throws: `LensError(.usage)` for a number below 1.
    public func topPairs(_ count: Int = 20, normalized isNormalized: Bool = false) throws -> [Pair] {
        guard count > 0 else { throw LensError(.usage, "how many pairs", expected: "at least 1", found: "\(count)") }
        let shape = scores.shape, raw = scores.array, shares = normalized.array
        let pairs = raw.indices.compactMap { index -> Pair? in
            let target = index % (shape[2] * shape[3]), source = index / (shape[2] * shape[3])
            let from = HeadIndex(source / shape[1], source % shape[1]), to = HeadIndex(target / shape[3], target % shape[3])
            guard !isForward || from.layer < to.layer else { return nil }
            return Pair(source: from, target: to, score: Double(raw[index]), normalized: Double(shares[index]))
        }
        func value(_ pair: Pair) -> Double { isNormalized ? pair.normalized : pair.score }
        return Array(pairs.enumerated().sorted { (value($0.1), $1.0) > (value($1.1), $0.0) }.prefix(count).map(\.1))
    }
}

extension HasTransformer {
    /// How much what each head writes (the span of W_Oᵀ) overlaps with what each head reads through W_Q, W_K or W_V.
    ///
    /// - Parameters:
    ///   - forward: only from earlier layers to later ones.
    ///   - rank: keep so many leading directions of every head; by default all, and every head must have them.
    /// - Throws: `LensError(.usage)` where a head's rank is smaller, `(.machine)` without LAPACK.
    public func attentionHeadSubspaceAffinity(to input: HeadInput, forward: Bool = true, rank: Int? = nil, relativeTolerance: Double? = nil) throws -> HeadAffinity {
        let config = model.config, layers = config.nLayers, width = config.dHead
        let tolerance = relativeTolerance ?? Double(max(config.dModel, width)) * Double(Float.ulpOfOne)
        func bases(_ stack: LayerStack<Tensor>, _ name: String, isOutput: Bool) throws -> [[SubspaceBasis]] {
            try (0..<layers).map { layer in
                let matrices = try stack[layer]
                return try (0..<matrices.shape[0]).map { head in
                    let one = try matrices.at(.at(head))
                    do {
                        return try SubspaceBasis(of: isOutput ? one.permuted(1, 0).contiguous() : one.contiguous(), rank: rank ?? width, relativeTolerance: tolerance)
                    } catch let error as LensError {
                        throw error.located(in: "\(name) of L\(layer)H\(head)")
                    }
                }
            }
        }
        let sources = try bases(W_O, "W_O", isOutput: true)
        let targets = try bases(input == .q ? W_Q : perGroup(input.weight), input.weight, isOutput: false)
        let heads = config.nHeads, targetHeads = targets.first?.count ?? 0, kept = rank ?? width
        var scores = [Float](repeating: 0, count: layers * heads * layers * targetHeads)
        for (from, source) in sources.joined().enumerated() {
            let transposed = try source.basis.permuted(1, 0).contiguous()
            for (to, target) in targets.joined().enumerated() where !forward || from / heads < to / targetHeads {
                let overlap = try transposed.matmul(target.basis).array.reduce(0.0) { $0 + Double($1) * Double($1) }
                scores[from * layers * targetHeads + to] = Float(min(Double(kept), overlap))
            }
        }
        let tensor = try Tensor(scores, shape: [layers, heads, layers, targetHeads])
        return HeadAffinity(input: input, scores: tensor, normalized: try tensor / Tensor(Float(kept)), isForward: forward,
                            sourceRanks: sources.map { $0.map(\.measuredRank) }, targetRanks: targets.map { $0.map(\.measuredRank) })
    }
}
