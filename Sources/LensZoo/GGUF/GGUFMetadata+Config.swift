// Metadata that several architectures share, as keys of a `config.json`.

import LensFiles
import LensModel

extension GGUFMetadata {
    /// Whether the file has a tensor.
    func has(_ tensor: String) -> Bool { file.tensor(tensor) != nil }

    /// Sizes of any decoder.
    func decoder(_ className: String) throws -> JSONObject {
        guard let table = file.tensor("token_embd.weight"), table.shape.count == 2 else {
            throw LensError(.weights, "GGUF file without token embeddings", at: file.location, expected: "token_embd.weight [d_vocab, d_model]")
        }
        var config = JSONObject()
        config["architectures"] = [.string(className)]
        config["hidden_size"] = .int(try int("embedding_length"))
        config["num_hidden_layers"] = .int(try int("block_count"))
        let heads = try int("attention.head_count")
        guard heads > 0 else { throw wrong("attention.head_count", expected: "at least 1", value("attention.head_count")) }
        config["num_attention_heads"] = .int(heads)
        let keyValueHeads = try int("attention.head_count_kv", default: heads)
        if keyValueHeads != heads { config["num_key_value_heads"] = .int(keyValueHeads) }
        config["max_position_embeddings"] = .int(try int("context_length"))
        config["vocab_size"] = .int(table.shape[0])
        config["tie_word_embeddings"] = .bool(!has("output.weight"))
        let width = try int("attention.key_length", default: try int("embedding_length") / heads)
        guard try int("attention.value_length", default: width) == width else {
            throw wrong("attention.value_length", expected: "that of keys, \(width)", value("attention.value_length"))
        }
        config["head_dim"] = .int(width)
        try require("attention.causal", 1)
        try require("logit_scale", 1)
        return config
    }

    /// LLaMA's shape.
    func llamaShaped(_ className: String, base: Double = 10_000) throws -> JSONObject {
        var config = try decoder(className)
        if try int("attention.head_count_kv", default: 0) == 0 || config["num_key_value_heads"] == nil { config["num_key_value_heads"] = config["num_attention_heads"] }
        config["intermediate_size"] = .int(try int("feed_forward_length"))
        config["rms_norm_eps"] = .double(try double("attention.layer_norm_rms_epsilon"))
        try setRotary(&config, base: base)
        return config
    }

    /// The window of layers that have one; nil where the file says none or zero.
    func window() throws -> Int? {
        let size = try int("attention.sliding_window", default: 0)
        return size > 0 ? size : nil
    }

    /// Rotary embedding: `rope_theta`, the part of a head that turns, and scaling.
    func setRotary(_ config: inout JSONObject, base: Double = 10_000) throws {
        config["rope_theta"] = .double(try double("rope.freq_base", default: base))
        let width = config["head_dim"]?.intValue ?? 0, turning = try int("rope.dimension_count", default: width)
        guard width > 0, turning > 0, turning <= width else { throw wrong("rope.dimension_count", expected: "1 to \(width)", value("rope.dimension_count")) }
        // Half a channel more, so that rounding down gives `turning` back.
        if turning != width { config["partial_rotary_factor"] = .double((Double(turning) + 0.5) / Double(width)) }
        if let scaling = try rotaryScaling(base: config["rope_theta"]?.doubleValue ?? base, turning: turning, &config) { config["rope_scaling"] = .object(scaling) }
    }

    private func rotaryScaling(base: Double, turning: Int, _ config: inout JSONObject) throws -> JSONObject? {
        let type = try string("rope.scaling.type", default: value("rope.scale_linear") == nil ? "none" : "linear")
        if let factors = try factors("rope_freqs.weight", turning) {
            guard type == "none" else { throw wrong("rope.scaling.type", expected: "none beside rope_freqs.weight", value("rope.scaling.type")) }
            let context = try int("context_length")
            return llama3(factors, base: base, turning: turning) ?? longrope(factors, factors, context: context, &config)
        }
        if let short = try factors("rope_factors_short.weight", turning), let long = try factors("rope_factors_long.weight", turning) {
            return longrope(short, long, context: try int("rope.scaling.original_context_length"), &config)
        }
        switch type {
        case "none": return nil
        case "linear":
            let key = value("rope.scaling.factor") == nil ? "rope.scale_linear" : "rope.scaling.factor", factor = try double(key, default: 1)
            return JSONObject([("rope_type", "linear"), ("factor", .double(factor))])
        case "yarn":
            var scaling = JSONObject([("rope_type", "yarn"), ("factor", .double(try double("rope.scaling.factor")))])
            scaling["original_max_position_embeddings"] = .int(try int("rope.scaling.original_context_length"))
            // llama.cpp's factor comes on top of YaRN's own.
            for key in ["rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"] { try require(key, 1) }
            for (key, source) in [("beta_fast", "rope.scaling.yarn_beta_fast"), ("beta_slow", "rope.scaling.yarn_beta_slow")]
            where value(source) != nil { scaling[key] = .double(try double(source)) }
            return scaling
        default: throw wrong("rope.scaling.type", expected: "none, linear or yarn", value("rope.scaling.type"))
        }
    }

    /// By what each pair's frequency is divided; nil without the tensor.
    private func factors(_ name: String, _ turning: Int) throws -> [Float]? {
        guard let entry = file.entry(name) else { return nil }
        guard entry.dtype == .f32, entry.elementCount == turning / 2 else {
            throw LensError(.weights, "tensor of the wrong shape or type", at: "\(file.location): \(name)", expected: "[\(turning / 2)] of F32",
                            found: "\(entry.shape) of \(entry.dtype)")
        }
        let factors = try file.bytes(of: name).withUnsafeBytes { bytes in
            (0..<entry.elementCount).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
        guard factors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
            throw LensError(.weights, "impossible factors of rotary embedding", at: "\(file.location): \(name)", expected: "numbers above 0")
        }
        return factors
    }

    /// LLaMA 3's rule, where it is what gave the factors: a file keeps only them. All its models have 1 and 4 for the bounds.
    private func llama3(_ factors: [Float], base: Double, turning: Int) -> JSONObject? {
        guard let factor = factors.max(), factor > 1 else { return nil }
        let plain = Rotary(dim: turning, base: base).inverseFrequencies(length: 0)
        for context in [8192] + (3...20).map({ 1 << $0 }) {
            let scaling = Rotary.Scaling.llama3(factor: Double(factor), lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: context)
            let scaled = Rotary(dim: turning, base: base, scaling: scaling).inverseFrequencies(length: 0)
            let ratios: [Float] = zip(plain, scaled).map { $0 / $1 }
            if ratios.count == factors.count, zip(ratios, factors).allSatisfy({ (a: Float, b: Float) in abs(a - b) <= 1e-5 * b }) {
                return JSONObject([("rope_type", "llama3"), ("factor", .double(Double(factor))), ("low_freq_factor", 1.0), ("high_freq_factor", 4.0),
                                   ("original_max_position_embeddings", .int(context))])
            }
        }
        return nil
    }

    /// A factor for each pair.
    private func longrope(_ short: [Float], _ long: [Float], context: Int, _ config: inout JSONObject) -> JSONObject {
        config["original_max_position_embeddings"] = .int(context)
        func list(_ factors: [Float]) -> JSON { .array(factors.map { JSON.double(Double($0)) }) }
        return JSONObject([("rope_type", "longrope"), ("short_factor", list(short)), ("long_factor", list(long))])
    }
}

