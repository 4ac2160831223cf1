// What encoding a text gives, in full: tokens with their places, types and masks. In plain arrays of one length, as in
// Hugging Face tokenizers.

/// The tokens of a text, or of a pair of texts, and where they come from.
public struct Encoding: Sendable, Hashable {
    /// The tokens' ids.
    public var ids: [Int] = []
    /// The tokens as they are written: the vocabulary's spelling, or for tokens found in the text (added ones, and
    /// what a Unigram model covers) that text.
    public var tokens: [String] = []
    /// What each token covers, in Unicode scalars of its own text (not bytes, not Characters); 0..<0 for tokens that
    /// no text has.
    public var offsets: [Range<Int>] = []
    /// Which part of a template each token belongs to.
    public var typeIDs: [Int] = []
    /// Which word of its text each token belongs to, as the pre-tokenizer cut it; nil for tokens that no text has.
    public var wordIDs: [Int?] = []
    /// Whether a token was added by the post-processor or by padding.
    public var specialTokensMask: [Bool] = []
    /// Whether a token is to be attended to; false for padding alone.
    public var attentionMask: [Bool] = []
    /// What truncation cut off, in pieces of the same length that overlap as it asks.
    public var overflowing: [Encoding] = []

    /// An encoding without tokens.
    public init() {}

    /// How many tokens there are.
    public var count: Int { ids.count }
}

extension Encoding {
    mutating func append(_ id: Int, _ token: String, _ place: Range<Int>, type: Int, word: Int?, isSpecial: Bool, attends: Bool = true) {
        ids.append(id)
        tokens.append(token)
        offsets.append(place)
        typeIDs.append(type)
        wordIDs.append(word)
        specialTokensMask.append(isSpecial)
        attentionMask.append(attends)
    }

    /// Appends another's tokens. What overflowed is combined, each with each.
    mutating func append(_ other: Encoding) {
        var combined: [Encoding] = []
        for mine in overflowing {
            combined.append(mine.joined(other.withoutOverflow))
            for its in other.overflowing { combined.append(mine.joined(its)) }
        }
        for its in other.overflowing { combined.append(withoutOverflow.joined(its)) }
        appendTokens(other)
        overflowing = combined
    }

    private var withoutOverflow: Encoding {
        var result = self
        result.overflowing = []
        return result
    }

    private func joined(_ other: Encoding) -> Encoding {
        var result = self
        result.append(other)
        return result
    }

    private mutating func appendTokens(_ other: Encoding) {
        ids += other.ids
        tokens += other.tokens
        offsets += other.offsets
        typeIDs += other.typeIDs
        wordIDs += other.wordIDs
        specialTokensMask += other.specialTokensMask
        attentionMask += other.attentionMask
    }

    /// The tokens in a range, without overflow.
    func slice(_ range: Range<Int>) -> Encoding {
        var part = Encoding()
        part.ids = Array(ids[range])
        part.tokens = Array(tokens[range])
        part.offsets = Array(offsets[range])
        part.typeIDs = Array(typeIDs[range])
        part.wordIDs = Array(wordIDs[range])
        part.specialTokensMask = Array(specialTokensMask[range])
        part.attentionMask = Array(attentionMask[range])
        return part
    }
}
