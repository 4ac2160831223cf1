// What GGUF files of an architecture are: their metadata as the `config.json`, and their tensors as the tensors, of the Hugging
// Face model they were made from (llama.cpp's convert_hf_to_gguf.py is the definition). The family then reads both as it
// reads a folder. `GGUFFormat.all` is the only list.

import LensFiles
import LensModel

/// One `general.architecture`.
struct GGUFFormat: Sendable {
    /// llama.cpp's name, under which the metadata is.
    let name: String
    /// The keys of the `config.json`, `architectures` among them.
    let config: @Sendable (GGUFMetadata) throws -> JSONObject
    /// The file's name of a tensor, and the checkpoint's (without prefix); `{i}` is the layer. One with `{e}` is a stack of
    /// all experts' tensors.
    let tensors: [String: String]
    /// Rows of queries and keys are kept in adjacent pairs, and are put back into halves.
    var pairsRows = false

    static let all: [GGUFFormat] = [.llama, .qwen2, .qwen2MoE, .qwen3, .qwen3MoE, .gemma, .gemma2, .gemma3, .phi2, .phi3, .gpt2]

    /// The format of an open file.
    /// - Throws: `LensError(.config)` naming the architectures there are.
    static func find(for file: GGUFFile) throws -> GGUFFormat {
        let name = file["general.architecture"]?.stringValue
        if let found = all.first(where: { $0.name == name }) { return found }
        throw LensError(.config, "GGUF file of an unknown architecture", at: "\(file.location): general.architecture",
                        expected: "one of \(all.map(\.name).joined(separator: ", "))", found: name ?? "nothing")
    }

    /// The checkpoint's name of a tensor of the file; its own where the format does not know it.
    func sourceName(_ name: String) -> String {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2, parts[0] == "blk", Int(parts[1]) != nil else { return tensors[name] ?? name }
        let layer = parts[1]
        parts[1] = "{i}"
        guard let template = tensors[parts.joined(separator: ".")] else { return name }
        return template.split(separator: "{i}", omittingEmptySubsequences: false).joined(separator: layer)
    }
}

extension GGUFFormat {
    static let llama = GGUFFormat(
        name: "llama",
        config: { metadata in
            var config = try metadata.llamaShaped("LlamaForCausalLM")
            // So have Mixtral's.
            if try metadata.int("expert_count", default: 0) > 0 {
                config["architectures"] = ["MixtralForCausalLM"]
                config["num_local_experts"] = .int(try metadata.int("expert_count"))
                config["num_experts_per_tok"] = .int(try metadata.int("expert_used_count"))
                config["sliding_window"] = try metadata.window().map(JSON.int) ?? .null
                return config
            }
            try metadata.require("expert_used_count", 0)
            config["attention_bias"] = .bool(metadata.has("blk.0.attn_q.bias"))
            config["mlp_bias"] = .bool(metadata.has("blk.0.ffn_gate.bias"))
            // Mistral's files have LLaMA's name.
            if let window = try metadata.window() {
                config["architectures"] = ["MistralForCausalLM"]
                config["sliding_window"] = .int(window)
                config["attention_bias"] = nil
                config["mlp_bias"] = nil
            }
            return config
        },
        tensors: .llamaShaped().merging([
            "blk.{i}.ffn_gate_inp.weight": "layers.{i}.block_sparse_moe.gate.weight",
            "blk.{i}.ffn_gate_exps.weight": "layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
            "blk.{i}.ffn_up_exps.weight": "layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
            "blk.{i}.ffn_down_exps.weight": "layers.{i}.block_sparse_moe.experts.{e}.w2.weight",
        ]) { $1 }, pairsRows: true)

    static let qwen2MoE = GGUFFormat(
        name: "qwen2moe",
        config: { metadata in
            var config = try metadata.llamaShaped("Qwen2MoeForCausalLM")
            try config.setQwenExperts(metadata, renormalised: false)
            config["shared_expert_intermediate_size"] = .int(try metadata.int("expert_shared_feed_forward_length"))
            return config
        },
        tensors: .qwenExperts())

    static let qwen3MoE = GGUFFormat(
        name: "qwen3moe",
        config: { metadata in
            var config = try metadata.llamaShaped("Qwen3MoeForCausalLM")
            try config.setQwenExperts(metadata, renormalised: true)
            config["attention_bias"] = .bool(metadata.has("blk.0.attn_q.bias"))
            return config
        },
        tensors: .qwenExperts())

    static let qwen2 = GGUFFormat(name: "qwen2", config: { try $0.llamaShaped("Qwen2ForCausalLM") }, tensors: .llamaShaped())

    static let qwen3 = GGUFFormat(
        name: "qwen3",
        config: { metadata in
            var config = try metadata.llamaShaped("Qwen3ForCausalLM")
            config["attention_bias"] = .bool(metadata.has("blk.0.attn_q.bias"))
            return config
        },
        tensors: .llamaShaped())

    static let gemma = GGUFFormat(
        name: "gemma",
        config: { metadata in
            var config = try metadata.llamaShaped("GemmaForCausalLM")
            config["hidden_act"] = "gelu_pytorch_tanh"
            return config
        },
        tensors: .llamaShaped())

    static let gemma2 = GGUFFormat(
        name: "gemma2",
        config: { metadata in
            var config = try metadata.llamaShaped("Gemma2ForCausalLM")
            // The file does not say by what scores are divided; llama.cpp knows the largest model's.
            try config.setGemmaScale(metadata, isLargest: config["num_hidden_layers"] == 46)
            config["sliding_window"] = try metadata.window().map(JSON.int) ?? .null
            return config
        },
        tensors: .llamaShaped().merging(gemmaNorms) { $1 })

    static let gemma3 = GGUFFormat(
        name: "gemma3",
        config: { metadata in
            var config = try metadata.llamaShaped("Gemma3ForCausalLM", base: 1_000_000)
            try config.setGemmaScale(metadata, isLargest: config["num_hidden_layers"] == 62)
            config["sliding_window"] = try metadata.window().map(JSON.int) ?? .null
            config["sliding_window_pattern"] = .int(try metadata.int("attention.sliding_window_pattern", default: 6))
            config["rope_local_base_freq"] = .double(try metadata.double("rope.freq_base_swa", default: 10_000))
            return config
        },
        tensors: .llamaShaped().merging(gemmaNorms) { $1 })

    static let phi2 = GGUFFormat(
        name: "phi2",
        config: { metadata in
            var config = try metadata.decoder("PhiForCausalLM")
            config["intermediate_size"] = .int(try metadata.int("feed_forward_length"))
            config["layer_norm_eps"] = .double(try metadata.double("attention.layer_norm_epsilon"))
            try metadata.setRotary(&config)
            return config
        },
        tensors: .phi2)

    static let phi3 = GGUFFormat(
        name: "phi3",
        config: { metadata in
            var config = try metadata.llamaShaped("Phi3ForCausalLM")
            config["sliding_window"] = try metadata.window().map(JSON.int) ?? .null
            return config
        },
        tensors: .llamaShaped().merging([
            "blk.{i}.attn_qkv.weight": "layers.{i}.self_attn.qkv_proj.weight", "blk.{i}.ffn_up.weight": "layers.{i}.mlp.gate_up_proj.weight",
        ]) { $1 })

    static let gpt2 = GGUFFormat(
        name: "gpt2",
        config: { metadata in
            let model = try metadata.decoder("GPT2LMHeadModel")
            var config = JSONObject()
            for (key, source) in [("architectures", "architectures"), ("n_layer", "num_hidden_layers"), ("n_embd", "hidden_size"), ("n_head", "num_attention_heads"),
                                  ("n_positions", "max_position_embeddings"), ("vocab_size", "vocab_size"), ("tie_word_embeddings", "tie_word_embeddings")] {
                config[key] = model[source]
            }
            config["n_inner"] = .int(try metadata.int("feed_forward_length"))
            config["layer_norm_epsilon"] = .double(try metadata.double("attention.layer_norm_epsilon"))
            return config
        },
        tensors: .gpt2)

    private static let gemmaNorms = [
        "blk.{i}.post_attention_norm.weight": "layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_norm.weight": "layers.{i}.pre_feedforward_layernorm.weight",
        "blk.{i}.post_ffw_norm.weight": "layers.{i}.post_feedforward_layernorm.weight",
    ]
}

extension JSONObject {
    /// Qwen's experts. Which layers have some shows in the tensors; whether weights are made to sum to one llama.cpp knows by the
    /// architecture.
    fileprivate mutating func setQwenExperts(_ metadata: GGUFMetadata, renormalised: Bool) throws {
        self["num_experts"] = .int(try metadata.int("expert_count"))
        self["num_experts_per_tok"] = .int(try metadata.int("expert_used_count"))
        self["moe_intermediate_size"] = .int(try metadata.int("expert_feed_forward_length"))
        self["norm_topk_prob"] = .bool(renormalised)
        let layers = max(0, min(try metadata.int("block_count"), ModelConfig.mostLayers))
        self["mlp_only_layers"] = .array((0..<layers).filter { !metadata.has("blk.\($0).ffn_gate_inp.weight") }.map { JSON.int($0) })
    }

    /// Gemma's scale of scores, and its caps.
    fileprivate mutating func setGemmaScale(_ metadata: GGUFMetadata, isLargest: Bool) throws {
        let heads = try metadata.int("attention.head_count")
        guard heads > 0 else { throw metadata.wrong("attention.head_count", expected: "at least 1", nil) }
        let width = try metadata.int("embedding_length") / heads
        let scalar = isLargest ? width : try metadata.int("attention.key_length", default: width)
        self["query_pre_attn_scalar"] = .int(metadata.value("attention.scale") == nil ? scalar : try metadata.squaredInverse("attention.scale"))
        for (key, source) in [("attn_logit_softcapping", "attn_logit_softcapping"), ("final_logit_softcapping", "final_logit_softcapping")] {
            self[key] = metadata.value(source) == nil ? .null : .double(try metadata.double(source))
        }
        self["hidden_activation"] = "gelu_pytorch_tanh"
    }
}

extension [String: String] {
    /// Tensors of LLaMA-shaped families.
    fileprivate static func llamaShaped() -> [String: String] {
        var names = ["token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight", "output.weight": "lm_head.weight",
                     "blk.{i}.attn_norm.weight": "layers.{i}.input_layernorm.weight", "blk.{i}.ffn_norm.weight": "layers.{i}.post_attention_layernorm.weight",
                     "blk.{i}.attn_q_norm.weight": "layers.{i}.self_attn.q_norm.weight", "blk.{i}.attn_k_norm.weight": "layers.{i}.self_attn.k_norm.weight"]
        for end in ["weight", "bias"] {
            for (name, source) in [("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
                                   ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj")] {
                names["blk.{i}.\(name).\(end)"] = "layers.{i}.\(source).\(end)"
            }
        }
        return names
    }

    /// Those of Qwen's with experts.
    fileprivate static func qwenExperts() -> [String: String] {
        let mlp = "layers.{i}.mlp"
        var names = llamaShaped()
        names["blk.{i}.ffn_gate_inp.weight"] = "\(mlp).gate.weight"
        names["blk.{i}.ffn_gate_inp_shexp.weight"] = "\(mlp).shared_expert_gate.weight"
        for (name, source) in [("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")] {
            names["blk.{i}.ffn_\(name)_exps.weight"] = "\(mlp).experts.{e}.\(source).weight"
            names["blk.{i}.ffn_\(name)_shexp.weight"] = "\(mlp).shared_expert.\(source).weight"
        }
        return names
    }

    fileprivate static let phi2: [String: String] = both([
        ("output_norm", "final_layernorm"), ("output", "lm_head"), ("blk.{i}.attn_norm", "layers.{i}.input_layernorm"),
        ("blk.{i}.attn_q", "layers.{i}.self_attn.q_proj"), ("blk.{i}.attn_k", "layers.{i}.self_attn.k_proj"), ("blk.{i}.attn_v", "layers.{i}.self_attn.v_proj"),
        ("blk.{i}.attn_output", "layers.{i}.self_attn.dense"), ("blk.{i}.ffn_up", "layers.{i}.mlp.fc1"), ("blk.{i}.ffn_down", "layers.{i}.mlp.fc2"),
    ]).merging(["token_embd.weight": "embed_tokens.weight"]) { $1 }

    fileprivate static let gpt2: [String: String] = both([
        ("output_norm", "ln_f"), ("blk.{i}.attn_norm", "h.{i}.ln_1"), ("blk.{i}.attn_qkv", "h.{i}.attn.c_attn"), ("blk.{i}.attn_output", "h.{i}.attn.c_proj"),
        ("blk.{i}.ffn_norm", "h.{i}.ln_2"), ("blk.{i}.ffn_up", "h.{i}.mlp.c_fc"), ("blk.{i}.ffn_down", "h.{i}.mlp.c_proj"),
    ]).merging(["token_embd.weight": "wte.weight", "position_embd.weight": "wpe.weight", "output.weight": "lm_head.weight"]) { $1 }

    /// Weights and biases of modules.
    private static func both(_ modules: [(String, String)]) -> [String: String] {
        var names: [String: String] = [:]
        for (name, source) in modules {
            for end in ["weight", "bias"] { names["\(name).\(end)"] = "\(source).\(end)" }
        }
        return names
    }
}
