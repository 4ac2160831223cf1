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
        /// A base that grows with the length, once that is past the original context (`_compute_dynamic_ntk_parameters`).
        case dynamic(factor: Double, originalContext: Int)
        /// Qwen 1's: the base grows by steps, one for each doubling past the original context (`get_ntk_alpha` of its code).
        case dynamicSteps(originalContext: Int)
        /// Frequencies that turn often enough in the original context kept, slow ones divided, a ramp between; queries and
        /// keys longer (Peng et al., 2023; `_compute_yarn_parameters`).
        case yarn(YaRN)
        /// Divisors found by search, one for each frequency: a list for lengths within the original context and one beyond
        /// (Ding et al., 2024; `_compute_longrope_parameters`).
        case longRoPE(LongRoPE)
    }

    /// YaRN's numbers.
    public struct YaRN: Sendable, Hashable {
        public var factor: Double
        /// What cosines and sines are multiplied by.
        public var attentionFactor: Double
        /// Turns in the original context from which on a frequency is kept, and up to which it is divided.
        public var betaFast = 32.0, betaSlow = 1.0
        public var originalContext: Int
        /// Whether the ramp's ends are rounded to whole frequencies, outwards.
        public var truncates = true

        public init(factor: Double, attentionFactor: Double, originalContext: Int) {
            self.factor = factor
            self.attentionFactor = attentionFactor
            self.originalContext = originalContext
        }
    }

    /// LongRoPE's numbers.
    public struct LongRoPE: Sendable, Hashable {
        /// Divisors of each frequency, `[dim / 2]`.
        public var shortFactors: [Double], longFactors: [Double]
        /// What cosines and sines are multiplied by.
        public var attentionFactor: Double
        public var originalContext: Int

        public init(shortFactors: [Double], longFactors: [Double], attentionFactor: Double, originalContext: Int) {
            self.shortFactors = shortFactors
            self.longFactors = longFactors
            self.attentionFactor = attentionFactor
            self.originalContext = originalContext
        }
    }

    /// What cosines and sines are multiplied by.
    var attentionFactor: Double {
        switch scaling {
        case .yarn(let yarn): return yarn.attentionFactor
        case .longRoPE(let longRoPE): return longRoPE.attentionFactor
        default: return 1
        }
    }

    /// Lengths that give the same number give the same frequencies. Most scalings do not know the length. With `dynamic`,
    /// `dynamicSteps` and `longRoPE` a row's frequencies are those of its length in the pass at hand, as in Hugging Face's
    /// cached generation: keys in the cache keep the angles of the pass that put them there, so past the original context
    /// a run in several passes is not, bit for bit, a run in one.
    func regime(of length: Int) -> Int {
        switch scaling {
        case .dynamic(_, let context): return max(length, context)
        case .dynamicSteps(let context): return Self.steps(length, context)
        case .longRoPE(let longRoPE): return length > longRoPE.originalContext ? 1 : 0
        default: return 0
        }
    }

    /// Doublings that a length is past the original context, rounded up; -1 within it.
    private static func steps(_ length: Int, _ context: Int) -> Int {
        length <= context ? -1 : Int(log2(Double(length) / Double(context)).rounded(.up))
    }

    /// One inverse frequency for each pair, within the original context: `[dim / 2]`, radians per position.
    public var inverseFrequencies: [Float] { inverseFrequencies(length: 0) }

    /// The same for a row of `length` positions.
    public func inverseFrequencies(length: Int) -> [Float] {
        let stretched = base(for: length)
        let powers = (0..<dim / 2).map { Float(pow(stretched, Double(Float(2 * $0) / Float(dim)))) }
        switch scaling {
        case .none, .dynamic, .dynamicSteps: return powers.map { 1 / $0 }
        case .linear(let factor): return powers.map { 1 / $0 / Float(factor) }
        case .llama3(let factor, let low, let high, let context):
            return powers.map { Self.llama3(1 / $0, Float(factor), Float(low), Float(high), Float(context)) }
        case .yarn(let yarn): return interpolated(powers, yarn)
        case .longRoPE(let longRoPE):
            let divisors = regime(of: length) == 1 ? longRoPE.longFactors : longRoPE.shortFactors
            return zip(powers, divisors).map { 1 / (Float($1) * $0) }
        }
    }

    /// The base at a length.
    private func base(for length: Int) -> Double {
        let exponent = Double(dim) / Double(dim - 2)
        switch scaling {
        case .dynamic(let factor, let context):
            return base * pow(factor * Double(regime(of: length)) / Double(context) - (factor - 1), exponent)
        case .dynamicSteps(let context):
            let steps = Self.steps(length, context)
            return steps < 0 ? base : base * pow(pow(2, Double(steps + 1)) - 1, exponent)
        default: return base
        }
    }

    private static func llama3(_ frequency: Float, _ factor: Float, _ low: Float, _ high: Float, _ context: Float) -> Float {
        let wavelength = 2 * Float.pi / frequency
        if wavelength > context / low { return frequency / factor }
        if wavelength < context / high { return frequency }
        let smooth = (context / wavelength - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
    }

    private func interpolated(_ powers: [Float], _ yarn: YaRN) -> [Float] {
        /// The pair, as a number between pairs, that turns so often in the original context.
        func pair(turning turns: Double) -> Double {
            Double(dim) * log(Double(yarn.originalContext) / (turns * 2 * Double.pi)) / (2 * log(base))
        }
        var low = pair(turning: yarn.betaFast), high = pair(turning: yarn.betaSlow)
        if yarn.truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
        (low, high) = (max(low, 0), min(high, Double(dim - 1)))
        if low == high { high += 0.001 }
        return powers.enumerated().map { index, power in
            let kept = 1 - min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
            return 1 / (Float(yarn.factor) * power) * (1 - kept) + 1 / power * kept
        }
    }

    /// Cosines and sines, one row for each pair of a position and a row's regime, and the table's row of each entry.
    /// - Parameters:
    ///   - positions: `[batch × pos]`
    ///   - lengths: of each row of the batch, in real tokens, this pass included.
    package func table(for positions: [Int], lengths: [Int]) throws -> (table: RotaryTable, rows: [Int]) {
        struct Key: Hashable { let position: Int, regime: Int }
        let width = lengths.isEmpty ? 1 : max(1, positions.count / lengths.count)
        var rowOf: [Key: Int] = [:]
        var frequenciesOf: [Int: [Float]] = [:]
        var angles: [Double] = []
        let rows = positions.enumerated().map { index, position -> Int in
            let length = lengths.isEmpty ? 0 : lengths[min(index / width, lengths.count - 1)]
            let key = Key(position: position, regime: regime(of: length))
            if let row = rowOf[key] { return row }
            let frequencies = frequenciesOf[key.regime] ?? inverseFrequencies(length: length)
            frequenciesOf[key.regime] = frequencies
            angles += frequencies.map { Double(Float(position) * $0) }
            rowOf[key] = rowOf.count
            return rowOf.count - 1
        }
        let shape = [rowOf.count, dim / 2], factor = Float(attentionFactor)
        return (try RotaryTable(cos: Tensor(angles.map { Float(cos($0)) * factor }, shape: shape),
                                sin: Tensor(angles.map { Float(sin($0)) * factor }, shape: shape), adjacentPairs: adjacentPairs), rows)
    }

    /// Whether the numbers are possible: frequencies that are finite and at least zero, over the lengths a model has.
    func isPossible(contexts: Int) -> Bool {
        func positive(_ numbers: Double...) -> Bool { numbers.allSatisfy { $0 > 0 && $0.isFinite } }
        switch scaling {
        case .none: break
        case .linear(let factor): guard positive(factor) else { return false }
        case .llama3(let factor, let low, let high, let context):
            guard positive(factor, low, high - low, high, Double(context)) else { return false }
        case .dynamic(let factor, let context): guard positive(factor, Double(context)), dim > 2 else { return false }
        case .dynamicSteps(let context): guard context > 0, dim > 2 else { return false }
        case .yarn(let yarn):
            guard positive(yarn.factor, yarn.attentionFactor, yarn.betaFast, yarn.betaSlow, Double(yarn.originalContext)) else { return false }
        case .longRoPE(let longRoPE):
            let lists = [longRoPE.shortFactors, longRoPE.longFactors]
            guard positive(longRoPE.attentionFactor), longRoPE.originalContext > 0,
                  lists.allSatisfy({ $0.count == dim / 2 && $0.allSatisfy { positive($0) } }) else { return false }
        }
        // Heads so wide are in no file: nothing of their size is laid out to look at it.
        guard dim <= 1 << 16 else { return true }
        return [0, contexts].allSatisfy { length in inverseFrequencies(length: length).allSatisfy { $0.isFinite && $0 >= 0 } }
    }
}
