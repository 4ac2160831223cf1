// A block that normalises sums: attention, ln1 of residual stream and attention's output, MLP, ln2 of that and the MLP's
// output. BERT's, GPT-1's and OPT-350m's (TransformerLens' BertBlock).

import LensHooks
import LensTensor

extension ForwardPass {
    /// - Returns: `[batch, pos, d_model]`, normalised.
    func postNormBlock(_ layer: Int, _ block: BlockWeights, _ residual: Tensor) throws -> Tensor {
        var stream = try attentionLayer(layer, block, residual)
        try fire(.residMid, layer, &stream)
        // Before the norm, which residual stream and MLP both read: an edit changes both.
        try fire(.mlpIn, layer, &stream)
        stream = try normLayer(config.norm, block.ln1, stream, .ln1Scale, .ln1Normalized, layer)
        if let mlp = block.mlp { stream = try mlpLayer(layer, mlp, block, input: stream, residual: stream) }
        try fire(.residPost, layer, &stream)
        stream = try normLayer(config.norm, block.ln2, stream, .ln2Scale, .ln2Normalized, layer)
        try fire(.normalizedResidPost, layer, &stream)
        return stream
    }
}
