// The residual stream as the sum of every head, neuron, embedding and bias; and what parts of it say about tokens.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension ActivationCache {
    /// The residual stream that enters `layer` as a sum of its smallest parts (TransformerLens'
    /// `get_full_resid_decomposition`): heads, neurons (or whole MLPs), `embed`, `pos_embed`, and `bias`, what all biases
    /// added (experts stay whole). They sum to the stream exactly; where norms come between sublayers and the stream, at their cached scales.
    ///
    /// Unlike TransformerLens 3.9: what an MLP reads, with applyLn and a projection, has its neurons divided by ln2's scale,
    /// not ln1's; and of a parallel block it does not hold the layer's own attention.
    /// - Parameters:
    ///   - layer: nil, -1 or nLayers: the stream before the unembedding. - mlpInput: what `layer`'s MLP reads.
    ///   - expandNeurons: whether MLPs are taken apart into neurons.
    ///   - applyLn: divided by the cached scale of the norm that reads the stream.
    ///   - projectOutputOnto: directions `[d_model]` or `[d_model, n]` to project onto (after `applyLn`).
    /// - Returns: `[n, *batch, pos, d_model]` (the last axis `n`, or gone, with a projection), and labels in this order.
    public func getFullResidDecomposition(in model: some HasTransformer, layer: Int? = nil, mlpInput: Bool = false, expandNeurons: Bool = true,
                                          applyLn: Bool = false, posSlice: AxisSlice = .all, projectOutputOnto: Tensor? = nil) throws -> Labeled {
        let model = model.model, layer = try inputLayer(layer, of: model, mlpInput: mlpInput)
        let directions = try asColumns(projectOutputOnto, model), reader = applyLn ? Reader(layer: layer, mlpInput: mlpInput) : nil
        let attention = attentionLayers(before: layer, model, mlpInput: mlpInput)
        func finished(_ stack: Tensor) throws -> Tensor { try projected(stack, model, directions, reader, posSlice) }
        let heads = try headStack(attention, model, posSlice: posSlice)
        var parts = [try finished(heads.stack)], labels = heads.labels
        if model.config.mlp != nil, layer > 0 {
            let mlps = expandNeurons ? try neuronStack(layer, model, posSlice: posSlice, directions: directions, reader: reader)
                : try decomposeResid(in: model, layer: layer, mode: .mlp, posSlice: posSlice, inclEmbeds: false)
            parts.append(expandNeurons ? mlps.stack : try finished(mlps.stack))
            labels += mlps.labels
            // Experts stay whole: which neurons a token has is its own affair.
            for l in 0..<layer where expandNeurons && !model.hasNeurons(l) {
                parts.append(try finished(Tensor.stacked([posSlice.apply(self["mlp_out", l], axis: -2)])))
                labels.append("\(l)_mlp_out")
            }
        }
        for (name, label) in embeddings(model) {
            parts.append(try finished(Tensor.stacked([posSlice.apply(self[name], axis: -2)])))
            labels.append(label)
        }
        // MLPs that are not taken apart hold their biases.
        let bias = try biasStream(attention: attention, mlps: expandNeurons ? 0..<layer : 0..<0, model,
                                  like: Array(heads.stack.shape.dropFirst()), posSlice: posSlice)
        parts.append(try finished(Tensor.stacked([bias])))
        labels.append("bias")
        let stack = try Tensor.concatenated(parts)
        return (projectOutputOnto?.rank == 1 ? try stack.reshaped(Array(stack.shape.dropLast())) : stack, labels)
    }

    /// How much each part of a stack adds to the logit of a token (TransformerLens' `logit_attrs`): the part, divided by the
    /// final norm's cached scale, times the token's direction. b_U is nobody's part, and is not in it.
    ///
    /// - Parameters:
    ///   - stack: `[n, *batch, pos, d_model]`, positions and rows sliced already by `posSlice` (`batchSlice` slices the stack).
    ///   - tokens: one for all (shape `[]` or `[1]`), one for each row `[batch]`, or for each position `[batch, pos]`. (One for each
    ///     row counts for all of its positions; TransformerLens 3.9 takes it for positions.)
    ///   - incorrectTokens: the difference to these tokens' logits instead; of `tokens`' shape.
    /// - Returns: `[n, *batch, pos]`.
    /// - Throws: `LensError(.shape)` for tokens that do not fit each other or the stack, `(.usage)` for no token of the model.
    public func logitAttrs(_ stack: Tensor, in model: some HasTransformer, tokens: IntTensor, incorrectTokens: IntTensor? = nil,
                           posSlice: AxisSlice = .all, batchSlice: AxisSlice = .all, hasBatchDim: Bool = true) throws -> Tensor {
        let model = model.model
        if let incorrectTokens, incorrectTokens.shape != tokens.shape {
            throw LensError(.shape, "tokens and incorrectTokens must have the same shape", expected: "\(tokens.shape)", found: "\(incorrectTokens.shape)")
        }
        var directions = try model.tokensToResidualDirections(tokens)
        if let incorrectTokens { directions = try directions - model.tokensToResidualDirections(incorrectTokens) }
        let scaled = try applyLnToStack(stack, in: model, posSlice: posSlice, batchSlice: batchSlice, hasBatchDim: hasBatchDim)
        // One token for each row: the same for all positions.
        let rows = Array(scaled.shape.dropFirst())
        if tokens.rank == 1, tokens.count > 1, hasBatchDim, !batchSlice.dropsAxis, rows.count == 3 {
            directions = try directions.reshaped([tokens.count, 1, model.config.dModel])
        }
        guard (try? Layout.broadcastShape(rows, directions.shape)) == rows else {
            throw LensError(.shape, "tokens do not fit the stack", expected: "one, or one for each of \(rows.dropLast())", found: "\(tokens.shape)")
        }
        return try (scaled * directions).summed(axis: -1)
    }

    /// The same, for one token.
    public func logitAttrs(_ stack: Tensor, in model: some HasTransformer, token: Int, incorrectToken: Int? = nil, posSlice: AxisSlice = .all,
                           batchSlice: AxisSlice = .all, hasBatchDim: Bool = true) throws -> Tensor {
        try logitAttrs(stack, in: model, tokens: IntTensor([token], shape: []), incorrectTokens: incorrectToken.map { try IntTensor([$0], shape: []) },
                       posSlice: posSlice, batchSlice: batchSlice, hasBatchDim: hasBatchDim)
    }
}
