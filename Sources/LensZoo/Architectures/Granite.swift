// IBM's Granite 3 (Granite Team, 2024), dense.
// Quirks: LLaMA's shape with a factor on the embeddings, on what attention and MLP write, on scores and on logits.

import LensFiles
import LensModel

extension Architecture {
    static let granite = Architecture(
        family: "granite",
        huggingFaceNames: ["GraniteForCausalLM", "GraniteModel"],
        modelType: "granite",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 11008, layers: 32, heads: 32, vocabulary: 32000, positions: 2048, eps: 1e-6))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            func factor(_ key: String) throws -> Double { reader.has(key) ? try reader.positive(key) : 1 }
            config.attention.scale = 1 / (try factor("attention_multiplier"))
            config.residualScale = try factor("residual_multiplier")
            config.unembedScale = 1 / (try factor("logits_scaling"))
            config.tiedEmbeddingScale = try factor("embedding_multiplier")
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
