// The parameters of a mixture of experts as the forward pass reaches for them.

import LensTensor

/// Weights of one expert: a gated MLP.
struct ExpertWeights: Sendable {
    let wIn: PackedMatrix, wOut: PackedMatrix, wGate: PackedMatrix
    let bIn: Tensor?, bOut: Tensor?, bGate: Tensor?

    init(_ parameters: Parameters, _ prefix: String) throws {
        wIn = try parameters.matrix("\(prefix).W_in.weight")
        wOut = try parameters.matrix("\(prefix).W_out.weight")
        wGate = try parameters.matrix("\(prefix).W_gate.weight")
        bIn = parameters.tensor("\(prefix).W_in.bias")
        bOut = parameters.tensor("\(prefix).W_out.bias")
        bGate = parameters.tensor("\(prefix).W_gate.bias")
    }
}

/// Weights of one layer's experts and of what chooses among them.
struct ExpertsWeights: Sendable {
    let config: Experts
    let router: PackedMatrix, bRouter: Tensor?
    let experts: [ExpertWeights]
    let shared: ExpertWeights?, sharedGate: PackedMatrix?

    init(_ parameters: Parameters, _ prefix: String, _ config: Experts) throws {
        self.config = config
        router = try parameters.matrix("\(prefix).W_gate.weight")
        bRouter = parameters.tensor("\(prefix).W_gate.bias")
        experts = try (0..<config.count).map { try ExpertWeights(parameters, "\(prefix).experts.\($0)") }
        shared = try config.shared.map { _ in try ExpertWeights(parameters, "\(prefix).shared_expert") }
        sharedGate = config.shared?.isGated == true ? try parameters.matrix("\(prefix).shared_expert_gate.weight") : nil
    }
}
