// Which rule turns gradients into new parameters: Adam, AdamW or SGD, with torch.optim's arithmetic and defaults.

import LensFiles

/// How a parameter follows its gradient.
public enum OptimizerRule: Sendable, Hashable {
    /// Kingma and Ba 2015. Weight decay, where there is some, is added to the gradient (L2).
    case adam(beta1: Double = 0.9, beta2: Double = 0.999, eps: Double = 1e-8)
    /// Loshchilov and Hutter 2019: the parameter itself decays.
    case adamW(beta1: Double = 0.9, beta2: Double = 0.999, eps: Double = 1e-8)
    /// Weight decay is added to the gradient.
    case sgd(momentum: Double = 0, dampening: Double = 0, nesterov: Bool = false)

    /// torch.optim's name.
    public var name: String {
        switch self {
        case .adam: "Adam"
        case .adamW: "AdamW"
        case .sgd: "SGD"
        }
    }

    /// - Throws: `LensError(.usage)` for a value torch.optim would refuse.
    public func validate() throws {
        func check(_ isFine: Bool, _ name: String, _ expected: String, _ found: Any) throws {
            if !isFine { throw LensError(.usage, "\(name) out of range", at: self.name, expected: expected, found: "\(found)") }
        }
        switch self {
        case .adam(let beta1, let beta2, let eps), .adamW(let beta1, let beta2, let eps):
            try check((0..<1).contains(beta1), "beta1", "0 to below 1", beta1)
            try check((0..<1).contains(beta2), "beta2", "0 to below 1", beta2)
            try check(eps >= 0 && eps.isFinite, "eps", "a number from 0", eps)
        case .sgd(let momentum, let dampening, let nesterov):
            try check(momentum >= 0 && momentum.isFinite, "momentum", "a number from 0", momentum)
            try check(dampening.isFinite, "dampening", "a number", dampening)
            try check(!nesterov || (momentum > 0 && dampening == 0), "nesterov", "momentum and no dampening", "momentum \(momentum), dampening \(dampening)")
        }
    }

    /// What is kept for each parameter between steps, by torch's names.
    var stateNames: [String] {
        switch self {
        case .adam, .adamW: ["exp_avg", "exp_avg_sq"]
        case .sgd(let momentum, _, _): momentum == 0 ? [] : ["momentum_buffer"]
        }
    }
}
