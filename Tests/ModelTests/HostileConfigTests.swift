// Configurations of the zoo's families with a value that cannot be: an error that names the key, never a trap and never a model.

import LensFiles
import LensTestSupport
import Testing
@testable import LensZoo
import TransformerLens

@Suite struct HostileConfigTests {
    /// Golden, key (with `.` inside objects), value, and what the error names, where it is not the key.
    typealias Case = (golden: String, key: String, value: String, names: String?)
    static let impossible: [Case] = [
        ("llama-rope-dynamic", "rope_parameters.factor", "0", "factor"), ("llama-rope-dynamic", "rope_parameters.factor", "\"two\"", "factor"),
        ("llama-rope-dynamic", "rope_parameters.factor", "null", "factor"), ("llama-rope-dynamic", "max_position_embeddings", "0", "n_ctx"),
        ("llama-rope-dynamic", "head_dim", "2", "rotary"), ("llama-rope-dynamic", "rope_parameters.rope_type", "\"spiral\"", "rope_type"),
        ("llama-rope-yarn", "rope_parameters.factor", "-4", "factor"), ("llama-rope-yarn", "rope_parameters.original_max_position_embeddings", "1", "original_max_position_embeddings"),
        ("llama-rope-yarn", "rope_parameters.original_max_position_embeddings", "-9223372036854775808", "original_max_position_embeddings"),
        ("llama-rope-yarn", "rope_parameters.rope_theta", "1", "rotary"), ("llama-rope-yarn", "rope_parameters.rope_theta", "-10000", "rotary"),
        ("llama-rope-yarn", "rope_parameters.rope_theta", "1e-300", "rotary"), ("llama-rope-yarn", "rope_parameters.beta_fast", "-1", "rotary"),
        ("llama-rope-yarn", "rope_parameters.attention_factor", "0", "attention_factor"), ("llama-rope-yarn", "rope_parameters.no_such", "1", "no_such"),
        ("llama-rope-yarn-old", "rope_scaling.mscale", "\"a\"", "mscale"), ("llama-rope-yarn-old", "rope_scaling.truncate", "3", "truncate"),
        ("phi3-longrope", "rope_parameters.short_factor", "[1, 2]", "short_factor"), ("phi3-longrope", "rope_parameters.long_factor", "[1, 2, 3, 4, 0]", "long_factor"),
        ("phi3-longrope", "rope_parameters.long_factor", "[1, 2, 3, 4, \"5\"]", "long_factor"), ("phi3-longrope", "rope_parameters.long_factor", "null", "long_factor"),
        ("phi3-longrope", "original_max_position_embeddings", "0", "original_max_position_embeddings"),
        ("phi3-longrope", "rope_parameters.partial_rotary_factor", "1e300", "partial_rotary_factor"),
        ("olmo2", "num_key_value_heads", "3", "n_key_value_heads"), ("olmo2", "rms_norm_eps", "-1", "eps"), ("olmo2", "num_attention_heads", "0", nil),
        ("olmo3", "layer_types", "[\"sliding_attention\"]", nil), ("olmo3", "sliding_window", "0", "window"), ("olmo3", "sliding_window", "null", nil),
        ("olmo3", "rope_parameters.full_attention.rope_type", "\"spiral\"", "rope_type"), ("olmo3", "rope_parameters.other_attention", "{\"rope_type\": \"default\"}", "other_attention"),
        ("olmo-clip", "clip_qkv", "0", nil), ("olmo-clip", "clip_qkv", "-3", nil), ("olmo-clip", "clip_qkv", "1e60", nil),
        ("cohere", "logit_scale", "0", nil), ("cohere", "logit_scale", "\"x\"", nil), ("cohere-qk-norm", "use_qk_norm", "2", nil),
        ("cohere2", "rotary_pct", "0.5", nil), ("cohere2", "use_parallel_block", "false", nil), ("cohere2", "sliding_window", "-4", "window"),
        ("granite", "attention_multiplier", "0", nil), ("granite", "logits_scaling", "-1", nil), ("granite", "residual_multiplier", "1e-60", "residual_scale"),
        ("granite", "embedding_multiplier", "false", nil), ("smollm3", "no_rope_layers", "[1, 2, 0, 0]", nil), ("smollm3", "no_rope_layers", "[1]", nil),
        ("smollm3", "no_rope_layer_interval", "0", nil), ("smollm3-window", "sliding_window", "null", nil),
        ("mpt", "attn_config.alibi_bias_max", "0", "alibi_bias_max"), ("mpt", "attn_config.clip_qkv", "-1", "clip_qkv"), ("mpt", "attn_config.alibi", "false", "alibi"),
        ("mpt", "attn_config.prefix_lm", "true", "prefix_lm"), ("mpt", "attn_config.softmax_scale", "0", "softmax_scale"), ("mpt", "expansion_ratio", "3", nil),
        ("mpt", "no_bias", "false", nil), ("mpt", "attn_config", "7", nil), ("mpt", "n_heads", "7", nil), ("mpt", "d_model", "9223372036854775807", nil),
        ("qwen", "seq_length", "1", nil), ("qwen", "kv_channels", "4", nil), ("qwen", "rotary_pct", "7", nil), ("qwen", "no_bias", "false", nil),
        ("qwen", "hidden_size", "9223372036854775807", nil), ("qwen-long", "use_cache_quantization", "true", nil),
        ("apertus", "post_norm", "true", nil), ("apertus", "hidden_act", "\"mish\"", nil), ("llama-full", "hidden_act", "\"xielu\"", "act_fn"),
        ("falcon-rw", "alibi", "1", nil), ("santacoder", "attention_head_type", "\"multihead\"", nil),
        ("gemma3-multimodal", "text_config", "null", nil), ("gemma3-multimodal", "text_config.model_type", "\"bert\"", "model_type"),
        ("gemma3-multimodal", "text_config.no_such", "1", "no_such"), ("gemma3-multimodal", "no_such", "1", nil), ("mistral3", "text_config.head_dim", "-6", "d_head"),
        ("ministral", "layer_types", "[\"full_attention\", \"chunked_attention\"]", nil),
    ]

    /// The golden's configuration with the value in its place.
    private func changed(_ json: JSON, _ path: ArraySlice<Substring>, _ value: JSON) throws -> JSON {
        guard let key = path.first else { return value }
        var object = try #require(json.objectValue)
        object[String(key)] = try changed(object[String(key)] ?? .object(JSONObject()), path.dropFirst(), value)
        return .object(object)
    }

    @Test(arguments: impossible)
    func isRefusedByName(_ test: Case) throws {
        let path = "\(TestFolders.goldens)/\(test.golden)/config.json"
        let json = try changed(JSON.parse(file: path, limit: 1 << 20), test.key.split(separator: ".")[...], JSON.parse(Array(test.value.utf8), at: "value"))
        expectError(.config, test.names ?? test.key) {
            try Architecture.find(for: json, at: path).modelConfig(json, at: path)
        }
    }

    /// Every number of every configuration, one at a time, made impossible: an error or a configuration, and no trap.
    @Test(arguments: ["llama-rope-dynamic", "llama-rope-yarn", "phi3-longrope", "olmo3", "cohere2", "granite", "smollm3-window", "mpt", "qwen-long", "apertus",
                      "stablelm-qk-norm", "falcon-rw", "santacoder", "gemma3-multimodal", "mistral3"])
    func extremeNumbers(_ name: String) throws {
        let path = "\(TestFolders.goldens)/\(name)/config.json", json = try JSON.parse(file: path, limit: 1 << 20)
        func numbers(_ json: JSON, _ prefix: [Substring]) -> [[Substring]] {
            (json.objectValue?.pairs ?? []).flatMap { key, value -> [[Substring]] in
                value.objectValue != nil ? numbers(value, prefix + [Substring(key)]) : value.doubleValue == nil ? [] : [prefix + [Substring(key)]]
            }
        }
        for place in numbers(json, []) where place.first != "vision_config" {
            for extreme in ["-1", "0", "1", "3", "9223372036854775807", "-9223372036854775808", "1e308", "-1e-308", "0.5", "true", "[]", "null"] {
                let hostile = try changed(json, place[...], JSON.parse(Array(extreme.utf8), at: "value"))
                do {
                    let config = try Architecture.find(for: hostile, at: path).modelConfig(hostile, at: path)
                    try config.validate()
                } catch let error as LensError {
                    #expect(error.kind == .config, "\(place.joined(separator: ".")) = \(extreme): \(error)")
                }
            }
        }
    }
}
