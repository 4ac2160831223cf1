// The models of tokenizer.json, one case each. It refuses types nobody knows, by name.
import LensFiles

/// What turns words into tokens.
enum TokenModel: Sendable {
    case bpe(BPE)
    case unigram(Unigram)
    case wordPiece(WordPiece)
    case wordLevel(WordLevel)

    static let known = ["BPE", "Unigram", "WordPiece", "WordLevel"]

    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        switch try fields.string("type") ?? Self.type(of: fields) {
        case "BPE": self = .bpe(try BPE(json: json, at: location))
        case "Unigram": self = .unigram(try Unigram(json: json, at: location))
        case "WordPiece": self = .wordPiece(try WordPiece(json: json, at: location))
        case "WordLevel": self = .wordLevel(try WordLevel(json: json, at: location))
        case let type: throw fields.unsupported("model", type, known: Self.known)
        }
    }

    /// Files of old libraries do not say; their members do.
    private static func type(of fields: Fields) -> String {
        if fields.optional("merges") != nil { return "BPE" }
        if fields.optional("max_input_chars_per_word") != nil { return "WordPiece" }
        if case .array? = fields.optional("vocab") { return "Unigram" }
        return fields.optional("vocab") != nil && fields.optional("unk_token") != nil ? "WordLevel" : "unnamed"
    }

    var vocabulary: Vocabulary {
        switch self {
        case .bpe(let model): return model.vocabulary
        case .unigram(let model): return model.vocabulary
        case .wordPiece(let model): return model.vocabulary
        case .wordLevel(let model): return model.vocabulary
        }
    }

    /// Appends the tokens of every piece. Only BPE takes the byte-level spelling as raw bytes.
    func encode(_ text: inout PieceText, into ids: inout [Int]) throws {
        switch self {
        case .bpe(let model): return try model.encode(text, into: &ids)
        default: text.spellOut()
        }
        switch self {
        case .bpe: break
        case .unigram(let model): try model.encode(text, into: &ids)
        case .wordPiece(let model): try model.encode(text, into: &ids)
        case .wordLevel(let model): try model.encode(text, into: &ids)
        }
    }

    /// The tokens of one piece, which is spelled out, with the bytes they cover.
    func encode(piece: Bytes, into tokens: inout ModelTokens) throws {
        switch self {
        case .bpe(let model): try model.encode(piece: piece, into: &tokens)
        case .unigram(let model): try model.encode(piece: piece, into: &tokens)
        case .wordPiece(let model): try model.encode(piece: piece, into: &tokens)
        case .wordLevel(let model): try model.encode(piece: piece, into: &tokens)
        }
    }
}
