// Apertus (Swiss AI Initiative, 2025).
// Quirks: LLaMA's attention with RMS norms on each head's queries and keys, and a plain MLP with xIELU, whose curve each layer
// has learned.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let apertus = Architecture(
        family: "apertus",
        huggingFaceNames: ["ApertusForCausalLM", "ApertusModel"],
        modelType: "apertus",
        config: { reader in
            let shape = LlamaShape(dModel: 4096, width: 14336, layers: 32, heads: 32, vocabulary: 131_072, positions: 65536, eps: 1e-5, activation: "xielu")
            var config = try reader.llamaShaped(shape) { width in
                guard reader.has("rope_parameters") || reader.has("rope_scaling") else {
                    return Rotary(dim: width, base: try reader.double("rope_theta", default: 12_000_000),
                                  scaling: .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 8192))
                }
                return try reader.rotary(dim: width, defaultBase: 12_000_000)
            }
            config.mlp?.gate = nil
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            config.attention.qkNorm = config.norm
            for (key, value) in [("mlp_bias", JSON.bool(false)), ("qk_norm", true), ("post_norm", false)] { try reader.require(key, value) }
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("blocks.{i}.ln1.w", from: "layers.{i}.attention_layernorm.weight"), .plain("blocks.{i}.ln2.w", from: "layers.{i}.feedforward_layernorm.weight"),
                .plain("ln_final.w", from: "norm.weight"),
                .linear("blocks.{i}.mlp.W_in", from: "layers.{i}.mlp.up_proj.weight"), .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.down_proj.weight"),
            ]
            if config.mlp?.activation == .xielu {
                for name in ["alpha_p", "alpha_n", "beta", "eps"] { rules.append(.plain("blocks.{i}.mlp.act_fn.\(name)", from: "layers.{i}.mlp.act_fn.\(name)")) }
            }
            return rules + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + WeightRule.headNorms()
                + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
