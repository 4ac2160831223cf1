// What the analyses need of a tokenizer. They run on tokens; text reaches them through this, so that this target does not
// know tokenizers, and tests can do without one.

/// Text to tokens and back.
public protocol Tokenizing: Sendable {
    /// Token ids of `text`.
    /// - Parameter addSpecialTokens: whether the tokens a tokenizer adds around a text are there.
    func encode(text: String, addSpecialTokens: Bool) throws -> [Int]
    /// The text of `tokens`.
    /// - Parameter skipSpecialTokens: whether special tokens are left out.
    func decode(tokens: [Int], skipSpecialTokens: Bool) throws -> String
    /// The beginning-of-sequence token, if there is one.
    var bosID: Int? { get }
}
