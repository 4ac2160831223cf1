// Mechanisms that TransformerLens knows by the name of an architecture or not at all, under fields of our own beside its own:
// `norm_placement`, `qk_norm_span`, `qk_norm_type`, `residual_scale`, `unembed_scale`.

import LensFiles

extension ModelConfig {
    /// Where norms stand, and which are on queries and keys. A file of TransformerLens' says so by `original_architecture`.
    mutating func readNorms(_ reader: ConfigReader, eps: Double) throws {
        originalArchitecture = reader.value("original_architecture")?.stringValue
        let isOlmo2 = ["Olmo2ForCausalLM", "Olmo3ForCausalLM"].contains(originalArchitecture)
        guard let placement = NormPlacement(rawValue: try reader.string("norm_placement", default: isOlmo2 ? "output" : "input")) else {
            throw reader.invalid("norm_placement", expected: "input, output or sum")
        }
        normPlacement = placement
        let isOfAllHeads = isOlmo2 || originalArchitecture == "OlmoeForCausalLM"
        guard let span = Attention.QKNormSpan(rawValue: try reader.string("qk_norm_span", default: isOfAllHeads ? "all_heads" : "head")) else {
            throw reader.invalid("qk_norm_span", expected: "head, head_with_own_weights or all_heads")
        }
        let type = try Norm(name: reader.string("qk_norm_type", default: "RMS"), eps: eps)
        guard try reader.bool("use_qk_norm", default: false) || isOfAllHeads else { return }
        attention.qkNorm = type
        attention.qkNormSpan = span
    }

    /// What the fields of positions, sizes and norms do not say.
    var mechanismFields: [(String, JSON)] {
        var fields: [(String, JSON)] = [("use_qk_norm", .bool(attention.qkNorm != nil)), ("clip_qkv", attention.clip.map(JSON.double) ?? .null)]
        if let start = attention.logScalingFrom { fields += [("use_logn_attn", true), ("train_seq_length", .int(start))] }
        if normPlacement != .onInput { fields.append(("norm_placement", .string(normPlacement.rawValue))) }
        if let qkNorm = attention.qkNorm, attention.qkNormSpan != .head || qkNorm.name != "RMS" {
            fields += [("qk_norm_span", .string(attention.qkNormSpan.rawValue)), ("qk_norm_type", .string(qkNorm.name))]
        }
        if residualScale != 1 { fields.append(("residual_scale", .double(residualScale))) }
        if unembedScale != 1 { fields.append(("unembed_scale", .double(unembedScale))) }
        return fields
    }
}
