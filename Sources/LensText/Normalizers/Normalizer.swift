// The normalizers of tokenizer.json, one case each. It refuses types nobody knows, by name.
import LensFiles

/// A normalizer: rewrites the text before it is cut.
indirect enum Normalizer: Sendable {
    case sequence([Normalizer])
    case prepend(PrependNormalizer)
    case replace(ReplaceNormalizer)
    case strip(StripNormalizer)
    case form(UnicodeForm)
    case lowercase
    case stripAccents
    case nmt
    case bert(BertNormalizer)
    case precompiled(PrecompiledNormalizer)
    case byteLevel

    static let known = ["Sequence", "Prepend", "Replace", "Strip", "NFC", "NFD", "NFKC", "NFKD", "Lowercase",
                        "StripAccents", "Nmt", "BertNormalizer", "Precompiled", "ByteLevel"]

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        let type = try fields.requiredString("type")
        switch type {
        case "Sequence":
            let list = try fields.required("normalizers").asArray(at: fields.place("normalizers"))
            self = .sequence(try list.enumerated().compactMap {
                try Normalizer(json: $1, at: "\(location).normalizers[\($0)]")
            })
        case "Prepend": self = .prepend(try PrependNormalizer(fields))
        case "Replace": self = .replace(try ReplaceNormalizer(fields))
        case "Strip": self = .strip(try StripNormalizer(fields))
        case "NFC": self = .form(UnicodeForm(isCompatible: false, composes: true))
        case "NFD": self = .form(UnicodeForm(isCompatible: false, composes: false))
        case "NFKC": self = .form(UnicodeForm(isCompatible: true, composes: true))
        case "NFKD": self = .form(UnicodeForm(isCompatible: true, composes: false))
        case "Lowercase": self = .lowercase
        case "StripAccents": self = .stripAccents
        case "Nmt": self = .nmt
        case "BertNormalizer": self = .bert(try BertNormalizer(fields))
        case "Precompiled": self = .precompiled(try PrecompiledNormalizer(fields))
        case "ByteLevel": self = .byteLevel
        default: throw fields.unsupported("normalizer", type, known: Self.known)
        }
    }

    /// Normalises every piece that is no added token. Pieces may become empty.
    ///
    /// - Throws: `LensError` if a regular expression takes too many steps.
    func apply(to text: inout PieceText) throws {
        switch self {
        case .sequence(let list): for normalizer in list { try normalizer.apply(to: &text) }
        case .prepend(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        case .replace(let normalizer): try text.rewrite { try normalizer.write($0, $1, into: &$2) }
        case .strip(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        case .form(let form): text.rewrite { form.write($0, $1, into: &$2) }
        case .lowercase: text.rewrite { ScalarNormalizer.lowercase($0, $1, into: &$2) }
        case .stripAccents: text.rewrite { ScalarNormalizer.dropping(NormalizationData.accents, $0, $1, into: &$2) }
        case .nmt: text.rewrite { ScalarNormalizer.nmt($0, $1, into: &$2) }
        case .bert(let normalizer): normalizer.apply(to: &text)
        case .precompiled(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        case .byteLevel: text.rewrite { _, piece, out in out.spell(piece.start..<piece.end) }
        }
    }

    /// The normalised form of a text of its own (valid UTF-8).
    func normalized(_ content: [UInt8]) throws -> [UInt8] {
        var text = PieceText(content)
        try apply(to: &text)
        return text.bytes
    }
}
