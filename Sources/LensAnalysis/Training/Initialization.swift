// A new model's parameters, drawn from a seed as TransformerLens 3.9's `init_weights` draws them: the same distributions,
// other numbers (its come from torch's generator).

import LensFiles
import LensModel
import LensTensor

/// How weights are drawn: the fields `init_mode`, `initializer_range` and `seed` of a HookedTransformerConfig.
///
/// Only parameters with `W_` in their name are drawn. Biases are 0, weights of norms 1. A matrix `[in, out]` has fan-in `in`;
/// one of heads, `[head, d_model, d_head]`, fan-in `d_model` and fan-out `head × d_head` (also W_O, as in TransformerLens).
public struct Initialization: Sendable, Hashable {
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// N(0, range²); range is `0.8 / √d_model` unless given.
        case gpt2
        /// Uniform within ± range · √(6 / (fan-in + fan-out)) (Glorot and Bengio 2010); range is 1 unless given.
        case xavierUniform = "xavier_uniform"
        /// N(0, range² · 2 / (fan-in + fan-out)).
        case xavierNormal = "xavier_normal"
        /// Uniform within ± range · √2 · √(3 / fan-in) (He et al. 2015).
        case kaimingUniform = "kaiming_uniform"
        /// N(0, range² · 2 / fan-in).
        case kaimingNormal = "kaiming_normal"
        /// Maximal update (Yang et al. 2022): embeddings N(0, 1), W_U N(0, 1 / fan-in²), the rest N(0, 1 / fan-in). (3.9's code
        /// gives W_U the embeddings' scale, because its name holds "embed"; here it is as 3.9 documents it.)
        case muP
    }

    public var mode: Mode
    /// nil: the mode's own.
    public var range: Double?
    public var seed: UInt64

    public init(_ mode: Mode = .gpt2, range: Double? = nil, seed: UInt64 = 0) {
        self.mode = mode
        self.range = range
        self.seed = seed
    }

    /// From a HookedTransformerConfig as JSON.
    /// - Throws: `LensError(.config)` for an unknown mode or a range or seed that is none.
    public init(hookedTransformerConfig json: JSON, at location: String = "HookedTransformerConfig") throws {
        let reader = try ConfigReader(json, at: location)
        guard let mode = Mode(rawValue: try reader.string("init_mode", default: "gpt2")) else {
            throw reader.invalid("init_mode", expected: Mode.allCases.map(\.rawValue).joined(separator: ", "))
        }
        let range = try reader.double("initializer_range", default: -1), seed = try reader.int("seed", default: 0)
        self.init(mode, range: range < 0 ? nil : range, seed: UInt64(bitPattern: Int64(seed)))
    }

    /// Parameters of a new model.
    /// - Throws: `LensError(.config)` for a configuration that cannot be.
    public func parameters(for config: ModelConfig) throws -> [String: Tensor] {
        try config.validate()
        var parameters: [String: Tensor] = [:]
        for spec in config.parameterSpecs where !(spec.isOptional && spec.name.hasSuffix("W_E")) {
            parameters[spec.name] = try tensor(spec, config)
        }
        return parameters
    }

    private func tensor(_ spec: ParameterSpec, _ config: ModelConfig) throws -> Tensor {
        guard spec.name.contains("W_") else { return Tensor(repeating: Self.constant(spec.name), shape: spec.shape) }
        let shape = spec.shape, rank = shape.count
        let fans = rank == 3 ? (Double(shape[1]), Double(shape[0] * shape[2])) : (rank == 2 ? Double(shape[0]) : 1, Double(shape.last ?? 1))
        let draw = distribution(spec.name, fans, dModel: config.dModel)
        var random = RandomStream(seed: seed, spec.name), result = Tensor(zeros: spec.shape)
        try result.withUnsafeMutableElements { elements in
            switch draw {
            case .normal(let deviation): for index in elements.indices { elements[index] = Float(random.normal() * deviation) }
            case .uniform(let bound): for index in elements.indices { elements[index] = Float((2 * random.unit() - 1) * bound) }
            }
        }
        return result
    }

    private enum Distribution { case normal(Double), uniform(Double) }

    private func distribution(_ name: String, _ fans: (in: Double, out: Double), dModel: Int) -> Distribution {
        let gain = range ?? 1
        switch mode {
        case .gpt2: return .normal(range ?? 0.8 / Double(dModel).squareRoot())
        case .xavierUniform: return .uniform(gain * (6 / (fans.in + fans.out)).squareRoot())
        case .xavierNormal: return .normal(gain * (2 / (fans.in + fans.out)).squareRoot())
        case .kaimingUniform: return .uniform(gain * 2.0.squareRoot() * (3 / fans.in).squareRoot())
        case .kaimingNormal: return .normal(gain * (2 / fans.in).squareRoot())
        case .muP:
            if name.contains("unembed") { return .normal(1 / fans.in) }
            return .normal(name.contains("embed") ? 1 : 1 / fans.in.squareRoot())
        }
    }

    /// What a parameter that is not drawn begins with.
    private static func constant(_ name: String) -> Float {
        if name.hasSuffix(".w") { return 1 }
        if name.hasSuffix("act_fn.alpha_p") { return XIELU.alphaPDefault }
        if name.hasSuffix("act_fn.alpha_n") { return XIELU.alphaNDefault }
        if name.hasSuffix("act_fn.beta") { return 0.5 }
        return name.hasSuffix("act_fn.eps") ? -1e-6 : 0
    }
}

extension Transformer {
    /// A new model, its parameters drawn.
    /// - Throws: `LensError(.config)`.
    public init(config: ModelConfig, initialization: Initialization) throws {
        try self.init(config: config, parameters: initialization.parameters(for: config))
    }
}
