// LLaMA 1 to 3.3 (Touvron et al., 2023) and models of its shape: CodeLlama, Yi, Vicuna, TinyLlama, …
// Quirks: grouped keys and values; a head width that need not be d_model / n_heads; LLaMA 3.1's stretched rotary frequencies.

import LensFiles
import LensModel

extension Architecture {
    static let llama = Architecture(
        family: "llama",
        huggingFaceNames: ["LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"],
        modelType: "llama",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(positions: 2048, eps: 1e-6))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            return config
        },
        ignoredKeys: ["attention_dropout", "rope_interleaved", "max_sequence_length"],
        prefixes: ["model.", ""],
        weights: { WeightRule.llamaShaped($0, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) },
        ignoredTensors: WeightRule.rotaryBuffers)
}
