// StableLM 2 and StableLM-3B (Bellagente et al., 2024).
// Quirks: LLaMA's shape with layer norms; rotation of a part of each head; attention and MLP may stand side by side behind
// one norm, which is ln1 and ln2 here; in its 12B model norms of queries and keys, one for each head in a tensor of its own.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let stableLM = Architecture(
        family: "stablelm",
        huggingFaceNames: ["StableLmForCausalLM", "StableLmModel"],
        modelType: "stablelm",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 2560), heads = try reader.int("num_attention_heads", default: 32)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let dHead = dModel / heads
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 6912),
                                      activation: try reader.activation("hidden_act", default: "silu"), gate: .biasOnEach)
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 32), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 4096), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: try reader.keyValueHeads(heads, default: 32),
                                     dVocab: try reader.int("vocab_size", default: 50304),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_eps", default: 1e-5)), mlp: mlp,
                                     position: .rotary(try reader.rotary(dim: dHead, defaultFactor: 0.25)),
                                     attention: .init(scale: Double(dHead).squareRoot()))
            if try reader.bool("qk_layernorm", default: false) {
                config.attention.qkNorm = .init(.layer, eps: config.norm?.eps ?? 1e-5, hasBias: false)
                config.attention.qkNormSpan = .headWithOwnWeights
            }
            config.parallelAttnMLP = try reader.bool("use_parallel_residual", default: false)
            config.attention.hasBiases = try reader.bool("use_qkv_bias", default: false)
            config.mlp?.hasBiases = false
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            return config
        },
        ignoredKeys: ["attention_dropout", "hidden_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            let second = config.parallelAttnMLP ? "input_layernorm" : "post_attention_layernorm"
            let headNorms = config.attention.qkNorm == nil ? [] : WeightRule.headNorms("layernorm.norms.{h}", isLayerNorm: true)
            return WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj"]) + WeightRule.llamaMLP + headNorms
                + WeightRule.layerNorm("blocks.{i}.ln1", from: "layers.{i}.input_layernorm")
                + WeightRule.layerNorm("blocks.{i}.ln2", from: "layers.{i}.\(second)") + WeightRule.layerNorm("ln_final", from: "norm")
                + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
