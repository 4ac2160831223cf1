// Mistral 7B, Nemo and Small (Jiang et al., 2023).
// Quirks: LLaMA's shape; where `sliding_window` is a number, every layer sees only that far back.

import LensFiles
import LensModel

extension Architecture {
    static let mistral = Architecture(
        family: "mistral",
        huggingFaceNames: ["MistralForCausalLM", "MistralModel"],
        modelType: "mistral",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 14336, layers: 32, heads: 32, kvHeads: 8, vocabulary: 32000,
                                                           positions: 131_072, eps: 1e-6))
            // An absent window is Hugging Face's default, null is none.
            let size = reader.isNull("sliding_window") ? nil : try reader.int("sliding_window", default: 4096)
            config.attention.window = size.map { .init(size: $0) }
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
