// The pre-tokenizers of tokenizer.json, one case each. They cut the text into the words that the model sees one at a
// time. It refuses types nobody knows, by name.
import LensFiles

indirect enum PreTokenizer: Sendable {
    case sequence([PreTokenizer])
    case byteLevel(ByteLevelPreTokenizer)
    case metaspace(Metaspace)
    case split(SplitPreTokenizer)
    case digits(individual: Bool)
    case whitespace
    case whitespaceSplit
    case punctuation(SplitBehavior)
    case bert
    case delimiter(UInt32)
    case unicodeScripts
    case fixedLength(Int)

    static let known = ["Sequence", "ByteLevel", "Metaspace", "Split", "Digits", "Whitespace", "WhitespaceSplit",
                        "Punctuation", "BertPreTokenizer", "CharDelimiterSplit", "UnicodeScripts", "FixedLength"]

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        let type = try fields.requiredString("type")
        switch type {
        case "Sequence":
            let list = try fields.required("pretokenizers").asArray(at: fields.place("pretokenizers"))
            self = .sequence(try list.enumerated().compactMap {
                try PreTokenizer(json: $1, at: "\(location).pretokenizers[\($0)]")
            })
        case "ByteLevel": self = .byteLevel(try ByteLevelPreTokenizer(fields))
        case "Metaspace": self = .metaspace(try Metaspace(fields))
        case "Split": self = .split(try SplitPreTokenizer(fields))
        case "Digits": self = .digits(individual: try fields.requiredBool("individual_digits"))
        case "Whitespace": self = .whitespace
        case "WhitespaceSplit": self = .whitespaceSplit
        case "Punctuation": self = .punctuation(try SplitBehavior(fields) ?? .isolated)
        case "BertPreTokenizer": self = .bert
        case "CharDelimiterSplit":
            let delimiter = try fields.requiredScalar("delimiter")
            self = .delimiter(delimiter.withUnsafeBufferPointer { scalar($0, at: 0).value })
        case "UnicodeScripts": self = .unicodeScripts
        case "FixedLength":
            let length = fields.optional("length") == nil ? 5 : try fields.requiredIndex("length")
            guard length > 0 else {
                throw LensError(.format, "impossible length", at: fields.place("length"), expected: "1 or more", found: "0")
            }
            self = .fixedLength(length)
        default: throw fields.unsupported("pre_tokenizer", type, known: Self.known)
        }
    }

    /// Cuts every piece that is no added token.
    ///
    /// - Throws: `LensError` if a regular expression takes too many steps.
    func apply(to text: inout PieceText) throws {
        if case .sequence(let list) = self {
            for stage in list { try stage.apply(to: &text) }
            return
        }
        text.spellOut()
        switch self {
        case .sequence: break
        case .byteLevel(let stage): stage.apply(to: &text)
        case .metaspace(let stage): stage.apply(to: &text)
        case .split(let stage): try stage.apply(to: &text)
        case .digits(let individual):
            let behavior = individual ? SplitBehavior.isolated : .contiguous
            behavior.split(&text) { classMatches($0, ScalarClass.numeric) }
        case .whitespace: SplitBehavior.removed.split(&text, by: wordMatches)
        case .whitespaceSplit: SplitBehavior.removed.split(&text) { classMatches($0, ScalarClass.space) }
        case .punctuation(let behavior): behavior.split(&text, by: { classMatches($0, ScalarClass.punctuation) })
        case .bert: splitAsBert(&text)
        case .delimiter(let delimiter): SplitBehavior.removed.split(&text) { scalarMatches($0) { $0 == delimiter } }
        case .unicodeScripts: splitByScript(&text)
        case .fixedLength(let length): splitEvery(length, &text)
        }
    }

    /// Whether a stage asks where in the text that was given a piece begins.
    var asksForOrigins: Bool {
        switch self {
        case .sequence(let list): return list.contains(where: \.asksForOrigins)
        case .metaspace(let stage): return stage.scheme == .first
        default: return false
        }
    }
}
