// Falcon 7B, 40B and 180B (Almazrouei et al., 2023).
// Quirks: attention and MLP side by side behind one norm or two; queries fused with one head of keys and values, or with one
// for each group. Its oldest models (RW) bias scores by key positions, rounded to bfloat16 as they are computed.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let falcon = Architecture(
        family: "falcon",
        huggingFaceNames: ["FalconForCausalLM", "FalconModel", "RWForCausalLM"],
        modelType: "falcon",
        config: { reader in
            let dModel = try reader.int(reader.has("n_embed") ? "n_embed" : "hidden_size", default: 4544)
            let heads = try reader.int("num_attention_heads", default: 71)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let dHead = dModel / heads, isNew = try reader.bool("new_decoder_architecture", default: false)
            let isParallel = try reader.bool("parallel_attn", default: true)
            guard isParallel || !isNew else { throw reader.invalid("parallel_attn", expected: "true with new_decoder_architecture") }
            try reader.require("apply_residual_connection_post_layernorm", false)
            let sharesKeys = try reader.bool("multi_query", default: true), groups = try reader.int("num_kv_heads", default: heads)
            let kvHeads = isNew ? groups : sharesKeys ? 1 : heads
            let isBiased = try reader.bool("alibi", default: false), rotary = try reader.rotary(dim: dHead)
            let position: ModelConfig.Position = isBiased ? .alibi(.roundedKeys) : .rotary(rotary)
            let mlp = ModelConfig.MLP(width: try reader.int("ffn_hidden_size", default: 4 &* dModel),
                                      activation: try reader.activation("activation", default: "gelu"))
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 32), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 2048), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: kvHeads == heads ? nil : kvHeads, dVocab: try reader.int("vocab_size", default: 65024),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)), mlp: mlp,
                                     position: position, attention: .init(scale: Double(dHead).squareRoot()))
            config.parallelAttnMLP = isParallel
            let norms = try reader.int("num_ln_in_parallel_attn", default: isNew ? 2 : 1)
            guard norms == 1 || (norms == 2 && isNew) else {
                throw reader.invalid("num_ln_in_parallel_attn", expected: "1, or 2 with new_decoder_architecture")
            }
            config.attention.hasBiases = try reader.bool("bias", default: false)
            config.mlp?.hasBiases = config.attention.hasBiases
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["hidden_size", "hidden_dropout", "attention_dropout"],
        prefixes: ["transformer.", ""],
        weights: { config in
            let attention = "h.{i}.self_attention"
            var rules: [WeightRule] = [
                .linear("blocks.{i}.attn.W_O", from: "\(attention).dense.weight"), .plain("blocks.{i}.attn.b_O", from: "\(attention).dense.bias"),
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.dense_h_to_4h.weight"), .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.dense_h_to_4h.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.dense_4h_to_h.weight"), .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.dense_4h_to_h.bias"),
            ]
            rules += WeightRule.fusedHeads(config, from: "\(attention).query_key_value")
            // Side by side there are two norms, or one for both.
            let names = config.parallelAttnMLP ? ["ln_attn", "ln_mlp"] : ["input_layernorm", "post_attention_layernorm"]
            for (parameter, name) in zip(["ln1", "ln2"], names) {
                for (part, file) in [("w", "weight"), ("b", "bias")] {
                    let rule = WeightRule.plain("blocks.{i}.\(parameter).\(part)", from: "h.{i}.\(name).\(file)")
                    rules.append(config.parallelAttnMLP ? rule.or("h.{i}.input_layernorm.\(file)") : rule)
                }
            }
            rules += WeightRule.layerNorm("ln_final", from: "ln_f")
            return rules + WeightRule.embeddings("word_embeddings.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.self_attention.rotary_emb.inv_freq"])
}
