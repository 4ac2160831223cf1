// Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al., 2023; Li et al., 2023).
// Quirks: attention and MLP side by side behind one norm, which is ln1 and ln2 here; rotation of a part of each head; biases
// everywhere, the output included; layer norms of queries and keys where switched on.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let phi = Architecture(
        family: "phi",
        huggingFaceNames: ["PhiForCausalLM", "PhiModel"],
        modelType: "phi",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 2048), heads = try reader.int("num_attention_heads", default: 32)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let dHead = try reader.int("head_dim", default: dModel / heads)
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 8192),
                                      activation: try reader.activation("hidden_act", default: "gelu_new"))
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 24), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 2048), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: try reader.keyValueHeads(heads), dVocab: try reader.int("vocab_size", default: 51200),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_eps", default: 1e-5)), mlp: mlp,
                                     position: .rotary(try reader.rotary(dim: dHead, defaultFactor: 0.5)),
                                     attention: .init(scale: Double(dHead).squareRoot()))
            if try reader.bool("qk_layernorm", default: false) { config.attention.qkNorm = config.norm }
            config.parallelAttnMLP = true
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["attention_dropout", "embd_pdrop", "resid_pdrop"],
        prefixes: ["model.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .linear("blocks.{i}.mlp.W_in", from: "layers.{i}.mlp.fc1.weight"), .plain("blocks.{i}.mlp.b_in", from: "layers.{i}.mlp.fc1.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.fc2.weight"), .plain("blocks.{i}.mlp.b_out", from: "layers.{i}.mlp.fc2.bias"),
                .plain("unembed.b_U", from: "lm_head.bias"),
            ]
            rules += WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "dense"], output: "dense")
            if config.attention.qkNorm != nil { rules += WeightRule.headNorms("layernorm", isLayerNorm: true) }
            for norm in ["ln1", "ln2"] { rules += WeightRule.layerNorm("blocks.{i}.\(norm)", from: "layers.{i}.input_layernorm") }
            rules += WeightRule.layerNorm("ln_final", from: "final_layernorm")
            return rules + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
