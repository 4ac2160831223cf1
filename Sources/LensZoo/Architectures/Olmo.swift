// OLMo 1 (Groeneveld et al., 2024), as converted for Hugging Face.
// Quirks: LLaMA's shape with layer norms that have neither weight nor bias; queries, keys and values clipped in OLMo 7B.

import LensFiles
import LensModel

extension Architecture {
    static let olmo = Architecture(
        family: "olmo",
        huggingFaceNames: ["OlmoForCausalLM", "OlmoModel"],
        modelType: "olmo",
        config: { reader in
            // The epsilon is fixed: no key says it.
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 11008, layers: 32, heads: 32, vocabulary: 50304,
                                                           positions: 2048, eps: 1e-5))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            config.norm = .init(.layer, eps: 1e-5, hasWeights: false)
            config.finalNorm = config.norm
            config.attention.clip = reader.has("clip_qkv") ? try reader.positive("clip_qkv") : nil
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + WeightRule.llamaMLP
                + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
