// ERNIE 4.5 (Baidu, 2025), dense.
// Quirks: LLaMA's shape; rotation of adjacent pairs; `use_bias` is for every projection.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let ernie45 = Architecture(
        family: "ernie4_5",
        huggingFaceNames: ["Ernie4_5ForCausalLM", "Ernie4_5Model"],
        modelType: "ernie4_5",
        config: { reader in
            let shape = LlamaShape(dModel: 1024, width: 3072, layers: 18, heads: 16, kvHeads: 2, dHead: 128, vocabulary: 103_424,
                                   positions: 131_072, eps: 1e-5, tiesEmbeddings: true)
            var config = try reader.llamaShaped(shape) { width in
                var rotary = try reader.rotary(dim: width, defaultBase: 500_000)
                rotary.adjacentPairs = true
                return rotary
            }
            let hasBiases = try reader.bool("use_bias", default: false)
            config.attention.hasBiases = hasBiases
            config.mlp?.hasBiases = hasBiases
            return config
        },
        ignoredKeys: [],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
