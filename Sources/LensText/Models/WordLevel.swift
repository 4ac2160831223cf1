// WordLevel: a word is a token, or unknown.
import LensFiles

struct WordLevel: Sendable {
    let vocabulary: Vocabulary
    private let unknownToken: String
    private let unknownID: Int32

    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        vocabulary = try Vocabulary(json: fields.required("vocab"), at: fields.place("vocab"))
        unknownToken = try fields.requiredString("unk_token")
        unknownID = vocabulary.id(of: Array(unknownToken.utf8))
    }

    /// The token of one piece.
    func encode(piece: Bytes, into tokens: inout ModelTokens) throws {
        let id = vocabulary.id(of: piece)
        guard id >= 0 || unknownID >= 0 else {
            throw LensError(.text, "a word is not in the vocabulary and neither is the unknown token", at: "model.unk_token",
                            found: "\"\(unknownToken)\"")
        }
        tokens.append(id >= 0 ? id : unknownID, 0, piece.count)
    }

    /// Appends the tokens of every piece.
    func encode(_ text: PieceText, into ids: inout [Int]) throws {
        try text.bytes.withUnsafeBufferPointer { bytes in
            for piece in text.pieces {
                if piece.token >= 0 {
                    ids.append(Int(piece.token))
                    continue
                }
                var tokens = ModelTokens()
                try encode(piece: Bytes(rebasing: bytes[piece.start..<piece.end]), into: &tokens)
                for token in tokens.tokens { ids.append(Int(token.id)) }
            }
        }
    }
}
