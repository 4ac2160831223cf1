// Mixtral 8x7B and 8x22B (Jiang et al., 2024).
// Quirks: LLaMA's shape, the MLP a mixture of experts whose two best weights are made to sum to one; its files hold a tensor
// for each expert (`w1` the gate, `w3` what it multiplies, `w2` the output) or all experts' in one.

import LensFiles
import LensModel

extension Architecture {
    static let mixtral = Architecture(
        family: "mixtral",
        huggingFaceNames: ["MixtralForCausalLM", "MixtralModel"],
        modelType: "mixtral",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 4096, width: 14336, layers: 32, heads: 32, kvHeads: 8, vocabulary: 32000,
                                                           positions: 131_072, eps: 1e-5))
            config.attention.window = reader.isNull("sliding_window") || !reader.has("sliding_window") ? nil
                : .init(size: try reader.int("sliding_window"))
            let width = config.mlp?.width ?? 0, count = try reader.int("num_local_experts", default: 8)
            config.mlp?.experts = Experts(count: count, perToken: try reader.int("num_experts_per_tok", default: 2), width: width,
                                          routing: .softmaxThenTopK(renormalised: true))
            return config
        },
        // Losses, and noise of training.
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise"],
        prefixes: ["model.", ""],
        weights: { config in
            let old = "layers.{i}.block_sparse_moe", new = "layers.{i}.mlp", expert = "\(old).experts.{e}"
            return WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config)
                + WeightRule.experts(config, router: .linear("blocks.{i}.mlp.W_gate.weight", from: "\(old).gate.weight").or("\(new).gate.weight"),
                                     gate: "\(expert).w1.weight", up: "\(expert).w3.weight", down: "\(expert).w2.weight",
                                     fused: ("\(new).experts.gate_up_proj", "\(new).experts.down_proj"))
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
