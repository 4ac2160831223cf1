// Whether heads copy: the eigenvalues of the map from a token that is attended to, through W_E, W_V, W_O and W_U, to logits
// (Elhage et al. 2021). A head that raises the logits of what it attends to has positive ones.

import LensFiles
import LensModel
import LensTensor

extension HasTransformer {
    /// Each head's copying score, Σ Re λ / Σ |λ| over the eigenvalues of its full OV circuit W_E·W_V·W_O·W_U: from -1 to 1,
    /// `[n_layers, n_heads]`; NaN where all are 0.
    ///
    /// Norms are left out but for the weights that stand before W_V and W_U, which count whether folded or not. The d_head
    /// eigenvalues that are not 0 by rank are those of a d_head × d_head product; nothing of d_vocab × d_vocab is made.
    /// - Throws: `LensError(.usage)` for a model whose outputs are not its inputs, `(.machine)` without LAPACK.
    public func copyingScores() throws -> Tensor {
        let model = model, config = model.config
        guard config.dVocab == config.dVocabOut else {
            throw LensError(.usage, "copying needs outputs that are the inputs", expected: "\(config.dVocab)", found: "\(config.dVocabOut)")
        }
        var unembedding = try model.parameters["unembed.W_U"]
        if let norm = config.finalNorm, let weight = try model.normWeight("ln_final.w", norm) { unembedding = try unembedding * weight.reshaped([config.dModel, 1]) }
        // W_U·W_E once, [d_model, d_model]: each head's product is then small.
        let around = try unembedding.matmul(model.parameters["embed.W_E"])
        var scores: [Float] = []
        for layer in 0..<config.nLayers {
            var between = around
            if let norm = config.norm, let weight = try model.normWeight("blocks.\(layer).ln1.w", norm) { between = try around * weight.reshaped([1, config.dModel]) }
            let values = try W_V[layer], outputs = try W_O[layer]
            for head in 0..<config.nHeads {
                // The eigenvalues of (W_U·W_E·W_V)·W_O are those of the whole.
                let eigenvalues = try FactoredMatrix(between.matmul(values.at(.at(head)).contiguous()), outputs.at(.at(head)).contiguous()).eigenvalues
                let real = eigenvalues.real.array.reduce(0.0) { $0 + Double($1) }
                scores.append(Float(real / (try eigenvalues.magnitude.array.reduce(0.0) { $0 + Double($1) })))
            }
        }
        return try Tensor(scores, shape: [config.nLayers, config.nHeads])
    }
}
