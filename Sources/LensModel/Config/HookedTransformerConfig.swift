// TransformerLens' own configuration: its field names, defaults and derived values, read into a ModelConfig and written
// back. It refuses mechanisms that are not built, by name.

import LensFiles
import LensTensor

/// TransformerLens' name for the configuration of a model.
public typealias HookedTransformerConfig = ModelConfig

extension ModelConfig {
    /// A model of one's own, with TransformerLens' defaults.
    ///
    /// - Parameters:
    ///   - nHeads: `dModel / dHead` by default.
    ///   - dMlp: `4 * dModel` by default.
    ///   - actFn: nil makes an attention-only model.
    ///   - normalizationType: `"LN"`, `"LNPre"`, `"RMS"`, `"RMSPre"`, or nil for none.
    /// - Throws: `LensError(.config)` for an unknown normalisation or sizes that do not fit.
    public init(nLayers: Int, dModel: Int, nCtx: Int, dHead: Int, nHeads: Int? = nil, dMlp: Int? = nil, actFn: Activation?,
                dVocab: Int, dVocabOut: Int? = nil, normalizationType: String? = "LN", eps: Double = 1e-5,
                position: Position = .learned, gatedMLP: Bool = false, nKeyValueHeads: Int? = nil,
                attentionDir: Attention.Direction = .causal) throws {
        let norm = try normalizationType.map { try Norm(name: $0, eps: eps) }
        let mlp = actFn.map { MLP(width: dMlp ?? 4 &* dModel, activation: $0, gate: gatedMLP ? .biasAfter : nil) }
        var attention = Attention(scale: Double(dHead).squareRoot())
        attention.direction = attentionDir
        self.init(nLayers: nLayers, dModel: dModel, nCtx: nCtx, nHeads: nHeads ?? dModel / max(1, dHead), dHead: dHead,
                  nKeyValueHeads: nKeyValueHeads, dVocab: dVocab, dVocabOut: dVocabOut, norm: norm, mlp: mlp, position: position,
                  attention: attention)
        try validate()
    }

    /// Reads `HookedTransformerConfig.to_dict()` as JSON.
    /// - Throws: `LensError(.config)` for a missing, unknown or unsupported field.
    public init(hookedTransformerConfig json: JSON, at location: String = "HookedTransformerConfig") throws {
        let reader = try ConfigReader(json, at: location)
        let dModel = try reader.int("d_model"), dHead = try reader.int("d_head")
        let heads = try reader.optionalSize("n_heads") ?? dModel / max(1, dHead)
        let eps = try reader.double("eps", default: 1e-5)
        let norm: Norm? = reader.isNull("normalization_type") ? nil : try Norm(name: reader.string("normalization_type", default: "LN"), eps: eps)
        guard let dVocab = try reader.optionalSize("d_vocab") else { throw reader.invalid("d_vocab", expected: "a vocabulary size") }
        self.init(nLayers: try reader.int("n_layers"), dModel: dModel, nCtx: try reader.int("n_ctx"), nHeads: heads, dHead: dHead,
                  nKeyValueHeads: try reader.optionalSize("n_key_value_heads"), dVocab: dVocab,
                  dVocabOut: try reader.optionalSize("d_vocab_out"), norm: norm, mlp: try Self.mlp(reader, dModel, norm, eps),
                  position: try Self.position(reader, dHead: dHead), attention: try Self.attention(reader, dHead: dHead))
        if try reader.bool("post_embedding_ln", default: false) { embedNorm = Norm(.layer, eps: eps) }
        if try reader.bool("use_normalization_before_and_after", default: false) {
            // These stay whole when the others are folded.
            outputNorm = norm.map { Norm($0.kind, eps: $0.eps) }
        }
        outputSoftcap = try reader.optionalCap("output_logits_soft_cap")
        self.attention.softcap = try reader.optionalCap("attn_scores_soft_cap")
        try readRotaryOfLayers(reader)
        try readNorms(reader, eps: eps)
        for (key, path) in [("residual_scale", \ModelConfig.residualScale), ("unembed_scale", \ModelConfig.unembedScale)] {
            self[keyPath: path] = try reader.double(key, default: 1)
        }
        if try reader.bool("final_rms", default: false), let norm { finalNorm = Norm(.rms, eps: eps, hasWeights: norm.hasWeights) }
        parallelAttnMLP = try reader.bool("parallel_attn_mlp", default: false) && mlp != nil
        modelName = try reader.string("model_name", default: "custom")
        tokenizerName = try reader.isNull("tokenizer_name") || !reader.has("tokenizer_name") ? nil : reader.string("tokenizer_name", default: "")
        defaultPrependBOS = try reader.bool("default_prepend_bos", default: true)
        try Self.refuseUnbuilt(reader)
        try reader.finish(ignoring: Self.neutralFields)
        do { try validate() } catch let error as LensError { throw error.located(in: location) }
    }

    private static func mlp(_ reader: ConfigReader, _ dModel: Int, _ norm: Norm?, _ eps: Double) throws -> MLP? {
        let width = try reader.optionalSize("d_mlp") ?? 4 &* dModel, isGated = try reader.bool("gated_mlp", default: false)
        // Ours: where b_in goes in a gated MLP. TransformerLens adds it after the product.
        let gate: MLP.Gate = try reader.bool("gated_mlp_bias_on_each", default: false) ? .biasOnEach : .biasAfter
        let name = try reader.string("act_fn", default: "relu")
        let experts = try experts(reader, width: width)
        guard try !reader.bool("attn_only", default: false) else { return nil }
        // `solu_ln` is SoLU with a norm of the neurons after it.
        let isNormed = name.hasSuffix("_ln")
        guard let activation = Activation(rawValue: isNormed ? String(name.dropLast("_ln".count)) : name) else {
            throw reader.invalid("act_fn", expected: "one of \(Activation.allCases.map(\.rawValue).joined(separator: ", ")), solu_ln")
        }
        var mlp = MLP(width: width, activation: activation, gate: isGated || experts != nil ? gate : nil)
        if isNormed { mlp.norm = norm.map { Norm(.layer, eps: $0.eps, hasWeights: $0.name == "LN") } ?? Norm(.layer, eps: eps, hasWeights: false) }
        mlp.experts = experts
        return mlp
    }

    private static func attention(_ reader: ConfigReader, dHead: Int) throws -> Attention {
        let given = try reader.double("attn_scale", default: -1)
        let isScaled = try reader.bool("use_attn_scale", default: true)
        var attention = Attention(scale: !isScaled ? 1 : given == -1 ? Double(dHead).squareRoot() : given)
        attention.scaleByInverseLayer = try reader.bool("scale_attn_by_inverse_layer_idx", default: false)
        guard let direction = Attention.Direction(rawValue: try reader.string("attention_dir", default: "causal")) else {
            throw reader.invalid("attention_dir", expected: "causal or bidirectional")
        }
        attention.direction = direction
        attention.hasSinks = try reader.bool("use_attention_sinks", default: false)
        attention.clip = try reader.value("clip_qkv")?.asDouble(at: "\(reader.location): clip_qkv")
        if try reader.bool("use_logn_attn", default: false) { attention.logScalingFrom = try reader.trainedLength() }
        let size = try reader.optionalSize("window_size"), types = try reader.strings("attn_types")
        if try reader.bool("use_local_attn", default: false) {
            guard let size else { throw reader.invalid("window_size", expected: "a number of positions") }
            guard let types, !types.isEmpty, types.allSatisfy({ ["local", "global"].contains($0) }) else {
                throw reader.invalid("attn_types", expected: "local or global for each layer")
            }
            attention.window = .init(size: size, isLocal: types.map { $0 == "local" })
        }
        return attention
    }

    private static func refuseUnbuilt(_ reader: ConfigReader) throws {
        for key in ["load_in_4bit", "rmsnorm_uses_offset"] { try reader.require(key, false) }
        try reader.require("quantization_method", nil)
    }

    /// Fields that change no number in a forward pass of what is built here.
    private static let neutralFields: Set<String> = [
        "device", "n_devices", "dtype", "trust_remote_code", "seed", "init_mode", "init_weights",
        "initializer_range", "use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "use_hook_tokens",
        "ungroup_grouped_query_attention", "tokenizer_prepends_bos", "from_checkpoint", "checkpoint_index", "checkpoint_label_type",
        "checkpoint_value", "n_params", "relative_attention_max_distance",
        "relative_attention_num_buckets", "decoder_start_token_id", "tie_word_embeddings", "uses_rms_norm", "layer_norm_folding",
        "train_seq_length", "default_padding_side", "architecture", "attn_implementation", "tokenizer_appends_eos",
    ]

    /// This configuration in TransformerLens' field names.
    public var hookedTransformerConfig: JSON {
        var fields = JSONObject()
        fields["model_name"] = .string(modelName)
        if let tokenizerName { fields["tokenizer_name"] = .string(tokenizerName) }
        fields["original_architecture"] = originalArchitecture.map(JSON.string) ?? .null
        for (name, size) in [("n_layers", nLayers), ("d_model", dModel), ("n_ctx", nCtx), ("d_head", dHead), ("n_heads", nHeads),
                             ("d_mlp", mlp?.width ?? 4 * dModel), ("d_vocab", dVocab), ("d_vocab_out", dVocabOut)] {
            fields[name] = .int(size)
        }
        fields["n_key_value_heads"] = nKeyValueHeads.map(JSON.int) ?? .null
        fields["act_fn"] = mlp.map { .string($0.activation.rawValue + ($0.norm == nil ? "" : "_ln")) } ?? .null
        fields["gated_mlp"] = .bool(mlp?.gate != nil)
        if mlp?.gate == .biasOnEach { fields["gated_mlp_bias_on_each"] = .bool(true) }
        fields["attn_only"] = .bool(mlp == nil)
        fields["parallel_attn_mlp"] = .bool(parallelAttnMLP)
        fields["normalization_type"] = norm.map { .string($0.name) } ?? .null
        fields["final_rms"] = .bool(finalNorm?.kind == .rms && norm?.kind == .layer)
        fields["eps"] = .double(norm?.eps ?? 1e-5)
        fields["attention_dir"] = .string(attention.direction.rawValue)
        fields["attn_scale"] = .double(attention.scale)
        fields["use_attn_scale"] = .bool(true)
        fields["scale_attn_by_inverse_layer_idx"] = .bool(attention.scaleByInverseLayer)
        fields["default_prepend_bos"] = .bool(defaultPrependBOS)
        fields["post_embedding_ln"] = .bool(embedNorm != nil)
        fields["use_normalization_before_and_after"] = .bool(outputNorm != nil)
        fields["attn_scores_soft_cap"] = .double(attention.softcap ?? -1)
        fields["output_logits_soft_cap"] = .double(outputSoftcap ?? -1)
        fields["use_attention_sinks"] = .bool(attention.hasSinks)
        fields["use_local_attn"] = .bool(attention.window != nil)
        if let window = attention.window {
            fields["window_size"] = .int(window.size)
            fields["attn_types"] = .array((0..<nLayers).map { .string(window.size(in: $0) == nil ? "global" : "local") })
        }
        for (name, value) in positionFields + mechanismFields + encoderFields + expertFields { fields[name] = value }
        return .object(fields)
    }
}

extension ModelConfig.Norm {
    /// From TransformerLens' `normalization_type`.
    init(name: String, eps: Double) throws {
        switch name {
        case "LN": self.init(.layer, eps: eps)
        case "LNPre": self.init(.layer, eps: eps, hasWeights: false)
        case "RMS": self.init(.rms, eps: eps)
        case "RMSPre": self.init(.rms, eps: eps, hasWeights: false)
        default: throw LensError(.config, "unknown normalisation", at: "normalization_type", expected: "LN, LNPre, RMS, RMSPre or null", found: name)
        }
    }

    /// TransformerLens' `normalization_type`.
    var name: String { (kind == .layer ? "LN" : "RMS") + (hasWeights ? "" : "Pre") }
}

extension ConfigReader {
    /// A cap that TransformerLens leaves at -1 for none.
    func optionalCap(_ key: String) throws -> Double? {
        let cap = try double(key, default: -1)
        return cap == -1 ? nil : cap
    }

    /// An integer that TransformerLens leaves at null or -1 for its default.
    func optionalSize(_ key: String) throws -> Int? {
        guard let size = try value(key)?.asInt(at: "\(location): \(key)"), size != -1 else { return nil }
        return size
    }
}
