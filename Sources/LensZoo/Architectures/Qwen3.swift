// Qwen 3 (Yang et al., 2025), dense.
// Quirks: LLaMA's shape with RMS norms on each head's queries and keys before they are rotated; heads wider than
// d_model / n_heads.

import LensFiles
import LensModel

extension Architecture {
    static let qwen3 = Architecture(
        family: "qwen3",
        huggingFaceNames: ["Qwen3ForCausalLM", "Qwen3Model"],
        modelType: "qwen3",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 22016, layers: 32, heads: 32, kvHeads: 32, dHead: 128,
                                                           vocabulary: 151_936, positions: 32768, eps: 1e-6))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            config.attention.qkNorm = config.norm
            config.attention.window = try reader.qwenWindow(layers: config.nLayers)
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            WeightRule.llamaShaped(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + [
                .plain("blocks.{i}.attn.q_norm.w", from: "layers.{i}.self_attn.q_norm.weight"),
                .plain("blocks.{i}.attn.k_norm.w", from: "layers.{i}.self_attn.k_norm.weight"),
            ]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
