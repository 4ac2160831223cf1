// OLMo 2 (OLMo Team, 2024) and OLMo 3 (OLMo Team, 2025).
// Quirks: LLaMA's shape with norms on what attention and MLP write and none on what they read, and one norm over all heads'
// queries, one over all keys; in OLMo 3 windows in three layers of four, and YaRN in the others.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let olmo2 = Architecture(
        family: "olmo2",
        huggingFaceNames: ["Olmo2ForCausalLM", "Olmo2Model"],
        modelType: "olmo2",
        config: { reader in try reader.olmo2Shaped() },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: WeightRule.olmo2Shaped,
        ignoredTensors: WeightRule.rotaryBuffers)

    static let olmo3 = Architecture(
        family: "olmo3",
        huggingFaceNames: ["Olmo3ForCausalLM", "Olmo3Model"],
        modelType: "olmo3",
        config: { reader in
            var local: Rotary?
            var config = try reader.olmo2Shaped { width in
                let (global, windowed) = try reader.rotariesByLayer(dim: width, base: 500_000, localBase: 500_000)
                local = windowed
                return global
            }
            config.attention.localRotary = local
            let size = reader.isNull("sliding_window") ? nil : try reader.int("sliding_window", default: 4096)
            config.attention.window = try reader.slidingWindow(size, layers: config.nLayers) { ($0 + 1) % 4 != 0 }
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: WeightRule.olmo2Shaped,
        ignoredTensors: WeightRule.rotaryBuffers)
}

extension ConfigReader {
    fileprivate func olmo2Shaped(rotary: ((Int) throws -> Rotary)? = nil) throws -> ModelConfig {
        var config = try llamaShaped(LlamaShape(dModel: 4096, width: 11008, layers: 32, heads: 32, vocabulary: 50304, positions: 2048, eps: 1e-5),
                                     rotary: rotary)
        config.attention.hasBiases = try bool("attention_bias", default: false)
        config.normPlacement = .onOutput
        config.attention.qkNorm = config.norm
        config.attention.qkNormSpan = .allHeads
        return config
    }
}

extension WeightRule {
    fileprivate static func olmo2Shaped(_ config: ModelConfig) -> [WeightRule] {
        llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + llamaMLP + headNorms() + [
            .plain("blocks.{i}.ln1.w", from: "layers.{i}.post_attention_layernorm.weight"),
            .plain("blocks.{i}.ln2.w", from: "layers.{i}.post_feedforward_layernorm.weight"), .plain("ln_final.w", from: "norm.weight"),
        ] + embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
    }
}
