// GPT-OSS 20B and 120B (OpenAI, 2025).
// Quirks: LLaMA's shape with biases everywhere; each head has a sink that its pattern is normalised with; every second layer
// is windowed; YaRN; experts with a clamped gate, chosen first and weighed by a softmax over those, gate and linear part
// interleaved in one tensor, which is in the usual formats or in MXFP4 (then unpacked while it is read).

import LensFiles
import LensModel

extension Architecture {
    static let gptOSS = Architecture(
        family: "gpt_oss",
        huggingFaceNames: ["GptOssForCausalLM", "GptOssModel"],
        modelType: "gpt_oss",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 2880, width: 2880, layers: 36, heads: 64, kvHeads: 8, dHead: 64,
                                                           vocabulary: 201_088, positions: 131_072, eps: 1e-5))
            config.attention.hasBiases = try reader.bool("attention_bias", default: true)
            config.attention.hasSinks = true
            let size = reader.isNull("sliding_window") ? nil : try reader.int("sliding_window", default: 128)
            config.attention.window = try reader.slidingWindow(size, layers: config.nLayers) { $0 % 2 == 0 }
            var experts = Experts(count: try reader.int("num_local_experts", default: 128), perToken: try reader.int("num_experts_per_tok", default: 4),
                                  width: config.mlp?.width ?? 0, routing: .topKThenSoftmax)
            experts.gate = .clamped(alpha: try reader.double("swiglu_alpha", default: 1.702), limit: try reader.double("swiglu_limit", default: 7))
            experts.hasBiases = true
            experts.hasRouterBias = true
            config.mlp?.experts = experts
            try reader.mxfp4Only()
            return config
        },
        // Another name of num_experts_per_tok, the length YaRN starts from (said again with its other numbers), losses.
        ignoredKeys: ["attention_dropout", "output_router_logits", "router_aux_loss_coef", "experts_per_token", "initial_context_length"],
        prefixes: ["model.", ""],
        weights: { config in
            let mlp = "layers.{i}.mlp", fused = "\(mlp).experts.gate_up_proj", down = "\(mlp).experts.down_proj"
            let experts = (0..<(config.mlp?.experts?.count ?? 0)).flatMap { expert -> [WeightRule] in
                let name = "blocks.{i}.mlp.experts.\(expert)"
                func part(_ part: String, _ source: String, _ outputs: WeightRule.Outputs) -> [WeightRule] {
                    let packed = WeightRule.mxfp4("", from: source, outputs).ofExpert(expert)
                    return [WeightRule.conv1D("\(name).\(part).weight", from: source, outputs).ofExpert(expert).or(packed),
                            WeightRule.plain("\(name).\(part).bias", from: "\(source)_bias", outputs).ofExpert(expert)]
                }
                return part("W_gate", fused, .strided(offset: 0, step: 2)) + part("W_in", fused, .strided(offset: 1, step: 2))
                    + part("W_out", down, .all)
            }
            return WeightRule.llamaEnds(config) + WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "o_proj"]) + experts + [
                .linear("blocks.{i}.mlp.W_gate.weight", from: "\(mlp).router.weight"), .plain("blocks.{i}.mlp.W_gate.bias", from: "\(mlp).router.bias"),
                .plain("blocks.{i}.attn.sinks", from: "layers.{i}.self_attn.sinks"),
            ]
        },
        ignoredTensors: WeightRule.rotaryBuffers,
        readsQuantization: true)
}

extension ConfigReader {
    /// Requires that `quantization_config` is absent or says MXFP4.
    fileprivate func mxfp4Only() throws {
        guard let quantization = value("quantization_config") else { return }
        guard quantization["quant_method"]?.stringValue == "mxfp4" else {
            throw invalid("quantization_config", expected: "quant_method mxfp4")
        }
    }
}
