// GLM-4-0414 (GLM Team, 2025), dense.
// Quirks: LLaMA's shape with norms after attention and MLP too; rotation of adjacent pairs in half of each head; gate and up
// in one tensor; biases on queries, keys and values.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let glm4 = Architecture(
        family: "glm4",
        huggingFaceNames: ["Glm4ForCausalLM", "Glm4Model"],
        modelType: "glm4",
        config: { reader in
            let shape = LlamaShape(dModel: 4096, width: 13696, layers: 40, heads: 32, kvHeads: 2, dHead: 128, vocabulary: 151_552,
                                   positions: 131_072, eps: 1.5625e-7)
            var config = try reader.llamaShaped(shape) { width in
                var rotary = try reader.rotary(dim: width, defaultFactor: 0.5)
                rotary.adjacentPairs = true
                return rotary
            }
            config.attention.hasBiases = try reader.bool("attention_bias", default: true)
            config.outputNorm = config.norm
            return config
        },
        ignoredKeys: ["attention_dropout"],
        prefixes: ["model.", ""],
        weights: { config in
            let gateUp = "layers.{i}.mlp.gate_up_proj.weight"
            return WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj"]) + [
                .plain("blocks.{i}.ln1_post.w", from: "layers.{i}.post_self_attn_layernorm.weight"),
                .plain("blocks.{i}.ln2_post.w", from: "layers.{i}.post_mlp_layernorm.weight"),
                .linear("blocks.{i}.mlp.W_gate", from: gateUp, .part(0, of: 2)), .linear("blocks.{i}.mlp.W_in", from: gateUp, .part(1, of: 2)),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.down_proj.weight"),
            ]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
