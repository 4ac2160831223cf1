// Directions of the residual stream that a model's weights name: a token's in W_U, the sum of its biases; and its heads' labels.

import LensFiles
import LensModel
import LensTensor

extension Transformer {
    /// The direction of each token's logit: its column of W_U, times what W_U's input is multiplied by (TransformerLens' `tokens_to_residual_directions`). The norm
    /// before W_U is not in it, unless folded.
    /// - Returns: the tokens' shape and `d_model`; of one token, `[d_model]`.
    /// - Throws: `LensError(.usage)` for a token that is no output of the model.
    public func tokensToResidualDirections(_ tokens: IntTensor) throws -> Tensor {
        for token in tokens.array where !(0..<config.dVocabOut).contains(token) {
            throw LensError(.usage, "not an output of this model", expected: "0..<\(config.dVocabOut)", found: "\(token)")
        }
        var rows = try parameters.unembeddingColumns(tokens.array)
        if config.unembedScale != 1 { rows = try rows.scaled(by: Float(config.unembedScale)) }
        return try rows.reshaped((tokens.count == 1 ? [] : tokens.shape) + [config.dModel])
    }

    /// The direction of a token's logit: `[d_model]`.
    public func tokenToResidualDirection(_ token: Int) throws -> Tensor { try tokensToResidualDirections(IntTensor([token], shape: [])) }

    /// The sum of the biases that sublayers add to the residual stream before it enters `layer`: `[d_model]` (TransformerLens'
    /// `accumulated_bias`).
    /// - Parameters:
    ///   - layer: in 0...nLayers. - mlpInput: what enters its MLP: attention's bias too (but for parallel blocks).
    ///   - includeMlpBiases: the MLPs' too.
    /// - Throws: `LensError(.usage)` where a norm comes between biases and the stream: what they add is no constant then.
    public func accumulatedBias(layer: Int, mlpInput: Bool = false, includeMlpBiases: Bool = true) throws -> Tensor {
        guard (0...config.nLayers).contains(layer), !mlpInput || layer < config.nLayers else {
            throw LensError(.usage, "no such layer", expected: mlpInput ? "0..<\(config.nLayers)" : "0...\(config.nLayers)", found: "\(layer)")
        }
        guard config.writingNorms(.attention).isEmpty else {
            throw LensError(.usage, "what the biases add depends on the position: a norm comes after them",
                            advice: "the bias of getFullResidDecomposition is at the norms' cached scales")
        }
        var total = Tensor(zeros: [config.dModel])
        for l in 0..<layer + (mlpInput && !config.parallelAttnMLP ? 1 : 0) { total = try total + parameters["blocks.\(l).attn.b_O"] }
        if includeMlpBiases { for l in 0..<layer where parameters.has("blocks.\(l).mlp.b_out") { total = try total + parameters["blocks.\(l).mlp.b_out"] } }
        return config.residualScale == 1 ? total : try total.scaled(by: Float(config.residualScale))
    }

    /// `L0H0`, `L0H1`, … (TransformerLens' `all_head_labels`).
    public var allHeadLabels: [String] { (0..<config.nLayers).flatMap { layer in (0..<config.nHeads).map { "L\(layer)H\($0)" } } }
}
