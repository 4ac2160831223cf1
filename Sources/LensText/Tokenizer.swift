// The tokenizer: text to token ids and back, as Hugging Face `tokenizers` does it, stage by stage: added tokens,
// normalizer, pre-tokenizer, model, post-processor; and the decoder for the way back. Each stage has its own folder.
// Loading is in TokenizerLoading.swift.
import LensFiles

/// A tokenizer read from a `tokenizer.json`.
///
/// Text is handled by its bytes: canonically equivalent strings are different text here. A tokenizer is immutable, and
/// several tasks may use one at once.
public struct Tokenizer: Sendable {
    let added: AddedVocabulary
    let normalizer: Normalizer?
    let preTokenizer: PreTokenizer?
    let model: TokenModel
    var postProcessor: PostProcessor?
    let decoder: Decoder?

    /// How encodings are cut to a length; what the file says, until it is changed.
    public var truncation: Truncation?
    /// How encodings are filled up to a length; what the file says, until it is changed.
    public var padding: Padding?
    /// Whether a stage needs to know where pieces began before they were normalised.
    let asksForOrigins: Bool

    /// What the configuration beside the tokenizer says.
    public let config: TokenizerConfig
    /// The id of the token that begins a text, if the configuration names one that exists.
    public let bosID: Int?
    /// The id of the token that ends a text, if the configuration names one that exists.
    public let eosID: Int?
    /// The id of the token that fills up a batch, if the configuration names one that exists.
    public let padID: Int?
    /// The id of the token for what the vocabulary lacks, if the configuration names one that exists.
    public let unkID: Int?

    /// One more than the greatest id: how many rows an embedding needs at least.
    public var vocabularySize: Int { max(model.vocabulary.idLimit, added.idLimit) }

    /// The tokens added on top of the model's vocabulary.
    public var addedTokens: [AddedToken] { added.tokens }

    /// Whether encoding adds tokens to an empty text, TransformerLens' `tokenizer_prepends_bos`.
    public var prependsBOS: Bool { (postProcessor?.addedCount(isPair: false) ?? 0) > 0 }

    /// The ids of a text's tokens.
    ///
    /// - Parameters:
    ///   - text: Any text. Canonically equivalent texts may have different tokens.
    ///   - addSpecialTokens: Whether the post-processor adds its tokens (bos, eos, …). Special tokens written in the
    ///     text are recognised in any case.
    /// - Throws: `LensError` if the text has a character that the vocabulary lacks and the model's unknown token is
    ///   missing too, if a regular expression takes too many steps, or if the text has 2³¹ bytes or more.
    public func encode(text: String, addSpecialTokens: Bool = true) throws -> [Int] {
        if truncation != nil { return try encoding(text: text, addSpecialTokens: addSpecialTokens).ids }
        var pieces = try self.pieces(of: text, keepsSpans: asksForOrigins)
        var ids: [Int] = []
        ids.reserveCapacity(pieces.pieces.count + 8)
        try model.encode(&pieces, into: &ids)
        guard let postProcessor else { return padding?.filled(ids) ?? ids }
        guard let whole = postProcessor.simplyApplied(to: ids, addSpecialTokens: addSpecialTokens) else {
            return try encoding(text: text, addSpecialTokens: addSpecialTokens).ids
        }
        return padding?.filled(whole) ?? whole
    }

    /// The ids of the tokens of a text given as bytes. What is not UTF-8 (lone surrogates, for one) is read as U+FFFD,
    /// one for each maximal part of a sequence; a Swift `String` cannot hold such text, so this is where it happens.
    ///
    /// - Throws: As `encode(text:addSpecialTokens:)`.
    public func encode(utf8: some Collection<UInt8>, addSpecialTokens: Bool = true) throws -> [Int] {
        try encode(text: String(decoding: utf8, as: UTF8.self), addSpecialTokens: addSpecialTokens)
    }

    /// The tokens of a text, or of a pair of texts, with their places in it.
    ///
    /// - Parameters:
    ///   - text: The text, or the first of two.
    ///   - pair: The second text, if there is one. Its tokens' places are places in it.
    ///   - addSpecialTokens: Whether the post-processor adds its tokens.
    /// - Returns: The encoding, its offsets in Unicode scalars, as Hugging Face tokenizers gives it.
    /// - Throws: `LensError` as `encode(text:addSpecialTokens:)` does, and if the texts are too short to be truncated as
    ///   `truncation` asks.
    public func encoding(text: String, pair: String? = nil, addSpecialTokens: Bool = true) throws -> Encoding {
        var encodings = [try plainEncoding(of: text, type: 0)]
        if let pair { encodings.append(try plainEncoding(of: pair, type: 1)) }
        let added = addSpecialTokens ? postProcessor?.addedCount(isPair: pair != nil) ?? 0 : 0
        try truncation?.apply(to: &encodings, added: added)
        try truncation?.checkCombinations(encodings)
        if let postProcessor {
            encodings = try postProcessor.apply(to: encodings, addSpecialTokens: addSpecialTokens)
        }
        var whole = encodings.first ?? Encoding()
        for encoding in encodings.dropFirst() { whole.append(encoding) }
        padding?.apply(to: &whole)
        return whole
    }

    /// A text cut into pieces, for the model.
    func pieces(of text: String, keepsSpans: Bool) throws -> PieceText {
        guard text.utf8.count < Int(Int32.max) else {
            throw LensError(.text, "text too long", expected: "less than \(Int32.max) bytes", found: "\(text.utf8.count)")
        }
        var pieces = PieceText(text, keepsSpans: keepsSpans)
        added.extractPlain(&pieces)
        try normalizer?.apply(to: &pieces)
        guard pieces.bytes.count < Int(Int32.max) else {
            throw LensError(.text, "normalised text too long", at: "normalizer", found: "\(pieces.bytes.count) bytes")
        }
        added.extractNormalized(&pieces)
        try preTokenizer?.apply(to: &pieces)
        return pieces
    }

    /// The text of tokens.
    ///
    /// - Parameters:
    ///   - tokens: Ids below `vocabularySize`. An id in that range that no token has adds nothing to the text.
    ///   - skipSpecialTokens: Whether special added tokens are left out.
    /// - Throws: `LensError` if an id is negative or not below `vocabularySize`, or if a regular expression takes too
    ///   many steps.
    public func decode(tokens: [Int], skipSpecialTokens: Bool = false) throws -> String {
        var texts = TokenTexts()
        let vocabulary = model.vocabulary, limit = vocabularySize
        for (place, id) in tokens.enumerated() {
            guard id >= 0, id < limit else {
                throw LensError(.text, "no such token", at: "token \(place)", expected: "an id from 0 to \(limit - 1)",
                                found: "\(id)")
            }
            if let token = added.decoded(id) {
                if !(skipSpecialTokens && token.isSkipped) { texts.append(token.form) }
            } else if let token = vocabulary.token(id) {
                texts.append(token)
            }
        }
        return String(decoding: try decoder?.apply(to: texts).bytes ?? texts.spaced, as: UTF8.self)
    }

    /// The token with an id, in the vocabulary's own spelling (`Ġworld`, `▁world`); nil if no token has it.
    public func token(for id: Int) -> String? {
        if let token = added.token(id) { return token.content }
        return model.vocabulary.token(id).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The id of a token in the vocabulary's own spelling, compared byte by byte; nil if there is none.
    public func id(for token: String) -> Int? { Self.id(of: Array(token.utf8), added, model) }

    static func id(of token: [UInt8], _ added: AddedVocabulary, _ model: TokenModel) -> Int? {
        if let id = added.id(of: token) { return id }
        let id = model.vocabulary.id(of: token)
        return id < 0 ? nil : Int(id)
    }
}
