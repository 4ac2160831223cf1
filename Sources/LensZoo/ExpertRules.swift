// Mixtures of experts in a `config.json` and in checkpoints: a tensor for each expert, or all experts' in one.

import LensFiles
import LensModel

extension ConfigReader {
    /// `num_experts`, or `num_local_experts` as transformers 5 writes it.
    func expertCount(default fallback: Int) throws -> Int {
        let new = try has("num_local_experts") ? int("num_local_experts") : nil, old = try has("num_experts") ? int("num_experts") : nil
        guard new == nil || old == nil || new == old else { throw invalid("num_local_experts", expected: "\(old ?? 0), as num_experts says") }
        return new ?? old ?? fallback
    }

    /// Which layers have experts: every `decoder_sparse_step`-th, but those of `mlp_only_layers` (Qwen-MoE).
    func sparseLayers(_ layers: Int) throws -> [Bool] {
        let step = try int("decoder_sparse_step", default: 1)
        guard step > 0 else { throw invalid("decoder_sparse_step", expected: "at least 1") }
        let dense = Set(try value("mlp_only_layers")?.asArray(at: location).map { try $0.asInt(at: "\(location): mlp_only_layers") } ?? [])
        let sparse = (0..<max(0, min(layers, ModelConfig.mostLayers))).map { ($0 + 1) % step == 0 && !dense.contains($0) }
        return sparse.allSatisfy(\.self) ? [true] : sparse
    }
}

extension WeightRule {
    /// One expert's three matrices and the router, for the layers that have them.
    /// - Parameters:
    ///   - router: the router's weight.
    ///   - gate, up, down: one expert's weights, `{e}` the expert.
    ///   - fused: where all experts' are in two tensors instead: gate and up `[experts, 2 · width, d_model]`, down
    ///     `[experts, d_model, width]`.
    static func experts(_ config: ModelConfig, router: WeightRule, gate: String, up: String, down: String,
                        fused: (gateUp: String, down: String)) -> [WeightRule] {
        guard let experts = config.mlp?.experts else { return [] }
        let sparse = config.sparseLayers
        let matrices = (0..<experts.count).flatMap { expert -> [WeightRule] in
            let name = "blocks.{i}.mlp.experts.\(expert)"
            func matrix(_ part: String, _ own: String, _ all: String, _ outputs: Outputs) -> WeightRule {
                let together = WeightRule.linear("", from: all, outputs).ofExpert(expert)
                return WeightRule.linear("\(name).\(part).weight", from: own).or(together).filled("{e}", expert)
            }
            return [matrix("W_gate", gate, fused.gateUp, .part(0, of: 2)), matrix("W_in", up, fused.gateUp, .part(1, of: 2)),
                    matrix("W_out", down, fused.down, .all)]
        }
        return ([router] + matrices).map { $0.only(in: sparse) }
    }

    /// Experts as Qwen-MoE and OLMoE name them.
    static func qwenExperts(_ config: ModelConfig) -> [WeightRule] {
        let mlp = "layers.{i}.mlp", expert = "\(mlp).experts.{e}"
        return experts(config, router: .linear("blocks.{i}.mlp.W_gate.weight", from: "\(mlp).gate.weight"), gate: "\(expert).gate_proj.weight",
                       up: "\(expert).up_proj.weight", down: "\(expert).down_proj.weight",
                       fused: ("\(mlp).experts.gate_up_proj", "\(mlp).experts.down_proj"))
    }

    /// LLaMA's MLP in the layers without experts.
    static func denseMLP(_ config: ModelConfig) -> [WeightRule] {
        let sparse = Set(config.sparseLayers)
        return llamaMLP.map { $0.only(in: (0..<config.nLayers).filter { !sparse.contains($0) }) }
    }
}

extension ModelConfig {
    /// The layers that have experts.
    var sparseLayers: [Int] { (0..<nLayers).filter { mlp?.experts?.isSparse(in: $0) ?? false } }
}
