// Ministral (Mistral AI, 2024).
// Quirks: Mistral's shape, windowed in the layers that `layer_types` names, or in all.

import LensFiles
import LensModel

extension Architecture {
    static let ministral = Architecture(
        family: "ministral",
        huggingFaceNames: ["MinistralForCausalLM", "MinistralModel"],
        modelType: "ministral",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 14336, layers: 32, heads: 32, kvHeads: 8, vocabulary: 32000,
                                                           positions: 131_072, eps: 1e-6))
            let size = reader.isNull("sliding_window") ? nil : try reader.int("sliding_window", default: 4096)
            config.attention.window = try reader.slidingWindow(size, layers: config.nLayers)
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
