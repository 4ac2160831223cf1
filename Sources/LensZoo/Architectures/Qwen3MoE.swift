// Qwen 3 with experts (Yang et al., 2025).
// Quirks: Qwen 3 with a mixture of experts in the layers `decoder_sparse_step` and `mlp_only_layers` leave it; a window, where
// switched on, in every layer.

import LensFiles
import LensModel

extension Architecture {
    static let qwen3MoE = Architecture(
        family: "qwen3_moe",
        huggingFaceNames: ["Qwen3MoeForCausalLM", "Qwen3MoeModel"],
        modelType: "qwen3_moe",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 2048, width: 6144, layers: 24, heads: 32, kvHeads: 4, vocabulary: 151_936,
                                                           positions: 32768, eps: 1e-6))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            config.attention.qkNorm = config.norm
            let isOn = try reader.bool("use_sliding_window", default: false) && !reader.isNull("sliding_window")
            let size = try reader.int("sliding_window", default: 4096)
            config.attention.window = isOn ? .init(size: size) : nil
            var experts = Experts(count: try reader.expertCount(default: 128), perToken: try reader.int("num_experts_per_tok", default: 8),
                                  width: try reader.int("moe_intermediate_size", default: 768),
                                  routing: .softmaxThenTopK(renormalised: try reader.bool("norm_topk_prob", default: false)))
            experts.isSparse = try reader.sparseLayers(config.nLayers)
            config.mlp?.experts = experts.isSparse.contains(true) ? experts : nil
            config.defaultPrependBOS = false
            return config
        },
        // The number of layers that a window is not for, which nothing reads.
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef", "max_window_layers"],
        prefixes: ["model.", ""],
        weights: { config in
            WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"])
                + WeightRule.denseMLP(config) + WeightRule.qwenExperts(config) + [
                    .plain("blocks.{i}.attn.q_norm.w", from: "layers.{i}.self_attn.q_norm.weight"),
                    .plain("blocks.{i}.attn.k_norm.w", from: "layers.{i}.self_attn.k_norm.weight"),
                ]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
