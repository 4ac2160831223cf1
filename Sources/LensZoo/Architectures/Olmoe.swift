// OLMoE (Muennighoff et al., 2024).
// Quirks: LLaMA's shape with norms over all heads' queries and all heads' keys, perhaps clipped queries, keys and values, and a
// mixture of experts whose weights sum to less than one unless `norm_topk_prob`.

import LensFiles
import LensModel

extension Architecture {
    static let olmoe = Architecture(
        family: "olmoe",
        huggingFaceNames: ["OlmoeForCausalLM", "OlmoeModel"],
        modelType: "olmoe",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 2048, width: 2048, layers: 16, heads: 16, vocabulary: 50304, positions: 4096, eps: 1e-5))
            config.attention.hasBiases = try reader.bool("attention_bias", default: false)
            config.attention.qkNorm = config.norm
            config.attention.qkNormSpan = .allHeads
            config.attention.clip = try reader.has("clip_qkv") ? reader.positive("clip_qkv") : nil
            let width = config.mlp?.width ?? 0, count = try reader.expertCount(default: 64), perToken = try reader.int("num_experts_per_tok", default: 8)
            let renormalised = try reader.bool("norm_topk_prob", default: false)
            config.mlp?.experts = Experts(count: count, perToken: perToken, width: width, routing: .softmaxThenTopK(renormalised: renormalised))
            return config
        },
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef", "clip_qkv"],
        prefixes: ["model.", ""],
        weights: { config in
            WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"])
                + WeightRule.qwenExperts(config) + [
                    .plain("blocks.{i}.attn.q_norm.w", from: "layers.{i}.self_attn.q_norm.weight"),
                    .plain("blocks.{i}.attn.k_norm.w", from: "layers.{i}.self_attn.k_norm.weight"),
                ]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
