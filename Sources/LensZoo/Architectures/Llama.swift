// LLaMA 1 to 3.3 (Touvron et al., 2023) and models of its shape: CodeLlama, Yi, Vicuna, TinyLlama, …
// Quirks: grouped keys and values; a head width that need not be d_model / n_heads; LLaMA 3.1's stretched rotary frequencies.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let llama = Architecture(
        family: "llama",
        huggingFaceNames: ["LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"],
        modelType: "llama",
        config: { reader in
            let dModel = try reader.int("hidden_size"), heads = try reader.int("num_attention_heads")
            guard heads > 0 else { throw reader.invalid("num_attention_heads", expected: "at least 1") }
            let dHead = try reader.int("head_dim", default: dModel / heads)
            let kvHeads = try reader.int("num_key_value_heads", default: heads)
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size"),
                                      activation: try reader.activation("hidden_act", default: "silu"), gate: .biasOnEach)
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers"), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 2048), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: kvHeads == heads ? nil : kvHeads, dVocab: try reader.int("vocab_size"),
                                     norm: .init(.rms, eps: try reader.double("rms_norm_eps", default: 1e-6)), mlp: mlp,
                                     position: .rotary(try reader.rotary(dim: dHead)),
                                     attention: .init(scale: Double(dHead).squareRoot()))
            // Whether biases exist is read from the checkpoint; these keys must only be understood.
            _ = (try reader.bool("attention_bias", default: false), try reader.bool("mlp_bias", default: false))
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            return config
        },
        ignoredKeys: ["attention_dropout", "rope_interleaved"],
        prefixes: ["model.", ""],
        weights: { config in
            let raw = config.nKeyValueHeads == nil ? "" : "_"
            let rules: [WeightRule] = [
                .plain("blocks.{i}.ln1.w", from: "layers.{i}.input_layernorm.weight"),
                .linear("blocks.{i}.attn.W_Q", from: "layers.{i}.self_attn.q_proj.weight"),
                .linear("blocks.{i}.attn.\(raw)W_K", from: "layers.{i}.self_attn.k_proj.weight"),
                .linear("blocks.{i}.attn.\(raw)W_V", from: "layers.{i}.self_attn.v_proj.weight"),
                .linear("blocks.{i}.attn.W_O", from: "layers.{i}.self_attn.o_proj.weight"),
                .plain("blocks.{i}.attn.b_Q", from: "layers.{i}.self_attn.q_proj.bias"),
                .plain("blocks.{i}.attn.\(raw)b_K", from: "layers.{i}.self_attn.k_proj.bias"),
                .plain("blocks.{i}.attn.\(raw)b_V", from: "layers.{i}.self_attn.v_proj.bias"),
                .plain("blocks.{i}.attn.b_O", from: "layers.{i}.self_attn.o_proj.bias"),
                .plain("blocks.{i}.ln2.w", from: "layers.{i}.post_attention_layernorm.weight"),
                .linear("blocks.{i}.mlp.W_gate", from: "layers.{i}.mlp.gate_proj.weight"),
                .linear("blocks.{i}.mlp.W_in", from: "layers.{i}.mlp.up_proj.weight"),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.down_proj.weight"),
                .plain("blocks.{i}.mlp.b_gate", from: "layers.{i}.mlp.gate_proj.bias"),
                .plain("blocks.{i}.mlp.b_in", from: "layers.{i}.mlp.up_proj.bias"),
                .plain("blocks.{i}.mlp.b_out", from: "layers.{i}.mlp.down_proj.bias"),
                .plain("ln_final.w", from: "norm.weight"),
            ]
            return rules + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["layers.*.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"])
}
