// Cohere's Command R (2024) and Command R7B, Command A and Aya 2 (Cohere 2).
// Quirks: attention and MLP side by side behind one layer norm without bias, which is ln1 and ln2 here; rotation of adjacent
// pairs; logits times a factor; in some models norms of queries and keys with weights for each head. Cohere 2 has windows in
// three layers of four, and rotates only there.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let cohere = Architecture(
        family: "cohere",
        huggingFaceNames: ["CohereForCausalLM", "CohereModel"],
        modelType: "cohere",
        config: { reader in
            var config = try reader.cohereShaped(defaultBase: 500_000)
            if try reader.bool("use_qk_norm", default: false) {
                config.attention.qkNorm = config.norm
                config.attention.qkNormSpan = .headWithOwnWeights
            }
            return config
        },
        ignoredKeys: ["attention_dropout", "model_max_length"],
        prefixes: ["model.", ""],
        weights: WeightRule.cohereShaped,
        ignoredTensors: WeightRule.rotaryBuffers)

    static let cohere2 = Architecture(
        family: "cohere2",
        huggingFaceNames: ["Cohere2ForCausalLM", "Cohere2Model"],
        modelType: "cohere2",
        config: { reader in
            var config = try reader.cohereShaped(defaultBase: 10_000)
            // Older files spell out what the architecture is; Hugging Face reads none of it.
            for (key, value) in [("position_embedding_type", JSON.string("rope_gptj")), ("rotary_pct", 1.0), ("use_parallel_block", true),
                                 ("use_gated_activation", true)] { try reader.require(key, value) }
            let pattern = try reader.int("sliding_window_pattern", default: 4)
            guard pattern > 0 else { throw reader.invalid("sliding_window_pattern", expected: "at least 1") }
            let size = reader.isNull("sliding_window") ? nil : try reader.int("sliding_window", default: 4096)
            config.attention.window = try reader.slidingWindow(size, layers: config.nLayers) { ($0 + 1) % pattern != 0 }
            config.attention.rotatedLayers = config.attention.window?.isLocal ?? [false]
            return config
        },
        ignoredKeys: ["attention_dropout", "cache_implementation", "_sliding_window_pattern", "order_of_interleaved_layers", "layer_switch",
                      "use_embedding_sharing", "use_parallel_embedding"],
        prefixes: ["model.", ""],
        weights: WeightRule.cohereShaped,
        ignoredTensors: WeightRule.rotaryBuffers)
}

extension ConfigReader {
    fileprivate func cohereShaped(defaultBase: Double) throws -> ModelConfig {
        var shape = LlamaShape(dModel: 8192, width: 22528, layers: 40, heads: 64, vocabulary: 256_000, positions: 8192, eps: 1e-5, tiesEmbeddings: true)
        shape.epsKey = "layer_norm_eps"
        var config = try llamaShaped(shape) { width in
            var rotary = try self.rotary(dim: width, defaultBase: defaultBase)
            rotary.adjacentPairs = true
            return rotary
        }
        config.norm = config.norm.map { .init(.layer, eps: $0.eps, hasBias: false) }
        config.finalNorm = config.norm
        config.parallelAttnMLP = true
        config.attention.hasBiases = try bool("attention_bias", default: false)
        config.mlp?.hasBiases = false
        config.unembedScale = has("logit_scale") ? try positive("logit_scale") : 0.0625
        return config
    }
}

extension WeightRule {
    fileprivate static func cohereShaped(_ config: ModelConfig) -> [WeightRule] {
        let norms = [("blocks.{i}.ln1", "layers.{i}.input_layernorm"), ("blocks.{i}.ln2", "layers.{i}.input_layernorm"), ("ln_final", "norm")]
        return llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + llamaMLP
            + norms.flatMap { layerNorm($0, from: $1) } + (config.attention.qkNorm == nil ? [] : headNorms(isLayerNorm: true))
            + embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
    }
}
