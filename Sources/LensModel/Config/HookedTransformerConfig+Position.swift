// Positions in TransformerLens' field names. What it has no field for is written under names of our own: `rope_scaling` (and
// `rope_scaling_local`, of windowed layers) as Hugging Face spells it, `rotary_layers`, `alibi_interpolated`, `alibi_rule`.

import LensFiles

extension ModelConfig {
    static func position(_ reader: ConfigReader, dHead: Int) throws -> Position {
        let dim = try reader.optionalSize("rotary_dim") ?? dHead, base = try reader.double("rotary_base", default: 10_000)
        let adjacent = try reader.bool("rotary_adjacent_pairs", default: false)
        let scaling = try scaling(reader)
        switch try reader.string("positional_embedding_type", default: "standard") {
        case "standard": return .learned
        case "shortformer": return .shortformer
        case "rotary": return .rotary(Rotary(dim: dim, base: base, adjacentPairs: adjacent, scaling: scaling))
        case "alibi": return .alibi(try alibi(reader))
        case "none": return .none
        default: throw reader.invalid("positional_embedding_type", expected: "standard, shortformer, rotary, alibi or none")
        }
    }

    private static func alibi(_ reader: ConfigReader) throws -> ALiBi {
        let fallback = try reader.bool("alibi_interpolated", default: false) ? "interpolated" : "geometric"
        switch try reader.string("alibi_rule", default: fallback) {
        case "geometric": return .geometric
        case "interpolated": return .interpolated
        case "mpt": return .mpt(biasMax: try reader.double("alibi_bias_max", default: 8))
        case "rounded_keys": return .roundedKeys
        default: throw reader.invalid("alibi_rule", expected: "geometric, interpolated, mpt or rounded_keys")
        }
    }

    /// Every field of every kind is read, so that none is called unknown; the switches say which counts.
    private static func scaling(_ reader: ConfigReader) throws -> Rotary.Scaling {
        let linear = try reader.double("rotary_scaling_factor", default: 1)
        let llama3 = Rotary.Scaling.llama3(factor: try reader.double("NTK_by_parts_factor", default: 8),
                                           lowFrequencyFactor: try reader.double("NTK_by_parts_low_freq_factor", default: 1),
                                           highFrequencyFactor: try reader.double("NTK_by_parts_high_freq_factor", default: 4),
                                           originalContext: try reader.int("NTK_original_ctx_len", default: 8192))
        var yarn = Rotary.YaRN(factor: try reader.double("yarn_factor", default: 1),
                               attentionFactor: try reader.double("yarn_attention_factor", default: 1),
                               originalContext: try reader.int("yarn_original_max_position_embeddings", default: 4096))
        yarn.betaFast = try reader.double("yarn_beta_fast", default: 32)
        yarn.betaSlow = try reader.double("yarn_beta_slow", default: 1)
        yarn.truncates = try reader.bool("yarn_truncate", default: true)
        if let own = try reader.nested("rope_scaling") { return try own.ownScaling() }
        if try reader.bool("use_yarn_rope", default: false) { return .yarn(yarn) }
        if try reader.bool("use_NTK_by_parts_rope", default: false) { return llama3 }
        if try reader.bool("use_dynamic_ntk_rope", default: false) { return .dynamicSteps(originalContext: try reader.trainedLength()) }
        return linear == 1 ? .none : .linear(factor: linear)
    }

    /// Which layers rotate, and how windowed ones do.
    mutating func readRotaryOfLayers(_ reader: ConfigReader) throws {
        let localBase = try reader.value("rotary_base_local")?.asDouble(at: "\(reader.location): rotary_base_local")
        let isPlainLocally = try reader.bool("yarn_global_attn_only", default: false)
        let localScaling = try reader.nested("rope_scaling_local")?.ownScaling()
        if let layers = reader.value("rotary_layers") {
            attention.rotatedLayers = try layers.asArray(at: "\(reader.location): rotary_layers").map { try $0.asBool(at: "\(reader.location): rotary_layers") }
        }
        guard case .rotary(let rotary) = position, localBase != nil || isPlainLocally || localScaling != nil else { return }
        attention.localRotary = Rotary(dim: rotary.dim, base: localBase ?? rotary.base, adjacentPairs: rotary.adjacentPairs, scaling: localScaling ?? .none)
    }

    var positionFields: [(String, JSON)] {
        switch position {
        case .learned: return [("positional_embedding_type", "standard")]
        case .shortformer: return [("positional_embedding_type", "shortformer")]
        case .none: return [("positional_embedding_type", "none")]
        case .relative(let relative):
            return [("positional_embedding_type", "relative_positional_bias"), ("relative_attention_num_buckets", .int(relative.buckets)),
                    ("relative_attention_max_distance", .int(relative.maxDistance))]
        case .alibi(let alibi):
            var fields: [(String, JSON)] = [("positional_embedding_type", "alibi"), ("alibi_interpolated", .bool(alibi == .interpolated))]
            if case .mpt(let most) = alibi { fields += [("alibi_rule", "mpt"), ("alibi_bias_max", .double(most))] }
            if alibi == .roundedKeys { fields.append(("alibi_rule", "rounded_keys")) }
            return fields
        case .rotary(let rotary):
            var fields: [(String, JSON)] = [
                ("positional_embedding_type", "rotary"), ("rotary_dim", .int(rotary.dim)), ("rotary_base", .double(rotary.base)),
                ("rotary_adjacent_pairs", .bool(rotary.adjacentPairs)),
            ]
            fields += rotary.scaling.fields
            if attention.rotatedLayers.contains(false) { fields.append(("rotary_layers", .array(attention.rotatedLayers.map(JSON.bool)))) }
            guard let local = attention.localRotary else { return fields }
            fields.append(("rotary_base_local", .double(local.base)))
            if case .yarn = rotary.scaling, local.base == rotary.base, local.scaling == .none { fields.append(("yarn_global_attn_only", true)) }
            if local.scaling != .none { fields.append(("rope_scaling_local", local.scaling.object)) }
            return fields
        }
    }
}

extension Rotary.Scaling {
    /// In TransformerLens' fields, or the one of our own.
    fileprivate var fields: [(String, JSON)] {
        switch self {
        case .none: return []
        case .linear(let factor): return [("rotary_scaling_factor", .double(factor))]
        case .llama3(let factor, let low, let high, let context):
            return [("use_NTK_by_parts_rope", true), ("NTK_by_parts_factor", .double(factor)), ("NTK_by_parts_low_freq_factor", .double(low)),
                    ("NTK_by_parts_high_freq_factor", .double(high)), ("NTK_original_ctx_len", .int(context))]
        case .dynamicSteps(let context): return [("use_dynamic_ntk_rope", true), ("train_seq_length", .int(context))]
        case .yarn(let yarn):
            return [("use_yarn_rope", true), ("yarn_factor", .double(yarn.factor)), ("yarn_attention_factor", .double(yarn.attentionFactor)),
                    ("yarn_beta_fast", .double(yarn.betaFast)), ("yarn_beta_slow", .double(yarn.betaSlow)),
                    ("yarn_original_max_position_embeddings", .int(yarn.originalContext)), ("yarn_truncate", .bool(yarn.truncates))]
        case .dynamic, .longRoPE: return [("rope_scaling", object)]
        }
    }

    /// As Hugging Face spells it.
    fileprivate var object: JSON {
        switch self {
        case .none: return ["rope_type": "default"]
        case .linear(let factor): return ["rope_type": "linear", "factor": .double(factor)]
        case .llama3(let factor, let low, let high, let context):
            return ["rope_type": "llama3", "factor": .double(factor), "low_freq_factor": .double(low), "high_freq_factor": .double(high),
                    "original_max_position_embeddings": .int(context)]
        case .dynamic(let factor, let context):
            return ["rope_type": "dynamic", "factor": .double(factor), "original_max_position_embeddings": .int(context)]
        case .dynamicSteps(let context): return ["rope_type": "dynamic_steps", "original_max_position_embeddings": .int(context)]
        case .yarn(let yarn):
            return ["rope_type": "yarn", "factor": .double(yarn.factor), "attention_factor": .double(yarn.attentionFactor),
                    "beta_fast": .double(yarn.betaFast), "beta_slow": .double(yarn.betaSlow),
                    "original_max_position_embeddings": .int(yarn.originalContext), "truncate": .bool(yarn.truncates)]
        case .longRoPE(let longRoPE):
            return ["rope_type": "longrope", "short_factor": .array(longRoPE.shortFactors.map(JSON.double)),
                    "long_factor": .array(longRoPE.longFactors.map(JSON.double)), "attention_factor": .double(longRoPE.attentionFactor),
                    "original_max_position_embeddings": .int(longRoPE.originalContext)]
        }
    }
}

extension ConfigReader {
    /// The context a model was trained with, which `n_ctx` need not be.
    func trainedLength() throws -> Int { try optionalSize("train_seq_length") ?? int("n_ctx") }

    /// A scaling of rotary frequencies as `positionFields` writes it: nothing is left to defaults that depend on the family.
    fileprivate func ownScaling() throws -> Rotary.Scaling {
        let scaling = try readOwnScaling()
        try finish()
        return scaling
    }

    private func readOwnScaling() throws -> Rotary.Scaling {
        func context() throws -> Int { try int("original_max_position_embeddings") }
        switch try string("rope_type") {
        case "default": return .none
        case "linear": return .linear(factor: try double("factor"))
        case "llama3":
            return .llama3(factor: try double("factor"), lowFrequencyFactor: try double("low_freq_factor"),
                           highFrequencyFactor: try double("high_freq_factor"), originalContext: try context())
        case "dynamic": return .dynamic(factor: try double("factor"), originalContext: try context())
        case "dynamic_steps": return .dynamicSteps(originalContext: try context())
        case "yarn":
            var yarn = Rotary.YaRN(factor: try double("factor"), attentionFactor: try double("attention_factor"), originalContext: try context())
            (yarn.betaFast, yarn.betaSlow) = (try double("beta_fast"), try double("beta_slow"))
            yarn.truncates = try bool("truncate")
            return .yarn(yarn)
        case "longrope":
            return .longRoPE(.init(shortFactors: try doubles("short_factor"), longFactors: try doubles("long_factor"),
                                   attentionFactor: try double("attention_factor"), originalContext: try context()))
        default: throw invalid("rope_type", expected: "default, linear, llama3, dynamic, dynamic_steps, yarn or longrope")
        }
    }

    /// A list of finite numbers, which must be there.
    package func doubles(_ key: String) throws -> [Double] {
        guard let list = value(key) else { throw LensError(.config, "missing configuration key", at: "\(location): \(key)") }
        guard let numbers = list.arrayValue?.map(\.doubleValue), !numbers.contains(nil), numbers.allSatisfy({ $0?.isFinite ?? false }) else {
            throw invalid(key, expected: "a list of numbers")
        }
        return numbers.compactMap(\.self)
    }
}
