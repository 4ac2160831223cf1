// The decoders of tokenizer.json, one case each: from the tokens' texts back to the text. It refuses types nobody knows,
// by name.
import LensFiles

indirect enum Decoder: Sendable {
    case sequence([Decoder])
    case byteLevel
    case byteFallback
    case fuse
    case replace(ReplaceNormalizer)
    case strip(StripDecoder)
    case metaspace(Metaspace)
    case wordPiece(WordPieceDecoder)
    case bpe(suffix: [UInt8])
    case ctc(CTCDecoder)

    static let known = ["Sequence", "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Metaspace", "WordPiece",
                        "BPEDecoder", "CTC"]

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        let type = try fields.requiredString("type")
        switch type {
        case "Sequence":
            let list = try fields.required("decoders").asArray(at: fields.place("decoders"))
            self = .sequence(try list.enumerated().compactMap {
                try Decoder(json: $1, at: "\(location).decoders[\($0)]")
            })
        case "ByteLevel": self = .byteLevel
        case "ByteFallback": self = .byteFallback
        case "Fuse": self = .fuse
        case "Replace": self = .replace(try ReplaceNormalizer(fields))
        case "Strip": self = .strip(try StripDecoder(fields))
        case "Metaspace": self = .metaspace(try Metaspace(fields))
        case "WordPiece": self = .wordPiece(try WordPieceDecoder(fields))
        case "BPEDecoder": self = .bpe(suffix: Array(try fields.requiredString("suffix").utf8))
        case "CTC": self = .ctc(try CTCDecoder(fields))
        default: throw fields.unsupported("decoder", type, known: Self.known)
        }
    }

    /// - Throws: `LensError` if a regular expression takes too many steps.
    func apply(to tokens: TokenTexts) throws -> TokenTexts {
        switch self {
        case .sequence(let list): return try list.reduce(tokens) { try $1.apply(to: $0) }
        case .byteLevel: return decodeByteLevel(tokens)
        case .byteFallback: return decodeByteFallback(tokens)
        case .fuse: return tokens.fused
        case .replace(let replace): return try tokens.map { text, _, out in try replace.write(text, into: &out) }
        case .strip(let strip): return tokens.map { text, _, out in strip.write(text, into: &out) }
        case .metaspace(let metaspace): return metaspace.decode(tokens)
        case .wordPiece(let decoder): return decoder.apply(to: tokens)
        case .bpe(let suffix): return decodeBPE(tokens, suffix)
        case .ctc(let decoder): return decoder.apply(to: tokens)
        }
    }
}
