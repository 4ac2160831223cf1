// StarCoder2 (Lozhkov et al., 2024).
// Quirks: LLaMA's attention, with biases everywhere, layer norms and a plain MLP; a window where `sliding_window` is a number.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let starCoder2 = Architecture(
        family: "starcoder2",
        huggingFaceNames: ["Starcoder2ForCausalLM", "Starcoder2Model"],
        modelType: "starcoder2",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 3072), heads = try reader.int("num_attention_heads", default: 24)
            guard heads > 0 else { throw reader.invalid("num_attention_heads", expected: "at least 1") }
            let dHead = try reader.int("head_dim", default: dModel / heads)
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 12288),
                                      activation: try reader.activation("hidden_act", default: "gelu_pytorch_tanh"))
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 30), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 4096), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: try reader.keyValueHeads(heads, default: 2),
                                     dVocab: try reader.int("vocab_size", default: 49152),
                                     norm: .init(.layer, eps: try reader.double("norm_epsilon", default: 1e-5)), mlp: mlp,
                                     position: .rotary(try reader.rotary(dim: dHead)), attention: .init(scale: Double(dHead).squareRoot()))
            if reader.has("sliding_window") { config.attention.window = .init(size: try reader.int("sliding_window")) }
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            config.attention.hasBiases = try reader.bool("use_bias", default: true)
            config.mlp?.hasBiases = config.attention.hasBiases
            // Older files say so; Hugging Face reads neither, and always has these.
            try reader.require("norm_type", "layer_norm")
            try reader.require("mlp_type", "default")
            return config
        },
        ignoredKeys: ["attention_dropout", "residual_dropout", "embedding_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            var rules = WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"])
            for (projection, name) in [("c_fc", "in"), ("c_proj", "out")] {
                rules.append(.linear("blocks.{i}.mlp.W_\(name)", from: "layers.{i}.mlp.\(projection).weight"))
                rules.append(.plain("blocks.{i}.mlp.b_\(name)", from: "layers.{i}.mlp.\(projection).bias"))
            }
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "layers.{i}.input_layernorm")
            rules += WeightRule.layerNorm("blocks.{i}.ln2", from: "layers.{i}.post_attention_layernorm")
            rules += WeightRule.layerNorm("ln_final", from: "norm")
            return rules + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
