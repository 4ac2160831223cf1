// GPT-NeoX-20B (Black et al., 2022), Pythia (Biderman et al., 2023) and StableLM-alpha.
// Quirks: queries, keys and values fused head by head; rotation of a part of each head; attention and MLP side by side,
// each with its own norm, or one after the other.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gptNeoX = Architecture(
        family: "gpt_neox",
        huggingFaceNames: ["GPTNeoXForCausalLM", "GPTNeoXModel"],
        modelType: "gpt_neox",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 6144), heads = try reader.int("num_attention_heads", default: 64)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let dHead = dModel / heads
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 24576),
                                      activation: try reader.activation("hidden_act", default: "gelu"))
            let rotary = try reader.rotary(dim: dHead, baseKey: "rotary_emb_base", factorKey: "rotary_pct", defaultFactor: 0.25)
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 44), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 2048), nHeads: heads, dHead: dHead,
                                     dVocab: try reader.int("vocab_size", default: 50432),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_eps", default: 1e-5)), mlp: mlp,
                                     position: .rotary(rotary), attention: .init(scale: Double(dHead).squareRoot()))
            config.parallelAttnMLP = try reader.bool("use_parallel_residual", default: true)
            config.attention.hasBiases = try reader.bool("attention_bias", default: true)
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["attention_dropout", "hidden_dropout", "classifier_dropout", "attention_probs_dropout_prob", "hidden_dropout_prob"],
        prefixes: ["gpt_neox.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .linear("blocks.{i}.attn.W_O", from: "layers.{i}.attention.dense.weight"),
                .plain("blocks.{i}.attn.b_O", from: "layers.{i}.attention.dense.bias"),
                .linear("blocks.{i}.mlp.W_in", from: "layers.{i}.mlp.dense_h_to_4h.weight"),
                .plain("blocks.{i}.mlp.b_in", from: "layers.{i}.mlp.dense_h_to_4h.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.dense_4h_to_h.weight"),
                .plain("blocks.{i}.mlp.b_out", from: "layers.{i}.mlp.dense_4h_to_h.bias"),
            ]
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "layers.{i}.input_layernorm")
            rules += WeightRule.layerNorm("blocks.{i}.ln2", from: "layers.{i}.post_attention_layernorm")
            rules += WeightRule.layerNorm("ln_final", from: "final_layer_norm")
            rules += WeightRule.fusedHeads(config, from: "layers.{i}.attention.query_key_value")
            return rules + WeightRule.embeddings("embed_in.weight", head: "embed_out.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["layers.*.attention.bias", "layers.*.attention.masked_bias", "layers.*.attention.rotary_emb.inv_freq", "rotary_emb.inv_freq"])
}
