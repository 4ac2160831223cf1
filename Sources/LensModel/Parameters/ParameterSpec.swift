// Which parameters a configuration has: TransformerLens' names and shapes, and how each is kept. The one list that
// loading, replacing, saving and counting read.

import LensFiles

/// One parameter: its TransformerLens name and shape, and how it is kept.
public struct ParameterSpec: Sendable, Hashable {
    public let name: String
    /// TransformerLens' shape.
    public let shape: [Int]
    public let kind: Kind
    /// It may be left out of the parameters given; it is then zero (W_E: what W_U ties it to).
    public let isOptional: Bool
    /// Whether a checkpoint that has a place for it must hold it.
    public var isExpected = true

    public enum Kind: Sendable, Hashable {
        /// As it is: biases, norm weights, embedding tables.
        case plain
        /// A matrix `[k, n]` packed for products.
        case matrix
        /// A matrix `[n, k]`, as torch's Linear keeps it, packed as `[k, n]`.
        case linear
        /// `[head, d_model, d_head]`, packed as `[d_model, head × d_head]`.
        case headsOut
        /// `[head, d_head, d_model]`, packed as `[head × d_head, d_model]`.
        case headsIn
    }

    /// Rows and columns of the packed matrix; nil for `plain`.
    public var matrixShape: (rows: Int, columns: Int)? {
        switch kind {
        case .plain: return nil
        case .matrix: return (shape[0], shape[1])
        case .linear: return (shape[1], shape[0])
        case .headsOut: return (shape[1], shape[0] * shape[2])
        case .headsIn: return (shape[0] * shape[1], shape[2])
        }
    }
}

extension ModelConfig {
    /// Every parameter, in TransformerLens' order.
    public var parameterSpecs: [ParameterSpec] {
        func plain(_ name: String, _ shape: [Int]) -> ParameterSpec { ParameterSpec(name: name, shape: shape, kind: .plain, isOptional: false) }
        var specs = [ParameterSpec(name: tokenEmbeddingName, shape: [dVocab, dEmbed ?? dModel], kind: .plain, isOptional: tiesEmbeddings)]
        if let dEmbed { specs.append(ParameterSpec(name: "embed.W_proj", shape: [dEmbed, dModel], kind: .matrix, isOptional: false)) }
        if position == .learned, encoderParts != nil { specs.append(plain("embed.pos_embed.W_pos", [nCtx, dModel])) }
        if let types = encoderParts?.tokenTypes { specs.append(plain("embed.token_type_embed.W_token_type", [types, dModel])) }
        specs += normSpecs("embed.ln", embedNorm)
        if position == .learned || position == .shortformer, encoderParts == nil { specs.append(plain("pos_embed.W_pos", [nCtx, dModel])) }
        if let encoderConfig {
            for layer in 0..<encoderConfig.nLayers { specs += encoderConfig.blockSpecs("encoder.\(layer)", layer) }
            specs += normSpecs("encoder_final_ln", finalNorm)
        }
        for layer in 0..<nLayers { specs += blockSpecs("\(encoder == nil ? "blocks" : "decoder").\(layer)", layer) }
        specs += normSpecs(encoder == nil ? "ln_final" : "decoder_final_ln", finalNorm)
        return specs + headSpecs
    }

    /// What comes after the blocks and their norm.
    private var headSpecs: [ParameterSpec] {
        func layer(_ name: String, _ rows: Int, _ columns: Int) -> [ParameterSpec] {
            [ParameterSpec(name: "\(name).W", shape: [rows, columns], kind: .matrix, isOptional: false),
             ParameterSpec(name: "\(name).b", shape: [columns], kind: .plain, isOptional: false)]
        }
        var specs: [ParameterSpec] = []
        if let head = encoderParts?.mlmHead { specs += layer("mlm_head", dModel, dModel) + normSpecs("mlm_head.ln", head.norm) }
        if let dEmbed { specs.append(ParameterSpec(name: "unembed.W_proj", shape: [dModel, dEmbed], kind: .matrix, isOptional: false)) }
        if unembeds {
            specs.append(ParameterSpec(name: "unembed.W_U", shape: [dEmbed ?? dModel, dVocabOut], kind: .matrix, isOptional: false))
            specs.append(ParameterSpec(name: "unembed.b_U", shape: [dVocabOut], kind: .plain, isOptional: true))
        }
        if encoderParts?.hasPooler == true { specs += layer("pooler", dModel, dModel) }
        if encoderParts?.hasNextSentenceHead == true { specs += layer("nsp_head", dModel, 2) }
        return specs
    }

    private func blockSpecs(_ prefix: String, _ layer: Int) -> [ParameterSpec] {
        func spec(_ name: String, _ shape: [Int], _ kind: ParameterSpec.Kind = .plain) -> ParameterSpec {
            ParameterSpec(name: "\(prefix).\(name)", shape: shape, kind: kind, isOptional: false)
        }
        func bias(_ name: String, _ shape: [Int], _ isExpected: Bool) -> ParameterSpec {
            ParameterSpec(name: "\(prefix).\(name)", shape: shape, kind: .plain, isOptional: true, isExpected: isExpected)
        }
        let raw = nKeyValueHeads == nil ? "" : "_"
        var specs = normSpecs("\(prefix).ln1", norm)
        specs += [
            spec("attn.W_Q", [nHeads, dModel, dHead], .headsOut), spec("attn.\(raw)W_K", [kvHeads, dModel, dHead], .headsOut),
            spec("attn.\(raw)W_V", [kvHeads, dModel, dHead], .headsOut), spec("attn.W_O", [nHeads, dHead, dModel], .headsIn),
            bias("attn.b_Q", [nHeads, dHead], attention.hasBiases), bias("attn.\(raw)b_K", [kvHeads, dHead], attention.hasBiases),
            bias("attn.\(raw)b_V", [kvHeads, dHead], attention.hasBiases), bias("attn.b_O", [dModel], attention.hasBiases),
        ]
        if case .relative(let positions) = position, layer == 0 {
            specs.append(spec("attn.rel_pos_bias.weight", [positions.buckets, nHeads]))
        }
        if encoder != nil {
            specs += normSpecs("\(prefix).ln2", norm)
            specs += ["Q", "K", "V"].map { spec("cross_attn.W_\($0)", [nHeads, dModel, dHead], .headsOut) }
            specs.append(spec("cross_attn.W_O", [nHeads, dHead, dModel], .headsIn))
            specs += ["Q", "K", "V"].map { bias("cross_attn.b_\($0)", [nHeads, dHead], attention.hasBiases) }
            specs.append(bias("cross_attn.b_O", [dModel], attention.hasBiases))
        }
        if attention.hasSinks { specs.append(spec("attn.sinks", [nHeads])) }
        specs += headNormSpecs("\(prefix).attn.q_norm", heads: nHeads) + headNormSpecs("\(prefix).attn.k_norm", heads: kvHeads)
        specs += normSpecs("\(prefix).ln1_post", outputNorm)
        guard let mlp else { return specs }
        specs += normSpecs("\(prefix).\(encoder == nil ? "ln2" : "ln3")", norm) + normSpecs("\(prefix).ln2_post", outputNorm)
        if let experts = experts(in: layer) { return specs + expertSpecs(prefix, experts) }
        specs.append(spec("mlp.W_in", [dModel, mlp.width], .matrix))
        if let gate = mlp.gate {
            specs.append(spec("mlp.W_gate", [dModel, mlp.width], .matrix))
            if gate == .biasOnEach { specs.append(bias("mlp.b_gate", [mlp.width], mlp.hasBiases)) }
        }
        if mlp.activation == .xielu {
            specs += [spec("mlp.act_fn.alpha_p", []), spec("mlp.act_fn.alpha_n", [])] + ["beta", "eps"].map { bias("mlp.act_fn.\($0)", [], true) }
        }
        specs += [bias("mlp.b_in", [mlp.width], mlp.hasBiases), spec("mlp.W_out", [mlp.width, dModel], .matrix),
                  bias("mlp.b_out", [dModel], mlp.hasBiases)]
        return specs + normSpecs("\(prefix).mlp.ln", mlp.norm, shape: [mlp.width])
    }

    private func normSpecs(_ prefix: String, _ norm: Norm?, shape: [Int]? = nil) -> [ParameterSpec] {
        guard let norm, norm.hasWeights else { return [] }
        let shape = shape ?? [dModel]
        let weight = ParameterSpec(name: "\(prefix).w", shape: shape, kind: .plain, isOptional: false)
        if norm.kind == .rms { return [weight] }
        return [weight, ParameterSpec(name: "\(prefix).b", shape: shape, kind: .plain, isOptional: !norm.hasBias, isExpected: norm.hasBias)]
    }

    private func headNormSpecs(_ prefix: String, heads: Int) -> [ParameterSpec] {
        switch attention.qkNormSpan {
        case .head: return normSpecs(prefix, attention.qkNorm, shape: [dHead])
        case .headWithOwnWeights: return normSpecs(prefix, attention.qkNorm, shape: [heads, dHead])
        case .allHeads: return normSpecs(prefix, attention.qkNorm, shape: [heads * dHead])
        }
    }

    /// Sizes a model can have. Products of three and the element count of any file that could hold them fit an Int.
    private static let largestSize = 1 << 30
    /// Layers a model can have: a thousand times what models have, so that a list over them is no burden.
    package static let mostLayers = 1 << 16

    /// Checks that sizes are positive and fit together.
    /// - Throws: `LensError(.config)` naming the first that does not.
    public func validate() throws {
        let sizes = [("n_layers", nLayers, 0), ("d_model", dModel, 1), ("n_ctx", nCtx, 1), ("n_heads", nHeads, 1),
                     ("d_head", dHead, 1), ("n_key_value_heads", kvHeads, 1), ("d_vocab", dVocab, 1),
                     ("d_vocab_out", dVocabOut, 1), ("d_mlp", mlp?.width ?? 1, 1)]
        for (name, size, least) in sizes {
            let most = name == "n_layers" ? Self.mostLayers : Self.largestSize
            guard (least...most).contains(size) else {
                throw LensError(.config, "impossible size", at: name, expected: "\(least)...\(most)", found: "\(size)")
            }
        }
        guard nHeads % kvHeads == 0 else {
            throw LensError(.config, "heads cannot be grouped", at: "n_key_value_heads", expected: "a divisor of \(nHeads) heads",
                            found: "\(kvHeads)")
        }
        guard attention.scale.isFinite, attention.scale != 0 else {
            throw LensError(.config, "impossible attention scale", at: "attn_scale", expected: "a finite number, not 0",
                            found: "\(attention.scale)")
        }
        for norm in [norm, finalNorm, embedNorm, outputNorm, attention.qkNorm, mlp?.norm].compactMap(\.self) where !(norm.eps >= 0 && norm.eps.isFinite) {
            throw LensError(.config, "impossible epsilon", at: "eps", expected: "a finite number, at least 0", found: "\(norm.eps)")
        }
        for rotary in rotaries {
            guard rotary.dim > 0, rotary.dim % 2 == 0, rotary.dim <= dHead, rotary.base > 0, rotary.base.isFinite else {
                throw LensError(.config, "impossible rotary embedding", at: "rotary_dim",
                                expected: "an even number up to d_head \(dHead), base above 0",
                                found: "\(rotary.dim), base \(rotary.base)")
            }
        }
        try validateRotaryScaling()
        try mlp?.validate()
        try validateCaps()
        try validateStacks()
        if let window = attention.window {
            guard window.size > 0, window.size <= Self.largestSize, !window.isLocal.isEmpty else {
                throw LensError(.config, "impossible attention window", at: "window_size", expected: "1...\(Self.largestSize) and which layers it is for",
                                found: "\(window.size) for \(window.isLocal.count) layers")
            }
        }
        if tiesEmbeddings, dVocab != dVocabOut {
            throw LensError(.config, "tied embeddings need equal vocabularies", at: "d_vocab_out", expected: "\(dVocab)",
                            found: "\(dVocabOut)")
        }
    }

    private func validateRotaryScaling() throws {
        for rotary in rotaries where !rotary.isPossible(contexts: nCtx) {
            throw LensError(.config, "impossible rotary scaling", at: "rotary",
                            expected: "factors above 0, one for each frequency where they are listed, frequencies that are finite",
                            found: "\(rotary.scaling), base \(rotary.base)")
        }
    }

    /// The rotations of all layers.
    private var rotaries: [Rotary] {
        guard case .rotary(let rotary) = position else { return [] }
        return [rotary] + (attention.localRotary.map { [$0] } ?? [])
    }

    private func validateCaps() throws {
        for (name, cap) in [("attn_scores_soft_cap", attention.softcap), ("output_logits_soft_cap", outputSoftcap)] {
            guard cap.map({ $0 > 0 && Float($0).isFinite && Float($0) > 0 }) ?? true else {
                throw LensError(.config, "impossible soft cap", at: name, expected: "a finite number above 0", found: "\(cap ?? 0)")
            }
        }
        for (name, factor) in [("embedding_scale", tiedEmbeddingScale), ("residual_scale", residualScale), ("unembed_scale", unembedScale)] {
            guard Float(factor).isFinite, Float(factor) != 0 else {
                throw LensError(.config, "impossible factor", at: name, expected: "a finite number, not 0", found: "\(factor)")
            }
        }
        if let clip = attention.clip, !(clip > 0 && Float(clip).isFinite) {
            throw LensError(.config, "impossible clip", at: "clip_qkv", expected: "a finite number above 0", found: "\(clip)")
        }
        if case .alibi(.mpt(let most)) = position, !(most > 0 && Float(most).isFinite) {
            throw LensError(.config, "impossible biases by distance", at: "alibi_bias_max", expected: "a finite number above 0", found: "\(most)")
        }
        if let start = attention.logScalingFrom, start < 2 {
            throw LensError(.config, "impossible log-n scaling", at: "train_seq_length", expected: "at least 2", found: "\(start)")
        }
        if mlp?.activation == .xielu, mlp?.gate != nil {
            throw LensError(.config, "unsupported activation of a gated MLP", at: "act_fn", expected: "another, or an MLP without gate", found: "xielu")
        }
    }

    /// Refuses a configuration of more layers than a checkpoint could hold, before anything is laid out for each.
    /// - Throws: `LensError(.weights)`.
    package func checkLayers(against tensors: any TensorSource) throws {
        guard nLayers <= tensors.names.count else {
            throw LensError(.weights, "fewer tensors than the configuration has layers", at: tensors.location,
                            expected: "some for each of \(nLayers) layers", found: "\(tensors.names.count)")
        }
    }
}
