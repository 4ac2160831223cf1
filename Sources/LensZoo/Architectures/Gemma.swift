// Gemma, Gemma 2 and the text models of Gemma 3 (Gemma Team, 2024 and 2025).
// Quirks: norm weights kept less one; embeddings times √d_model; from Gemma 2 on norms after attention and MLP too, and
// alternating windows; soft caps in Gemma 2; norms of queries and keys and a rotation of its own in windowed layers in Gemma 3.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gemma = Architecture(
        family: "gemma",
        huggingFaceNames: ["GemmaForCausalLM", "GemmaModel"],
        modelType: "gemma",
        config: { reader in
            var config = try reader.gemmaShaped(LlamaShape(dModel: 3072, width: 24576, layers: 28, heads: 16, kvHeads: 16, dHead: 256,
                                                           vocabulary: 256_000, positions: 8192, eps: 1e-6))
            // Released files say gelu and mean its approximation, as Hugging Face reads them.
            if config.mlp?.activation == .gelu { config.mlp?.activation = .geluNew }
            return config
        },
        ignoredKeys: ["attention_dropout", "hidden_activation"],
        prefixes: ["model.", ""],
        weights: { WeightRule.gemmaShaped($0, norms: ["ln1": "input_layernorm", "ln2": "post_attention_layernorm"]) },
        ignoredTensors: WeightRule.rotaryBuffers)

    static let gemma2 = Architecture(
        family: "gemma2",
        huggingFaceNames: ["Gemma2ForCausalLM", "Gemma2Model"],
        modelType: "gemma2",
        config: { reader in
            var shape = LlamaShape(dModel: 2304, width: 9216, layers: 26, heads: 8, kvHeads: 4, dHead: 256, vocabulary: 256_000,
                                   positions: 8192, eps: 1e-6)
            shape.activationKey = "hidden_activation"
            var config = try reader.gemmaShaped(shape)
            try reader.readGemma2(&config, scoreCap: 50, logitCap: 30) { $0 % 2 == 0 }
            return config
        },
        ignoredKeys: ["attention_dropout", "hidden_act", "cache_implementation", "sliding_window_size"],
        prefixes: ["model.", ""],
        weights: { WeightRule.gemmaShaped($0, norms: WeightRule.gemma2Norms) },
        ignoredTensors: WeightRule.rotaryBuffers)

    static let gemma3 = Architecture(
        family: "gemma3",
        huggingFaceNames: ["Gemma3ForCausalLM", "Gemma3TextModel"],
        modelType: "gemma3_text",
        config: { reader in
            var shape = LlamaShape(dModel: 2304, width: 9216, layers: 26, heads: 8, kvHeads: 4, dHead: 256, vocabulary: 262_208,
                                   positions: 131_072, eps: 1e-6)
            shape.activationKey = "hidden_activation"
            var local: Rotary?
            var config = try reader.gemmaShaped(shape) { width in
                let (global, windowed) = try reader.rotariesByLayer(dim: width, base: 1_000_000, localBase: reader.double("rope_local_base_freq", default: 10_000))
                local = windowed
                return global
            }
            config.attention.localRotary = local
            config.attention.qkNorm = config.norm
            let pattern = try reader.int("sliding_window_pattern", default: 6)
            guard pattern > 0 else { throw reader.invalid("sliding_window_pattern", expected: "at least 1") }
            try reader.readGemma2(&config, scoreCap: nil, logitCap: nil) { ($0 + 1) % pattern != 0 }
            return config
        },
        ignoredKeys: ["attention_dropout", "hidden_act", "cache_implementation", "_sliding_window_pattern"],
        prefixes: ["model.", ""],
        weights: { config in
            WeightRule.gemmaShaped(config, norms: WeightRule.gemma2Norms) + ["q", "k"].map {
                WeightRule.plain("blocks.{i}.attn.\($0)_norm.w", from: "layers.{i}.self_attn.\($0)_norm.weight").changed(.plusOne)
            }
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}

extension ConfigReader {
    /// What all Gemmas share: LLaMA's shape with scaled, tied embeddings.
    fileprivate func gemmaShaped(_ shape: LlamaShape, rotary: ((Int) throws -> Rotary)? = nil) throws -> ModelConfig {
        var shape = shape
        shape.activation = "gelu_pytorch_tanh"
        shape.tiesEmbeddings = true
        try require("use_bidirectional_attention", false)
        var config = try llamaShaped(shape, rotary: rotary)
        config.attention.hasBiases = try bool("attention_bias", default: false)
        if config.tiesEmbeddings { config.tiedEmbeddingScale = Double(config.dModel).squareRoot() }
        return config
    }

    /// What Gemma 2 added: norms after, caps, windows, and a scale of its own.
    fileprivate func readGemma2(_ config: inout ModelConfig, scoreCap: Double?, logitCap: Double?, isLocal: (Int) -> Bool) throws {
        config.outputNorm = config.norm
        config.attention.scale = Double(try int("query_pre_attn_scalar", default: 256)).squareRoot()
        config.attention.softcap = try cap("attn_logit_softcapping", default: scoreCap)
        config.outputSoftcap = try cap("final_logit_softcapping", default: logitCap)
        let size = isNull("sliding_window") ? nil : try int("sliding_window", default: 4096)
        config.attention.window = try slidingWindow(size, layers: config.nLayers, isLocal: isLocal)
    }

    /// A cap; null is none, an absent one the default.
    private func cap(_ key: String, default fallback: Double?) throws -> Double? {
        guard has(key) else { return isNull(key) ? nil : fallback }
        return try double(key)
    }
}

extension WeightRule {
    fileprivate static let gemma2Norms = ["ln1": "input_layernorm", "ln1_post": "post_attention_layernorm",
                                          "ln2": "pre_feedforward_layernorm", "ln2_post": "post_feedforward_layernorm"]

    /// LLaMA's tensors, with norms kept less one and embeddings that the model scales.
    fileprivate static func gemmaShaped(_ config: ModelConfig, norms: [String: String]) -> [WeightRule] {
        let places = norms.sorted { $0.key < $1.key }.map { ("blocks.{i}.\($0.key).w", "layers.{i}.\($0.value).weight") } + [("ln_final.w", "norm.weight")]
        return places.map { WeightRule.plain($0, from: $1).changed(.plusOne) } + llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + llamaMLP
            + embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings, scale: Double(config.dModel).squareRoot())
    }
}
