// The residual stream, layer by layer, and the parts it is the sum of.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Which sublayers a decomposition lists.
public enum SublayerMode: String, Sendable, Hashable, CaseIterable { case all, mlp, attn }

extension ActivationCache {
    /// A stack of activations or components, and a label for each along its first axis.
    public typealias Labeled = (stack: Tensor, labels: [String])

    /// The residual stream entering each layer up to `layer`, and after the last: what the model "believes" on its way
    /// (TransformerLens' `accumulated_resid`).
    ///
    /// - Parameters:
    ///   - layer: the last layer; nil, -1 or nLayers: all, and the stream before the unembedding.
    ///   - inclMid: the streams between attention and MLP too (parallel blocks have none).
    ///   - applyLn: up to the unembedding, each state goes through the final norm with its own scale, weight and bias: what
    ///     the logit lens unembeds. Up to an earlier layer, each is divided by that layer's cached scale.
    ///   - mlpInput: what `layer`'s MLP reads too.
    /// - Returns: `[n, *batch, pos, d_model]`; labels `0_pre`, `0_mid`, …, `final_post`.
    /// - Throws: `LensError(.name)` for activations that are not cached.
    public func accumulatedResid(in model: some HasTransformer, layer: Int? = nil, inclMid: Bool = false, applyLn: Bool = false,
                                 posSlice: AxisSlice = .all, mlpInput: Bool = false) throws -> Labeled {
        let model = model.model, layer = try inputLayer(layer, of: model, mlpInput: mlpInput), last = model.config.nLayers
        var labels: [String] = [], states: [Tensor] = []
        for l in 0...layer {
            states.append(try posSlice.apply(stream(l, model), axis: -2))
            labels.append(l == last ? "final_post" : "\(l)_pre")
            // A parallel block's MLP reads what its attention does: there is nothing in between.
            guard l < last, inclMid && l < layer || mlpInput && l == layer && !model.config.parallelAttnMLP else { continue }
            states.append(try posSlice.apply(self["resid_mid", l], axis: -2))
            labels.append("\(l)_mid")
        }
        var stack = try Tensor.stacked(states)
        if applyLn {
            stack = try applyLnToStack(stack, in: model, layer: layer, mlpInput: mlpInput, posSlice: posSlice, hasBatchDim: hasBatchDim,
                                       recomputeLn: layer == last)
        }
        return (stack, labels)
    }

    /// What embeddings and sublayers wrote to the residual stream that enters `layer`; they sum to it
    /// (TransformerLens' `decompose_resid`).
    ///
    /// - Parameters:
    ///   - layer: nil, -1 or nLayers: the stream before the unembedding.
    ///   - mlpInput: the stream that `layer`'s MLP reads.
    ///   - mode: only attention's, or only the MLPs'.
    ///   - applyLn: divided by the cached scale of the norm that reads the stream.
    ///   - inclEmbeds: the embeddings too.
    /// - Returns: `[n, *batch, pos, d_model]`; labels `embed`, `pos_embed`, `0_attn_out`, `0_mlp_out`, ….
    public func decomposeResid(in model: some HasTransformer, layer: Int? = nil, mlpInput: Bool = false, mode: SublayerMode = .all,
                               applyLn: Bool = false, posSlice: AxisSlice = .all, inclEmbeds: Bool = true) throws -> Labeled {
        let model = model.model, layer = try inputLayer(layer, of: model, mlpInput: mlpInput)
        var names: [(name: String, label: String)] = inclEmbeds ? embeddings(model) : []
        let attention = attentionLayers(before: layer, model, mlpInput: mlpInput)
        for l in 0..<max(layer, attention.upperBound) {
            if mode != .mlp, attention.contains(l) { names.append((actName("attn_out", layer: l), "\(l)_attn_out")) }
            if mode != .attn, model.config.mlp != nil, l < layer { names.append((actName("mlp_out", layer: l), "\(l)_mlp_out")) }
        }
        let parts = try names.map { try posSlice.apply(self[$0.name], axis: -2) }
        var stack = try Tensor.stacked(parts, shape: posSlice.apply(stream(layer, model, mlpInput: mlpInput), axis: -2).shape)
        if applyLn { stack = try applyLnToStack(stack, in: model, layer: layer, mlpInput: mlpInput, posSlice: posSlice, hasBatchDim: hasBatchDim) }
        return (stack, names.map(\.label))
    }

    /// Activations that begin the residual stream, and their labels.
    func embeddings(_ model: Transformer) -> [(name: String, label: String)] {
        let points = [(HookSite.embed, "embed"), (HookSite.posEmbed, "pos_embed")]
        return points.filter { model.config.traits.isSuperset(of: $0.0.row.requires) }.map { ($0.0.rawValue, $0.1) }
    }

    /// One activation of each layer before `layer` (nil, -1: of all): `[layer, …]` (TransformerLens' `stack_activation`).
    /// - Parameter type: the sublayer, where the name does not say: `"ln1"`.
    public func stackActivation(_ name: String, layer: Int = -1, type: String? = nil) throws -> Tensor {
        let count = layer == -1 ? nLayers : layer
        guard (0...nLayers).contains(count) else { throw LensError(.usage, "no such layer", expected: "0...\(nLayers), or -1 for all", found: "\(layer)") }
        return try Tensor.stacked((0..<count).map { try self[name, $0, type] })
    }

    /// Treats parts of the residual stream as the input of a norm, and divides them by its cached scale: what each
    /// contributes to what the norm gives (TransformerLens' `apply_ln_to_stack`). The norm's own weight and bias are not
    /// applied: with `fold_ln` they are elsewhere.
    ///
    /// Unlike TransformerLens 3.9, whether parts are centred depends on the norm that reads them: a final RMS norm in a model
    /// of layer norms does not centre.
    /// - Parameters:
    ///   - stack: `[n, *batch, pos, d_model]`, `posSlice` applied already.
    ///   - layer: whose norm; nil, -1 or nLayers: the final one. - mlpInput: ln2 instead of ln1.
    ///   - posSlice: applied to the scale. - batchSlice: applied to the scale and to the stack (if it has a batch axis).
    ///   - recomputeLn: before the unembedding, each part is normalised by itself with weight and bias (the logit lens).
    public func applyLnToStack(_ stack: Tensor, in model: some HasTransformer, layer: Int? = nil, mlpInput: Bool = false,
                               posSlice: AxisSlice = .all, batchSlice: AxisSlice = .all, hasBatchDim: Bool = true,
                               recomputeLn: Bool = false) throws -> Tensor {
        let model = model.model, layer = try inputLayer(layer, of: model, mlpInput: mlpInput), isFinal = layer == model.config.nLayers
        let sliced = hasBatchDim ? try batchSlice.apply(stack, axis: 1) : stack
        guard let norm = isFinal ? model.config.finalNorm : model.config.inputNorm else { return sliced }
        if recomputeLn, isFinal {
            return try LensTensor.norm(norm.kind, sliced, eps: Float(norm.eps), weight: model.normWeight("ln_final.w", norm),
                                       bias: model.normWeight("ln_final.b", norm)).out ?? sliced
        }
        var scale = try posSlice.apply(self[isFinal ? "ln_final.hook_scale" : "blocks.\(layer).ln\(mlpInput ? 2 : 1).hook_scale"], axis: -2)
        if self.hasBatchDim { scale = try batchSlice.apply(scale, axis: 0) }
        return try (norm.kind == .layer ? sliced.centered() : sliced) / scale
    }
}

extension Transformer {
    /// Weight or bias of a norm; nil where it has none.
    func normWeight(_ name: String, _ norm: ModelConfig.Norm) throws -> Tensor? {
        norm.hasWeights && (norm.kind == .layer || name.hasSuffix(".w")) ? try parameters[name] : nil
    }
}
