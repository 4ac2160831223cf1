// How the next token is chosen, as a value: temperature, cuts, penalties, seed.

import LensFiles

/// How the next token is chosen. In this order, TransformerLens' (`sample_logits`): the repetition penalty; at temperature 0
/// the most likely token; else division by the temperature, the frequency and presence penalties, and the cuts top-k, top-p
/// and min-p, each of what the one before left, as in Hugging Face.
public struct Sampling: Sendable, Hashable {
    /// 0: the most likely token. Logits are divided by it otherwise.
    public var temperature: Double
    /// Only the k most likely tokens.
    public var topK: Int?
    /// Only the fewest tokens whose probabilities reach p.
    public var topP: Double?
    /// Only tokens at least this many times as likely as the most likely one.
    public var minP: Double?
    /// The logit of a token that the prompt or the continuation holds is divided by this if positive, else multiplied
    /// (Keskar et al., 2019; Hugging Face's). 1: none. The only penalty that is there at temperature 0.
    public var repetitionPenalty = 1.0
    /// Taken from a logit, after the temperature, for each time the prompt or the continuation holds the token.
    public var frequencyPenalty = 0.0
    /// Taken from a logit, after the temperature, if the prompt or the continuation holds the token.
    public var presencePenalty = 0.0
    /// The same seed gives the same tokens, in a batch or alone: every row has its own stream from this seed, so equal
    /// prompts give equal tokens. For other samples, other seeds (`GenerationOptions.seeds`: one for each row).
    public var seed: UInt64

    public init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, minP: Double? = nil, repetitionPenalty: Double = 1,
                frequencyPenalty: Double = 0, presencePenalty: Double = 0, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.frequencyPenalty = frequencyPenalty
        self.presencePenalty = presencePenalty
        self.seed = seed
    }

    /// The most likely token, always.
    public static let greedy = Sampling(temperature: 0)

    /// - Throws: `LensError(.usage)` for a value out of range.
    public func validate() throws {
        func check(_ isFine: Bool, _ name: String, _ expected: String, _ found: Any) throws {
            if !isFine { throw LensError(.usage, "\(name) out of range", expected: expected, found: "\(found)") }
        }
        try check(temperature >= 0 && temperature.isFinite, "temperature", "a number from 0", temperature)
        if let topK { try check(topK >= 1, "top-k", "at least 1", topK) }
        if let topP { try check(topP > 0 && topP <= 1, "top-p", "above 0, at most 1", topP) }
        if let minP { try check(minP >= 0 && minP <= 1, "min-p", "0 to 1", minP) }
        try check(repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition penalty", "a number above 0", repetitionPenalty)
        try check(frequencyPenalty >= 0 && frequencyPenalty.isFinite, "frequency penalty", "a number from 0", frequencyPenalty)
        try check(presencePenalty >= 0 && presencePenalty.isFinite, "presence penalty", "a number from 0", presencePenalty)
    }

    /// Whether tokens before bear on the choice.
    var hasPenalties: Bool { repetitionPenalty != 1 || frequencyPenalty != 0 || presencePenalty != 0 }
}
