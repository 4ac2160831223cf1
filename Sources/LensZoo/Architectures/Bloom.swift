// BLOOM (BigScience, 2022).
// Quirks: biases by distance instead of positions; a norm of the embeddings; queries, keys and values fused head by head.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let bloom = Architecture(
        family: "bloom",
        huggingFaceNames: ["BloomForCausalLM", "BloomModel"],
        modelType: "bloom",
        config: { reader in
            // Older names of three keys.
            let dModel = try reader.int(reader.has("n_embed") ? "n_embed" : "hidden_size", default: 64)
            let heads = try reader.int(reader.has("num_attention_heads") ? "num_attention_heads" : "n_head", default: 8)
            let layers = try reader.int(reader.has("num_hidden_layers") ? "num_hidden_layers" : "n_layer", default: 2)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_head", expected: "a divisor of hidden_size \(dModel)") }
            try reader.require("apply_residual_connection_post_layernorm", false)
            try reader.require("n_inner", .int(4 &* dModel))
            let norm = ModelConfig.Norm(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5))
            var config = ModelConfig(nLayers: layers, dModel: dModel, nCtx: try reader.int("seq_length", default: 2048), nHeads: heads,
                                     dHead: dModel / heads, dVocab: try reader.int("vocab_size", default: 250_880), norm: norm,
                                     mlp: .init(width: 4 &* dModel, activation: .geluFast), position: .alibi(.interpolated),
                                     attention: .init(scale: Double(dModel / heads).squareRoot()))
            config.embedNorm = norm
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["hidden_size", "n_head", "n_layer", "hidden_dropout", "attention_dropout", "slow_but_exact", "attention_softmax_in_fp32",
                      "bias_dropout_fusion", "masked_softmax_fusion", "offset_alibi", "skip_bias_add", "skip_bias_add_qkv"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .linear("blocks.{i}.attn.W_O", from: "h.{i}.self_attention.dense.weight"),
                .plain("blocks.{i}.attn.b_O", from: "h.{i}.self_attention.dense.bias"),
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.dense_h_to_4h.weight"),
                .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.dense_h_to_4h.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.dense_4h_to_h.weight"),
                .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.dense_4h_to_h.bias"),
            ]
            rules += WeightRule.fusedHeads(config, from: "h.{i}.self_attention.query_key_value")
            rules += WeightRule.layerNorm("embed.ln", from: "word_embeddings_layernorm")
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "h.{i}.input_layernorm")
            rules += WeightRule.layerNorm("blocks.{i}.ln2", from: "h.{i}.post_attention_layernorm")
            rules += WeightRule.layerNorm("ln_final", from: "ln_f")
            return rules + WeightRule.embeddings("word_embeddings.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: [])
}
