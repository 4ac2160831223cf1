// Mixtures of experts as data: how many, how wide, how a token's experts are chosen and weighed, and which layers have them.

import LensFiles
import LensTensor

/// A mixture of experts in place of the MLP (Shazeer et al., 2017; Jiang et al., 2024). Every expert is a gated MLP with the
/// activation function of `ModelConfig.MLP`, whose own width is that of layers without experts.
public struct Experts: Sendable, Hashable {
    /// Experts of a layer (`num_experts`).
    public var count: Int
    /// Experts that each token goes to (`experts_per_token`).
    public var perToken: Int
    /// Neurons of each expert.
    public var width: Int
    public var routing: Routing
    public var gate: Gate = .plain
    /// Whether a checkpoint holds biases of the experts; where it does not, they are zero.
    public var hasBiases = false
    /// Whether the router adds a bias to its scores.
    public var hasRouterBias = false
    /// An expert that every token goes to.
    public var shared: Shared?
    /// Whether each layer has experts; repeated over the model's layers.
    public var isSparse = [true]

    public init(count: Int, perToken: Int, width: Int, routing: Routing) {
        self.count = count
        self.perToken = perToken
        self.width = width
        self.routing = routing
    }

    /// How the router's scores choose a token's experts and become their weights.
    public enum Routing: Sendable, Hashable {
        /// Softmax over all experts, then the best; their weights divided by their sum where `renormalised`.
        case softmaxThenTopK(renormalised: Bool)
        /// The best, then softmax over those.
        case topKThenSoftmax
    }

    /// How gate and linear part meet.
    public enum Gate: Sendable, Hashable {
        /// `activation(gate) * linear`
        case plain
        /// `(linear + 1) * gate·σ(alpha·gate)`, gate held below `limit` and linear within ±`limit` (GPT-OSS).
        case clamped(alpha: Double, limit: Double)
    }

    /// An expert of every token: a gated MLP.
    public struct Shared: Sendable, Hashable {
        public var width: Int
        /// Whether what it writes is multiplied by a sigmoid of its input (Qwen-MoE).
        public var isGated: Bool

        public init(width: Int, isGated: Bool) {
            self.width = width
            self.isGated = isGated
        }
    }

    /// Whether a layer has experts.
    public func isSparse(in layer: Int) -> Bool { !isSparse.isEmpty && isSparse[layer % isSparse.count] }
}

extension ModelConfig {
    /// The experts of a layer; nil where it has an MLP or nothing.
    func experts(in layer: Int) -> Experts? { mlp?.experts.flatMap { $0.isSparse(in: layer) ? $0 : nil } }

    /// Parameters of a layer's experts, under TransformerLens' names; its shared expert, which TransformerLens does not have, is
    /// named like the others.
    func expertSpecs(_ prefix: String, _ experts: Experts) -> [ParameterSpec] {
        func linear(_ name: String, _ inputs: Int, _ outputs: Int, _ hasBias: Bool) -> [ParameterSpec] {
            let weight = ParameterSpec(name: "\(prefix).mlp.\(name).weight", shape: [outputs, inputs], kind: .linear, isOptional: false)
            guard hasBias else { return [weight] }
            return [weight, ParameterSpec(name: "\(prefix).mlp.\(name).bias", shape: [outputs], kind: .plain, isOptional: false)]
        }
        func expert(_ name: String, _ width: Int, _ hasBiases: Bool) -> [ParameterSpec] {
            linear("\(name).W_in", dModel, width, hasBiases) + linear("\(name).W_out", width, dModel, hasBiases)
                + linear("\(name).W_gate", dModel, width, hasBiases)
        }
        var specs = (0..<experts.count).flatMap { expert("experts.\($0)", experts.width, experts.hasBiases) }
        specs += linear("W_gate", dModel, experts.count, experts.hasRouterBias)
        guard let shared = experts.shared else { return specs }
        specs += expert("shared_expert", shared.width, false)
        if shared.isGated { specs += linear("shared_expert_gate", dModel, 1, false) }
        return specs
    }
}

extension ModelConfig.MLP {
    /// - Throws: `LensError(.config)` for experts that cannot be, or parts that do not go together.
    func validate() throws {
        if norm != nil, gate != nil || experts != nil {
            throw LensError(.config, "a norm of the neurons goes with a plain MLP", at: "act_fn", expected: "gated_mlp false and no experts",
                            found: "\(activation.rawValue)_ln")
        }
        guard let experts else { return }
        let most = 1 << 16
        for (name, size, limit) in [("num_experts", experts.count, most), ("experts_per_token", experts.perToken, experts.count),
                                    ("d_expert", experts.width, 1 << 30), ("d_shared", experts.shared?.width ?? 1, 1 << 30)] {
            guard size >= 1, size <= limit else {
                throw LensError(.config, "impossible size", at: name, expected: "1...\(max(1, limit))", found: "\(size)")
            }
        }
        guard gate != nil else { throw LensError(.config, "experts are gated", at: "gated_mlp", expected: "true", found: "false") }
        if case .clamped(let alpha, let limit) = experts.gate, !(Float(alpha).isFinite && Float(limit).isFinite && limit > 0) {
            throw LensError(.config, "impossible gate of experts", at: "swiglu_limit", expected: "finite numbers, the limit above 0",
                            found: "\(alpha), \(limit)")
        }
        guard !experts.isSparse.isEmpty else {
            throw LensError(.config, "experts without a layer", at: "sparse_layers", expected: "which layers have them", found: "none")
        }
    }
}
