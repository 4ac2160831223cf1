// Choosing the next token from logits, as `Sampling` says. Each batch row has its own random stream and its own counts, so
// a row's choices do not depend on its neighbours.

import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A row's stream of choices.
struct Sampler {
    private let sampling: Sampling
    private var random: SplitMix64
    /// How often each token has come, in the prompt and since; kept only where a penalty asks.
    private var counts: [Int: Int] = [:]

    init(_ sampling: Sampling, seed: UInt64? = nil, prompt: [Int] = []) {
        self.sampling = sampling
        random = SplitMix64(state: seed ?? sampling.seed)
        for token in prompt { note(token) }
    }

    /// Takes note of a token that has come.
    mutating func note(_ token: Int) { if sampling.hasPenalties { counts[token, default: 0] += 1 } }

    /// The next token from one row of logits. It is noted.
    /// - Throws: `LensError(.usage)` if a logit is NaN: there is nothing to choose from.
    mutating func next(_ logits: UnsafeBufferPointer<Float>) throws -> Int {
        var best = 0, highest = -Float.infinity
        for index in 0..<logits.count {
            let logit = logits[index]
            if logit > highest { (best, highest) = (index, logit) }
            if logit.isNaN { throw LensError(.usage, "cannot choose a token: a logit is NaN", at: "token \(index)") }
        }
        let isPlain = sampling.temperature == 0 && sampling.repetitionPenalty == 1
        let token = isPlain ? best : choose(logits)
        note(token)
        return token
    }

    private mutating func choose(_ logits: UnsafeBufferPointer<Float>) -> Int {
        let logit = penalised(logits)
        var best = 0
        for token in logits.indices where logit(token) > logit(best) { best = token }
        if sampling.temperature == 0 || logit(best) == .infinity { return best }
        return draw(candidates(logits.count) { Double(logit($0)) })
    }

    /// Logits after the repetition penalty. Sparse: only tokens that have come are penalised.
    private func penalised(_ logits: UnsafeBufferPointer<Float>) -> (Int) -> Float {
        guard sampling.repetitionPenalty != 1 else { return { logits[$0] } }
        let penalty = Float(sampling.repetitionPenalty)
        let changed = counts.reduce(into: [Int: Float]()) { changed, entry in
            guard logits.indices.contains(entry.key) else { return }
            let logit = logits[entry.key]
            changed[entry.key] = logit > 0 ? logit / penalty : logit * penalty
        }
        return { changed[$0] ?? logits[$0] }
    }

    /// How likely each token is to be drawn next; for tests.
    func distribution(_ logits: UnsafeBufferPointer<Float>) -> [Double] {
        let logit = penalised(logits), left = candidates(logits.count) { Double(logit($0)) }
        var result = [Double](repeating: 0, count: logits.count)
        for candidate in left { result[candidate.id] = candidate.weight / left.reduce(0) { $0 + $1.weight } }
        return result
    }

    /// What is left to choose from after temperature, penalties and cuts, with weights that need not sum to 1; in order of
    /// token, or of likelihood where a cut has sorted them.
    private func candidates(_ count: Int, _ logit: (Int) -> Double) -> [(id: Int, weight: Double)] {
        var scores = (0..<count).map { logit($0) / sampling.temperature }
        if sampling.frequencyPenalty != 0 || sampling.presencePenalty != 0 {
            for (token, times) in counts where scores.indices.contains(token) {
                scores[token] -= sampling.frequencyPenalty * Double(times) + sampling.presencePenalty
            }
        }
        let highest = scores.max() ?? 0
        var left = scores.indices.map { (id: $0, weight: exp(scores[$0] - highest)) }
        if sampling.topK != nil || sampling.topP != nil {
            left.sort { ($0.weight, $1.id) > ($1.weight, $0.id) }
            if let topK = sampling.topK { left.removeLast(max(0, left.count - topK)) }
            if let topP = sampling.topP { Self.cut(&left, to: topP) }
        }
        // The most likely one weighs 1, whatever the cuts before left.
        if let minP = sampling.minP { left.removeAll { $0.weight < minP } }
        return left
    }

    /// Keeps the fewest, most likely first, whose share reaches `share`.
    private static func cut(_ candidates: inout [(id: Int, weight: Double)], to share: Double) {
        let wanted = share * candidates.reduce(0) { $0 + $1.weight }
        var sum = 0.0
        let last = candidates.firstIndex { candidate in
            sum += candidate.weight
            return sum >= wanted
        }
        if let last { candidates.removeLast(candidates.count - 1 - last) }
    }

    private mutating func draw(_ candidates: [(id: Int, weight: Double)]) -> Int {
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
