// refactor_factored_attn_matrices: scores depend on W_Q and W_K only through their product (with the biases as one more row
// of each), and what a head writes on W_V and W_O only through theirs. So W_Q = U√S, W_K = V√S of the first product's
// singular value decomposition, and W_V = US, W_O = Vᵀ of the second's, b_V having been folded into b_O. Columns then come
// by falling singular value; their signs are LAPACK's.
//
// Not exact where something comes between the two factors (a rotation, a norm of queries and keys); not possible where
// heads share keys and values.

import LensTensor

/// Rewrites each head's factors by singular values.
struct RefactorFactoredAttnMatrices: ProcessingStep {
    func obstacle(_ weights: WorkingWeights) throws -> String? {
        let config = weights.config
        if case .rotary = config.position { return "queries and keys are rotated before they meet" }
        if config.attention.clip != nil { return "queries, keys and values are clipped" }
        if config.attention.qkNorm != nil { return "queries and keys are normalised before they meet" }
        if let reason = try FoldValueBiases().obstacle(weights) { return reason }
        if config.kvHeads != config.nHeads { return "heads share keys and values" }
        return nil
    }

    func rewrite(block: String, _ weights: WorkingWeights) throws {
        try FoldValueBiases().rewrite(block: block, weights)
        let config = weights.config, (d, h) = (config.dModel, config.dHead)
        let keyWeight = config.keyName("W", block), keyBias = config.keyName("b", block), valueWeight = config.valueName("W", block)
        let names = (q: "\(block).attn.W_Q", bQ: "\(block).attn.b_Q", o: "\(block).attn.W_O")
        var q = try weights.read(names.q), bQ = try weights.read(names.bQ), k = try weights.read(keyWeight), bK = try weights.read(keyBias)
        var v = try weights.read(valueWeight), o = try weights.read(names.o)
        for head in 0..<config.nHeads {
            let matrix = head * d * h..<(head + 1) * d * h, row = head * h..<(head + 1) * h
            // [d_model + 1, d_head]: the biases are one more row.
            let scores = try FactoredSVD(Array(q.values[matrix] + bQ.values[row]), transposed: Array(k.values[matrix] + bK.values[row]),
                                         rows: d + 1, columns: d + 1, inner: h)
            let root = scores.s.map { $0.squareRoot() }
            let left = scaledColumns(scores.u, by: root), right = scaledColumns(scores.v, by: root)
            q.replace(matrix, with: left[..<(d * h)])
            bQ.replace(row, with: left[(d * h)...])
            k.replace(matrix, with: right[..<(d * h)])
            bK.replace(row, with: right[(d * h)...])
            let output = try FactoredSVD(Array(v.values[matrix]), Array(o.values[matrix]), rows: d, columns: d, inner: h)
            v.replace(matrix, with: scaledColumns(output.u, by: output.s)[...])
            o.replace(matrix, with: transposed(output.v, rows: d, columns: h)[...])
        }
        for (name, tensor) in [(names.q, q), (names.bQ, bQ), (keyWeight, k), (keyBias, bK), (valueWeight, v), (names.o, o)] {
            weights.write(name, tensor)
        }
    }

    /// `[rows, n]` with column j times `factors[j]`.
    private func scaledColumns(_ x: [Double], by factors: [Double]) -> [Double] {
        var x = x
        for index in x.indices { x[index] *= factors[index % factors.count] }
        return x
    }
}
