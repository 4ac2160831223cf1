// Qwen 1.5, 2 and 2.5 (Yang et al., 2024), and QwQ.
// Quirks: LLaMA's shape with biases on queries, keys and values; windows, where switched on, only in the upper layers.

import LensFiles
import LensModel

extension Architecture {
    static let qwen2 = Architecture(
        family: "qwen2",
        huggingFaceNames: ["Qwen2ForCausalLM", "Qwen2Model"],
        modelType: "qwen2",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 22016, layers: 32, heads: 32, kvHeads: 32, vocabulary: 151_936,
                                                           positions: 32768, eps: 1e-6))
            // Positions of images; the text models' files say no.
            try reader.require("use_mrope", false)
            config.attention.window = try reader.qwenWindow(layers: config.nLayers)
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0, biases: ["q_proj", "k_proj", "v_proj"]) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
