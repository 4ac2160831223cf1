// TransformerLens' eighteen named sweeps: `get_act_patch_resid_pre` is `Patching.getActPatchResidPre`, with its axes. Each
// takes the run that is patched, the cache patched from, and a metric of one number.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A sweep that has a name.
public enum NamedPatch: String, Sendable, Hashable, CaseIterable {
    case residPre = "resid_pre"
    case residMid = "resid_mid"
    case attnOut = "attn_out"
    case mlpOut = "mlp_out"
    case attnHeadOutByPos = "attn_head_out_by_pos"
    case attnHeadQByPos = "attn_head_q_by_pos"
    case attnHeadKByPos = "attn_head_k_by_pos"
    case attnHeadVByPos = "attn_head_v_by_pos"
    case attnHeadPatternByPos = "attn_head_pattern_by_pos"
    case attnHeadPatternDestSrcPos = "attn_head_pattern_dest_src_pos"
    case attnHeadOutAllPos = "attn_head_out_all_pos"
    case attnHeadQAllPos = "attn_head_q_all_pos"
    case attnHeadKAllPos = "attn_head_k_all_pos"
    case attnHeadVAllPos = "attn_head_v_all_pos"
    case attnHeadPatternAllPos = "attn_head_pattern_all_pos"

    /// The activation patched.
    public var activationName: String {
        switch self {
        case .residPre: "resid_pre"
        case .residMid: "resid_mid"
        case .attnOut: "attn_out"
        case .mlpOut: "mlp_out"
        case .attnHeadOutByPos, .attnHeadOutAllPos: "z"
        case .attnHeadQByPos, .attnHeadQAllPos: "q"
        case .attnHeadKByPos, .attnHeadKAllPos: "k"
        case .attnHeadVByPos, .attnHeadVAllPos: "v"
        case .attnHeadPatternByPos, .attnHeadPatternDestSrcPos, .attnHeadPatternAllPos: "pattern"
        }
    }

    /// The axes of its result.
    public var axes: [PatchAxis] {
        switch self {
        case .residPre, .residMid, .attnOut, .mlpOut: [.layer, .pos]
        case .attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos: [.layer, .pos, .head]
        case .attnHeadPatternByPos: [.layer, .headIndex, .destPos]
        case .attnHeadPatternDestSrcPos: [.layer, .headIndex, .destPos, .srcPos]
        case .attnHeadOutAllPos, .attnHeadQAllPos, .attnHeadKAllPos, .attnHeadVAllPos, .attnHeadPatternAllPos: [.layer, .headIndex]
        }
    }

    /// What a cell changes.
    public var setter: PatchSetter {
        switch self {
        case .residPre, .residMid, .attnOut, .mlpOut: .layerPos
        case .attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos: .layerPosHeadVector
        case .attnHeadPatternByPos: .layerHeadPosPattern
        case .attnHeadPatternDestSrcPos: .layerHeadDestSrcPosPattern
        case .attnHeadOutAllPos, .attnHeadQAllPos, .attnHeadKAllPos, .attnHeadVAllPos: .layerHeadVector
        case .attnHeadPatternAllPos: .layerHeadPattern
        }
    }
}

extension Patching {
    public typealias Metric = (Tensor) throws -> Float

    /// A named sweep with any metrics.
    public static func getActPatch(_ patch: NamedPatch, _ model: Transformer, tokens: IntTensor, cache: ActivationCache,
                                   metrics: [PatchingMetric], options: PatchingOptions = PatchingOptions()) throws -> [PatchingResult] {
        try genericActivationPatch(model, tokens: tokens, cache: cache, metrics: metrics, setter: patch.setter,
                                   activationName: patch.activationName, axes: patch.axes, options: options)
    }

    private static func values(_ patch: NamedPatch, _ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                               _ metric: @escaping Metric) throws -> Tensor {
        try getActPatch(patch, model, tokens: tokens, cache: cache, metrics: [.scalar(metric)])[0].values
    }

    /// The residual stream entering each block: `[n_layers, pos]`.
    public static func getActPatchResidPre(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                           _ metric: @escaping Metric) throws -> Tensor {
        try values(.residPre, model, tokens, cache, metric)
    }

    /// The residual stream between attention and MLP: `[n_layers, pos]`.
    public static func getActPatchResidMid(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                           _ metric: @escaping Metric) throws -> Tensor {
        try values(.residMid, model, tokens, cache, metric)
    }

    /// What each attention layer writes: `[n_layers, pos]`.
    public static func getActPatchAttnOut(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                          _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnOut, model, tokens, cache, metric)
    }

    /// What each MLP writes: `[n_layers, pos]`.
    public static func getActPatchMlpOut(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                         _ metric: @escaping Metric) throws -> Tensor {
        try values(.mlpOut, model, tokens, cache, metric)
    }

    /// Each head's output z: `[n_layers, pos, n_heads]`.
    public static func getActPatchAttnHeadOutByPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                   _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadOutByPos, model, tokens, cache, metric)
    }

    /// Each head's queries: `[n_layers, pos, n_heads]`.
    public static func getActPatchAttnHeadQByPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                 _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadQByPos, model, tokens, cache, metric)
    }

    /// Each head's keys: `[n_layers, pos, n_key_value_heads]`; for each query head, patch `model.ungroupingQueryAttention()`.
    public static func getActPatchAttnHeadKByPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                 _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadKByPos, model, tokens, cache, metric)
    }

    /// Each head's values: `[n_layers, pos, n_key_value_heads]`; for each query head, patch `model.ungroupingQueryAttention()`.
    public static func getActPatchAttnHeadVByPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                 _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadVByPos, model, tokens, cache, metric)
    }

    /// Each head's pattern from one query position: `[n_layers, n_heads, dest_pos]`.
    public static func getActPatchAttnHeadPatternByPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                       _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadPatternByPos, model, tokens, cache, metric)
    }

    /// Each entry of each head's pattern: `[n_layers, n_heads, dest_pos, src_pos]`.
    public static func getActPatchAttnHeadPatternDestSrcPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                            _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadPatternDestSrcPos, model, tokens, cache, metric)
    }

    /// Each head's output, all positions at once: `[n_layers, n_heads]`.
    public static func getActPatchAttnHeadOutAllPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                    _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadOutAllPos, model, tokens, cache, metric)
    }

    /// Each head's queries, all positions at once: `[n_layers, n_heads]`.
    public static func getActPatchAttnHeadQAllPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                  _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadQAllPos, model, tokens, cache, metric)
    }

    /// Each head's keys, all positions at once: `[n_layers, n_key_value_heads]`.
    public static func getActPatchAttnHeadKAllPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                  _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadKAllPos, model, tokens, cache, metric)
    }

    /// Each head's values, all positions at once: `[n_layers, n_key_value_heads]`.
    public static func getActPatchAttnHeadVAllPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                  _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadVAllPos, model, tokens, cache, metric)
    }

    /// Each head's whole pattern: `[n_layers, n_heads]`.
    public static func getActPatchAttnHeadPatternAllPos(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                        _ metric: @escaping Metric) throws -> Tensor {
        try values(.attnHeadPatternAllPos, model, tokens, cache, metric)
    }

    // MARK: Several sweeps at once

    /// Heads' outputs, queries, keys, values and patterns, all positions at once: `[5, n_layers, n_heads]`. Grouped models have
    /// fewer key and value heads: their places beyond are 0, as in TransformerLens.
    public static func getActPatchAttnHeadAllPosEvery(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                      _ metric: @escaping Metric) throws -> Tensor {
        try stacked([.attnHeadOutAllPos, .attnHeadQAllPos, .attnHeadKAllPos, .attnHeadVAllPos, .attnHeadPatternAllPos]
            .map { try widened(values($0, model, tokens, cache, metric), model) })
    }

    /// Heads' outputs, queries, keys, values and patterns (by query position): `[5, n_layers, pos, n_heads]`; zeros as above.
    public static func getActPatchAttnHeadByPosEvery(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                     _ metric: @escaping Metric) throws -> Tensor {
        let vectors = try [NamedPatch.attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos, .attnHeadVByPos]
            .map { try widened(values($0, model, tokens, cache, metric), model) }
        return try stacked(vectors + [values(.attnHeadPatternByPos, model, tokens, cache, metric).permuted(0, 2, 1)])
    }

    /// The stream entering each block, and what attention and MLP write: `[3, n_layers, pos]`.
    public static func getActPatchBlockEvery(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                             _ metric: @escaping Metric) throws -> Tensor {
        try stacked([NamedPatch.residPre, .attnOut, .mlpOut].map { try values($0, model, tokens, cache, metric) })
    }

    /// The last axis, of key-value heads, filled up with zeros to the number of heads.
    private static func widened(_ tensor: Tensor, _ model: Transformer) throws -> Tensor {
        guard let heads = tensor.shape.last, heads < model.config.nHeads else { return tensor }
        var wide = Tensor(zeros: tensor.shape.dropLast() + [model.config.nHeads])
        let before = Array(repeating: TensorIndex.all, count: tensor.rank - 1)
        try wide.assign(tensor, at: before + [.upTo(heads)])
        return wide
    }

    private static func stacked(_ tensors: [Tensor]) throws -> Tensor {
        var stack = Tensor(zeros: [tensors.count] + (tensors.first?.shape ?? []))
        for (index, tensor) in tensors.enumerated() { try stack.set(.at(index), to: tensor) }
        return stack
    }
}
