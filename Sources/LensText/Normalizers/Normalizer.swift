// The normalizers of tokenizer.json, one case each; every component has its own file. It refuses the types that are
// not here yet, by name.
import LensFiles

/// A normalizer: rewrites the text before it is cut.
indirect enum Normalizer: Sendable {
    case sequence([Normalizer])
    case prepend(PrependNormalizer)
    case replace(ReplaceNormalizer)
    case strip(StripNormalizer)

    static let known = ["Sequence", "Prepend", "Replace", "Strip"]

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
        default: throw fields.unsupported("normalizer", type, known: Self.known)
        }
    }

    /// Normalises every piece that is no added token.
    func apply(to text: inout PieceText) {
        switch self {
        case .sequence(let list): for normalizer in list { normalizer.apply(to: &text) }
        case .prepend(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        case .replace(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        case .strip(let normalizer): text.rewrite { normalizer.write($0, $1, into: &$2) }
        }
    }

    /// The normalised form of a text of its own (valid UTF-8).
    func normalized(_ content: [UInt8]) -> [UInt8] {
        var text = PieceText(String(decoding: content, as: UTF8.self))
        apply(to: &text)
        return text.bytes
    }
}
