// Rotary position embedding: which channels turn, how fast, and the angles. Angles are computed as Hugging Face computes
// them, in float32 (position times inverse frequency), because at long positions that rounding is part of the model.

import LensFiles
import LensTensor
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Rotary position embedding (Su et al., 2021).
public struct Rotary: Sendable, Hashable {
    /// Channels of each head that turn; even.
    public var dim: Int
    public var base: Double
    /// Pairs (2i, 2i+1), as in GPT-J, instead of halves (i, i + dim/2).
    public var adjacentPairs: Bool
    public var scaling: Scaling

    public init(dim: Int, base: Double = 10_000, adjacentPairs: Bool = false, scaling: Scaling = .none) {
        self.dim = dim
        self.base = base
        self.adjacentPairs = adjacentPairs
        self.scaling = scaling
    }

    /// How frequencies are stretched for longer contexts.
    public enum Scaling: Sendable, Hashable {
        case none
        /// Positions divided by a factor.
        case linear(factor: Double)
        /// LLaMA 3's: slow frequencies divided by `factor`, fast ones kept, a ramp between
        /// (`_compute_llama3_parameters` in Hugging Face).
        case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContext: Int)
    }

    /// One inverse frequency for each pair: `[dim / 2]`, radians per position.
    public var inverseFrequencies: [Float] {
        (0..<dim / 2).map { pair in
            let plain = 1 / Float(pow(base, Double(Float(2 * pair) / Float(dim))))
            switch scaling {
            case .none: return plain
            case .linear(let factor): return plain / Float(factor)
            case .llama3(let factor, let low, let high, let originalContext):
                return Self.llama3(plain, Float(factor), Float(low), Float(high), Float(originalContext))
            }
        }
    }

    private static func llama3(_ frequency: Float, _ factor: Float, _ low: Float, _ high: Float, _ context: Float) -> Float {
        let wavelength = 2 * Float.pi / frequency
        if wavelength > context / low { return frequency / factor }
        if wavelength < context / high { return frequency }
        let smooth = (context / wavelength - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
    }

    /// Cosines and sines for `positions`, one row each, and the row of each entry of `positions`.
    package func table(for positions: [Int]) throws -> (table: RotaryTable, rows: [Int]) {
        var rowOf: [Int: Int] = [:]
        var distinct: [Int] = []
        let rows = positions.map { position -> Int in
            if let row = rowOf[position] { return row }
            rowOf[position] = distinct.count
            distinct.append(position)
            return distinct.count - 1
        }
        let frequencies = inverseFrequencies
        let angles = distinct.flatMap { position in frequencies.map { Double(Float(position) * $0) } }
        let shape = [distinct.count, frequencies.count]
        return (try RotaryTable(cos: Tensor(angles.map { Float(cos($0)) }, shape: shape),
                                sin: Tensor(angles.map { Float(sin($0)) }, shape: shape), adjacentPairs: adjacentPairs), rows)
    }
}
