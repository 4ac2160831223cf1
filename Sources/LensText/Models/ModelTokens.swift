// The tokens of a text with the stretches of it they cover.

struct ModelTokens {
    struct Token {
        var id: Int32
        /// Bytes of the piece, as the model counts them.
        var start: Int
        var end: Int
        /// Whether the token is written as the text it covers, not as the vocabulary has it.
        var isText = false
    }

    /// The tokens of one piece.
    var tokens: [Token] = []

    mutating func append(_ id: Int32, _ start: Int, _ end: Int, isText: Bool = false) {
        tokens.append(Token(id: id, start: start, end: end, isText: isText))
    }
}
