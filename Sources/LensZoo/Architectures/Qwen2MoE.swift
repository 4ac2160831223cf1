// Qwen 1.5 and 2 with experts (Qwen Team, 2024).
// Quirks: Qwen 2 with a mixture of experts in the layers `decoder_sparse_step` and `mlp_only_layers` leave it, beside an expert
// of every token that a sigmoid weighs; weights of the best sum to less than one unless `norm_topk_prob`. Windows, where
// switched on, in every second of the lower layers.

import LensFiles
import LensModel

extension Architecture {
    static let qwen2MoE = Architecture(
        family: "qwen2_moe",
        huggingFaceNames: ["Qwen2MoeForCausalLM", "Qwen2MoeModel"],
        modelType: "qwen2_moe",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 2048, width: 5632, layers: 24, heads: 16, kvHeads: 16, vocabulary: 151_936,
                                                           positions: 32768, eps: 1e-6))
            try reader.require("use_mrope", false)
            config.attention.hasBiases = try reader.bool("qkv_bias", default: true)
            let first = try reader.int("max_window_layers", default: 28), size = try reader.int("sliding_window", default: 4096)
            let isOn = try reader.bool("use_sliding_window", default: false)
            config.attention.window = try reader.slidingWindow(isOn && size > 0 ? size : nil, layers: config.nLayers) { $0 % 2 == 0 && $0 < first }
            var experts = Experts(count: try reader.expertCount(default: 60), perToken: try reader.int("num_experts_per_tok", default: 4),
                                  width: try reader.int("moe_intermediate_size", default: 1408),
                                  routing: .softmaxThenTopK(renormalised: try reader.bool("norm_topk_prob", default: false)))
            experts.shared = .init(width: try reader.int("shared_expert_intermediate_size", default: 5632), isGated: true)
            experts.isSparse = try reader.sparseLayers(config.nLayers)
            config.mlp?.experts = experts.isSparse.contains(true) ? experts : nil
            config.defaultPrependBOS = false
            return config
        },
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef"],
        prefixes: ["model.", ""],
        weights: { config in
            let shared = "blocks.{i}.mlp.shared_expert", source = "layers.{i}.mlp.shared_expert"
            let sharedRules: [WeightRule] = [
                .linear("\(shared).W_gate.weight", from: "\(source).gate_proj.weight"),
                .linear("\(shared).W_in.weight", from: "\(source).up_proj.weight"),
                .linear("\(shared).W_out.weight", from: "\(source).down_proj.weight"),
                .linear("\(shared)_gate.weight", from: "\(source)_gate.weight"),
            ]
            return WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj"])
                + WeightRule.denseMLP(config) + WeightRule.qwenExperts(config) + sharedRules.map { $0.only(in: config.sparseLayers) }
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
