// How much each head reads what an earlier head writes, by their weights alone (Elhage et al., "A Mathematical Framework for
// Transformer Circuits"): ‖L·R‖ / (‖L‖·‖R‖), Frobenius norms, L the earlier head's OV.

import LensFiles
import LensModel
import LensTensor

/// Through which of its inputs the later head reads.
public enum CompositionMode: String, Sendable, Hashable, CaseIterable { case Q, K, V }

/// `‖L·R‖ / (‖L‖·‖R‖)` of every left with every right matrix: their leading axes one after the other (TransformerLens'
/// `composition_scores`, broadcast). Computed from the parts that norms notice, d_head × d_head at a time.
/// - Throws: `LensError(.shape)` if they cannot be multiplied; as `svd`.
public func compositionScores(_ left: FactoredMatrix, _ right: FactoredMatrix) throws -> Tensor {
    guard left.rdim == right.ldim else {
        throw LensError(.shape, "matrices that do not compose", expected: "[…, \(left.rdim), r]", found: "\(right.shape)")
    }
    let l = try left.collapseL(), r = try right.collapseR()
    let (rows, columns) = (l.shape[l.rank - 2], r.shape[r.rank - 1]), width = left.rdim
    let leftCount = left.leading.reduce(1, *), rightCount = right.leading.reduce(1, *)
    // All pairs in one product: [left × rows, width] · [width, right × columns].
    let all = try l.reshaped([leftCount * rows, width])
        .matmul(r.reshaped([rightCount, width, columns]).permuted(1, 0, 2).reshaped([width, rightCount * columns]))
    let leftNorms = squares(l, count: leftCount), rightNorms = squares(r, count: rightCount)
    var scores = [Float](repeating: 0, count: leftCount * rightCount)
    try all.withUnsafeElements { all in
        for i in 0..<leftCount {
            for j in 0..<rightCount {
                var sum = 0.0
                for row in i * rows..<(i + 1) * rows {
                    let start = row * rightCount * columns + j * columns
                    for place in start..<start + columns { sum += Double(all[place]) * Double(all[place]) }
                }
                scores[i * rightCount + j] = Float((sum / (leftNorms[i] * rightNorms[j])).squareRoot())
            }
        }
    }
    return try Tensor(scores, shape: left.leading + right.leading)
}

/// The sum of squares of each of `count` equal parts.
private func squares(_ x: Tensor, count: Int) -> [Double] {
    let values = x.array, size = count > 0 ? values.count / count : 0
    return (0..<count).map { part in values[part * size..<(part + 1) * size].reduce(0.0) { $0 + Double($1) * Double($1) } }
}

extension HasTransformer {
    /// Composition scores of all pairs of heads: `[layer, head, later layer, head]`, zero where the second is not later
    /// (TransformerLens' `all_composition_scores`).
    ///
    /// The right matrix is QK for Q, its transpose for K, OV for V. A layer's pairs are made at a time.
    public func allCompositionScores(_ mode: CompositionMode) throws -> Tensor {
        let config = model.config, (layers, heads) = (config.nLayers, config.nHeads)
        var scores = Tensor(zeros: [layers, heads, layers, heads])
        for first in 0..<max(0, layers - 1) {
            let left = try OV[first]
            for second in first + 1..<layers {
                let right: FactoredMatrix
                switch mode {
                case .Q: right = try QK[second]
                case .K: right = try QK[second].T
                case .V: right = try OV[second]
                }
                try scores.set(.at(first), .all, .at(second), to: compositionScores(left, right))
            }
        }
        return scores
    }
}
