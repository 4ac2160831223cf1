// The models of tokenizer.json, one case each. It refuses the types that are not here yet, by name.
import LensFiles

/// What turns words into tokens.
enum TokenModel: Sendable {
    case bpe(BPE)

    static let known = ["BPE"]

    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        // Files of old libraries do not say; the merges do.
        let type = try fields.string("type") ?? (fields.optional("merges") == nil ? "unnamed" : "BPE")
        switch type {
        case "BPE": self = .bpe(try BPE(json: json, at: location))
        default: throw fields.unsupported("model", type, known: Self.known)
        }
    }

    var vocabulary: Vocabulary {
        switch self {
        case .bpe(let model): return model.vocabulary
        }
    }

    /// Appends the tokens of every piece.
    func encode(_ text: PieceText, into ids: inout [Int]) throws {
        switch self {
        case .bpe(let model): try model.encode(text, into: &ids)
        }
    }
}
