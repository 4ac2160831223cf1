// IBM's Granite 3 with experts (Granite Team, 2024).
// Quirks: Granite, its MLP a mixture of experts whose best weights are made to sum to one (Hugging Face takes the softmax of the
// best alone, which is the same number); all experts' matrices lie in two tensors.

import LensFiles
import LensModel

extension Architecture {
    static let graniteMoE = Architecture(
        family: "granite_moe",
        huggingFaceNames: ["GraniteMoeForCausalLM", "GraniteMoeModel"],
        modelType: "granitemoe",
        config: { reader in
            var config = try granite.config(reader)
            let width = config.mlp?.width ?? 0, count = try reader.int("num_local_experts", default: 8)
            config.mlp?.experts = Experts(count: count, perToken: try reader.int("num_experts_per_tok", default: 2), width: width,
                                          routing: .softmaxThenTopK(renormalised: true))
            return config
        },
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef"],
        prefixes: ["model.", ""],
        weights: { config in
            let moe = "layers.{i}.block_sparse_moe", name = "blocks.{i}.mlp"
            let experts = (0..<(config.mlp?.experts?.count ?? 0)).flatMap { expert -> [WeightRule] in
                func matrix(_ part: String, _ source: String, _ other: String, _ outputs: WeightRule.Outputs) -> WeightRule {
                    .linear("\(name).experts.\(expert).\(part).weight", from: "\(moe).\(source).weight", outputs).or("\(moe).experts.\(other)").ofExpert(expert)
                }
                return [matrix("W_gate", "input_linear", "gate_up_proj", .part(0, of: 2)), matrix("W_in", "input_linear", "gate_up_proj", .part(1, of: 2)),
                        matrix("W_out", "output_linear", "down_proj", .all)]
            }
            return WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + experts
                + [.linear("\(name).W_gate.weight", from: "\(moe).router.layer.weight").or("\(moe).router.weight")]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
