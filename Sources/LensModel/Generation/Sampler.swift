// Choosing the next token from logits: greedy, or from the distribution with temperature, top-k and top-p. Each batch row
// has its own random stream, so a row's choices do not depend on its neighbours.

import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// How the next token is chosen.
public struct Sampling: Sendable, Hashable {
    /// 0: the most likely token. Logits are divided by it otherwise.
    public var temperature: Double
    /// Only the k most likely tokens.
    public var topK: Int?
    /// Only the fewest tokens whose probabilities reach p.
    public var topP: Double?
    /// The same seed gives the same tokens, in a batch or alone: every row has its own stream from this seed, so equal
    /// prompts give equal tokens. For other samples, other seeds.
    public var seed: UInt64

    public init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
    }

    /// The most likely token, always.
    public static let greedy = Sampling(temperature: 0)

    /// - Throws: `LensError(.usage)` for a value out of range.
    public func validate() throws {
        guard temperature >= 0, temperature.isFinite else {
            throw LensError(.usage, "temperature out of range", expected: "a number from 0", found: "\(temperature)")
        }
        if let topK, topK < 1 { throw LensError(.usage, "top-k out of range", expected: "at least 1", found: "\(topK)") }
        if let topP, !(topP > 0 && topP <= 1) {
            throw LensError(.usage, "top-p out of range", expected: "above 0, at most 1", found: "\(topP)")
        }
    }
}

/// A row's stream of choices.
struct Sampler {
    private let sampling: Sampling
    private var random: SplitMix64

    init(_ sampling: Sampling) {
        self.sampling = sampling
        random = SplitMix64(state: sampling.seed)
    }

    /// The next token from one row of logits.
    /// - Throws: `LensError(.usage)` if a logit is NaN: there is nothing to choose from.
    mutating func next(_ logits: UnsafeBufferPointer<Float>) throws -> Int {
        var best = 0
        for (index, logit) in logits.enumerated() {
            if logit.isNaN { throw LensError(.usage, "cannot choose a token: a logit is NaN", at: "token \(index)") }
            if logit > logits[best] { best = index }
        }
        if sampling.temperature == 0 || logits[best] == .infinity { return best }
        return sample(logits, maximum: Double(logits[best]))
    }

    private mutating func sample(_ logits: UnsafeBufferPointer<Float>, maximum: Double) -> Int {
        var candidates = logits.indices.map { (id: $0, weight: exp((Double(logits[$0]) - maximum) / sampling.temperature)) }
        if sampling.topK != nil || sampling.topP != nil {
            candidates.sort { ($0.weight, $1.id) > ($1.weight, $0.id) }
            if let topK = sampling.topK { candidates.removeLast(max(0, candidates.count - topK)) }
            if let topP = sampling.topP {
                let wanted = topP * candidates.reduce(0) { $0 + $1.weight }
                var sum = 0.0
                let kept = candidates.firstIndex { candidate in
                    sum += candidate.weight
                    return sum >= wanted
                }
                if let kept { candidates.removeLast(candidates.count - 1 - kept) }
            }
        }
        var left = random.unit() * candidates.reduce(0) { $0 + $1.weight }
        for candidate in candidates {
            left -= candidate.weight
            if left < 0 { return candidate.id }
        }
        return candidates.last { $0.weight > 0 }?.id ?? 0
    }
}

/// The SplitMix64 generator (Steele, Lea and Flood, 2014).
package struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    package init(state: UInt64) { self.state = state }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in 0..<1.
    package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
