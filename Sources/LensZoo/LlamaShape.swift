// What families of LLaMA's shape share: the keys of their `config.json` and their tensors' names. A family's own file says
// its defaults and what it adds or lacks.

import LensFiles
import LensModel
import LensTensor

/// What Hugging Face takes where a `config.json` of a LLaMA-shaped family leaves a key out; nil: it may not.
struct LlamaShape {
    var dModel: Int?
    var width: Int?
    var layers: Int?
    var heads: Int?
    /// nil: as many as heads.
    var kvHeads: Int?
    /// nil: `dModel / heads`.
    var dHead: Int?
    var vocabulary: Int?
    var positions: Int
    var eps: Double
    var epsKey = "rms_norm_eps"
    var activationKey = "hidden_act"
    var activation = "silu"
    var tiesEmbeddings = false
}

extension ConfigReader {
    /// The keys of LLaMA-shaped families: grouped attention with rotary embeddings, gated MLP, RMS norms before each.
    /// - Parameter rotary: reads the rotation of heads of a width, where the family has its own keys for it.
    func llamaShaped(_ shape: LlamaShape, rotary: ((Int) throws -> Rotary)? = nil) throws -> ModelConfig {
        let readRotary = rotary ?? { try self.rotary(dim: $0) }
        let dModel = try int("hidden_size", default: shape.dModel)
        let heads = try int("num_attention_heads", default: shape.heads)
        guard heads > 0 else { throw invalid("num_attention_heads", expected: "at least 1") }
        let dHead = try int("head_dim", default: shape.dHead ?? dModel / heads)
        let mlp = ModelConfig.MLP(width: try int("intermediate_size", default: shape.width),
                                  activation: try activation(shape.activationKey, default: shape.activation), gate: .biasOnEach)
        var config = ModelConfig(nLayers: try int("num_hidden_layers", default: shape.layers), dModel: dModel,
                                 nCtx: try int("max_position_embeddings", default: shape.positions), nHeads: heads, dHead: dHead,
                                 nKeyValueHeads: try keyValueHeads(heads, default: shape.kvHeads),
                                 dVocab: try int("vocab_size", default: shape.vocabulary),
                                 norm: .init(.rms, eps: try double(shape.epsKey, default: shape.eps)), mlp: mlp,
                                 position: .rotary(try readRotary(dHead)), attention: .init(scale: Double(dHead).squareRoot()))
        config.mlp?.hasBiases = try bool("mlp_bias", default: false)
        config.tiesEmbeddings = try bool("tie_word_embeddings", default: shape.tiesEmbeddings)
        return config
    }

    /// `num_key_value_heads`: null, like a family's default of nil, is one for each head. - Returns: nil if that is what it is.
    func keyValueHeads(_ heads: Int, default fallback: Int? = nil) throws -> Int? {
        let count = isNull("num_key_value_heads") ? heads : try int("num_key_value_heads", default: fallback ?? heads)
        return count == heads ? nil : count
    }

    /// The layers that see only the last `size` positions: those `layer_types` calls sliding, or else those `isLocal` says.
    /// - Parameter size: nil where sliding is switched off.
    /// - Throws: `LensError(.config)` for unknown kinds of layer, or sliding ones without a window.
    func slidingWindow(_ size: Int?, layers: Int, isLocal: (Int) -> Bool = { _ in true }) throws -> ModelConfig.Attention.Window? {
        guard let types = try strings("layer_types") else {
            let local = (0..<max(0, min(layers, ModelConfig.mostLayers))).map(isLocal)
            return size.flatMap { local.contains(true) ? .init(size: $0, isLocal: local) : nil }
        }
        guard types.count == layers, types.allSatisfy({ ["sliding_attention", "full_attention"].contains($0) }) else {
            throw invalid("layer_types", expected: "sliding_attention or full_attention for each of \(layers) layers")
        }
        let local = types.map { $0 == "sliding_attention" }
        guard local.contains(true) else { return nil }
        guard let size else { throw invalid("sliding_window", expected: "the window of the sliding layers") }
        return .init(size: size, isLocal: local)
    }

    /// Qwen's spelling: `use_sliding_window` switches it on, for the layers from `max_window_layers` on.
    func qwenWindow(layers: Int) throws -> ModelConfig.Attention.Window? {
        let size = try int("sliding_window", default: 4096), first = try int("max_window_layers", default: 28)
        let isOn = try bool("use_sliding_window", default: false) && !isNull("sliding_window")
        return try slidingWindow(isOn ? size : nil, layers: layers) { $0 >= first }
    }
}

extension WeightRule {
    /// The tensors of LLaMA-shaped families.
    /// - Parameter biases: projections of attention (`q_proj`) that have a bias, in models that have any.
    static func llamaShaped(_ config: ModelConfig, biases: Set<String> = []) -> [WeightRule] {
        llamaEnds(config) + llamaAttention(config, biases: biases) + llamaMLP
    }

    /// Embeddings, norms and output of LLaMA-shaped families.
    static func llamaEnds(_ config: ModelConfig) -> [WeightRule] {
        [.plain("blocks.{i}.ln1.w", from: "layers.{i}.input_layernorm.weight"),
         .plain("blocks.{i}.ln2.w", from: "layers.{i}.post_attention_layernorm.weight"),
         .plain("ln_final.w", from: "norm.weight")]
            + embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings, scale: config.tiedEmbeddingScale)
    }

    /// Norms of queries and keys, `q_norm` and `k_norm` or with another ending.
    /// - Parameter isLayerNorm: they may have biases.
    static func headNorms(_ ending: String = "norm", isLayerNorm: Bool = false) -> [WeightRule] {
        ["q", "k"].flatMap { letter -> [WeightRule] in
            let parameter = "blocks.{i}.attn.\(letter)_norm", source = "layers.{i}.self_attn.\(letter)_\(ending)"
            return isLayerNorm ? layerNorm(parameter, from: source) : [.plain("\(parameter).w", from: "\(source).weight")]
        }
    }

    /// Separate projections of queries, keys and values, and the output's.
    static func llamaAttention(_ config: ModelConfig, biases: Set<String> = [], output: String = "o_proj") -> [WeightRule] {
        let raw = config.nKeyValueHeads == nil ? "" : "_"
        let places = [("q_proj", "W_Q", "b_Q"), ("k_proj", "\(raw)W_K", "\(raw)b_K"), ("v_proj", "\(raw)W_V", "\(raw)b_V"), (output, "W_O", "b_O")]
        return places.flatMap { projection, weight, bias in
            let rule = WeightRule.linear("blocks.{i}.attn.\(weight)", from: "layers.{i}.self_attn.\(projection).weight")
            guard biases.contains(projection) else { return [rule] }
            return [rule, .plain("blocks.{i}.attn.\(bias)", from: "layers.{i}.self_attn.\(projection).bias")]
        }
    }

    /// The gated MLP in three projections.
    static let llamaMLP: [WeightRule] = [("gate_proj", "gate"), ("up_proj", "in"), ("down_proj", "out")].flatMap { projection, name in
        [.linear("blocks.{i}.mlp.W_\(name)", from: "layers.{i}.mlp.\(projection).weight"),
         .plain("blocks.{i}.mlp.b_\(name)", from: "layers.{i}.mlp.\(projection).bias")]
    }

    /// Buffers of rotary embeddings that older checkpoints of LLaMA-shaped families hold.
    static let rotaryBuffers = ["layers.*.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"]
}
