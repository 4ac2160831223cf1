// Models of random parameters, made in code: any configuration, the same numbers from the same seed.

import LensModel
import LensTensor

/// A tensor of uniform numbers in ±`scale`.
public func randomTensor(_ shape: [Int], seed: UInt64, scale: Float = 1) throws -> Tensor {
    var random = SplitMix64(state: seed)
    return try Tensor((0..<shape.reduce(1, *)).map { _ in Float(random.unit() * 2 - 1) * scale }, shape: shape)
}

extension Transformer {
    /// A model whose every parameter, biases included, is random: weights spread so that no activation dies or explodes.
    public static func random(_ config: ModelConfig, seed: UInt64) throws -> Transformer {
        var parameters: [String: Tensor] = [:]
        for (index, spec) in config.parameterSpecs.enumerated() where !(spec.name == "embed.W_E" && config.tiesEmbeddings) {
            if config.mlp?.gate == nil, spec.name.hasSuffix("b_gate") { continue }
            let fan = spec.matrixShape.map { Float($0.rows) } ?? 1
            let scale: Float = spec.matrixShape == nil ? 0.5 : 1.5 / fan.squareRoot()
            var tensor = try randomTensor(spec.shape, seed: seed &+ UInt64(index) &* 7919, scale: scale)
            if spec.name.hasSuffix(".w") { tensor = try tensor + 1 }
            parameters[spec.name] = tensor
        }
        return try Transformer(config: config, parameters: parameters)
    }
}
