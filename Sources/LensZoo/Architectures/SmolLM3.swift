// SmolLM3 (Hugging Face, 2025).
// Quirks: LLaMA's shape; every fourth layer does not rotate, and where windows are switched on, sees only so far back.

import LensFiles
import LensModel

extension Architecture {
    static let smolLM3 = Architecture(
        family: "smollm3",
        huggingFaceNames: ["SmolLM3ForCausalLM", "SmolLM3Model"],
        modelType: "smollm3",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 2048, width: 11008, layers: 36, heads: 16, kvHeads: 4, vocabulary: 128_256,
                                                           positions: 32768, eps: 1e-6, tiesEmbeddings: true)) { width in
                try reader.rotary(dim: width, defaultBase: 2_000_000)
            }
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            let interval = try reader.int("no_rope_layer_interval", default: 4)
            guard interval > 0 else { throw reader.invalid("no_rope_layer_interval", expected: "at least 1") }
            let count = max(0, min(config.nLayers, ModelConfig.mostLayers))
            var rotated = (0..<count).map { ($0 + 1) % interval != 0 }
            if let list = reader.value("no_rope_layers") {
                // 1 for a layer that rotates.
                let numbers = list.arrayValue?.compactMap(\.intValue) ?? []
                guard numbers.count >= count, numbers.allSatisfy({ $0 == 0 || $0 == 1 }) else {
                    throw reader.invalid("no_rope_layers", expected: "1 or 0 for each of \(count) layers")
                }
                rotated = numbers.prefix(count).map { $0 == 1 }
            }
            config.attention.rotatedLayers = rotated
            let size = reader.has("sliding_window") ? try reader.int("sliding_window") : nil
            let isOn = try reader.bool("use_sliding_window", default: false)
            let window = try reader.slidingWindow(size, layers: config.nLayers) { !rotated[$0] }
            config.attention.window = isOn ? window : nil
            return config
        },
        ignoredKeys: ["attention_dropout", "max_window_layers"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
