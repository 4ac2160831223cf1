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
    public var prependsBOS: Bool { !(postProcessor?.apply(to: [], addSpecialTokens: true) ?? []).isEmpty }

    /// The ids of a text's tokens.
    ///
    /// - Parameters:
    ///   - text: Any text. Canonically equivalent texts may have different tokens.
    ///   - addSpecialTokens: Whether the post-processor adds its tokens (bos, eos, …). Special tokens written in the
    ///     text are recognised in any case.
    /// - Throws: `LensError` if the text has a character that the vocabulary lacks and the model's unknown token is
    ///   missing too, or if the text has 2³¹ bytes or more.
    public func encode(text: String, addSpecialTokens: Bool = true) throws -> [Int] {
        guard text.utf8.count < Int(Int32.max) else {
            throw LensError(.text, "text too long", expected: "less than \(Int32.max) bytes", found: "\(text.utf8.count)")
        }
        var pieces = PieceText(text)
        added.extractPlain(&pieces)
        normalizer?.apply(to: &pieces)
        added.extractNormalized(&pieces)
        preTokenizer?.apply(to: &pieces)
        var ids: [Int] = []
        ids.reserveCapacity(pieces.pieces.count + 8)
        try model.encode(pieces, into: &ids)
        return postProcessor?.apply(to: ids, addSpecialTokens: addSpecialTokens) ?? ids
    }

    /// The text of tokens.
    ///
    /// - Parameters:
    ///   - tokens: Ids below `vocabularySize`. An id in that range that no token has adds nothing to the text.
    ///   - skipSpecialTokens: Whether special added tokens are left out.
    /// - Throws: `LensError` if an id is negative or not below `vocabularySize`.
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
        return String(decoding: decoder?.apply(to: texts).bytes ?? texts.spaced, as: UTF8.self)
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
