// The pre-tokenizers of tokenizer.json, one case each; every component has its own file. They cut the text into the
// words that the model sees one at a time. It refuses the types that are not here yet, by name.
import LensFiles

indirect enum PreTokenizer: Sendable {
    case sequence([PreTokenizer])
    case byteLevel(ByteLevelPreTokenizer)
    case metaspace(Metaspace)
    case split(SplitPreTokenizer)
    case gpt2Split
    case digits(individual: Bool)
    case whitespace
    case whitespaceSplit
    case punctuation(SplitBehavior)

    static let known = ["Sequence", "ByteLevel", "Metaspace", "Split", "Digits", "Whitespace", "WhitespaceSplit", "Punctuation"]

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
        case "Split": self = try Self.readSplit(fields)
        case "Digits": self = .digits(individual: try fields.requiredBool("individual_digits"))
        case "Whitespace": self = .whitespace
        case "WhitespaceSplit": self = .whitespaceSplit
        case "Punctuation": self = .punctuation(try SplitBehavior(fields) ?? .isolated)
        default: throw fields.unsupported("pre_tokenizer", type, known: Self.known)
        }
    }

    /// A Split stage whose regular expression is one that has a scanner here, or a literal.
    private static func readSplit(_ fields: Fields) throws -> PreTokenizer {
        let isGPT2 = try Fields(try fields.required("pattern"), at: fields.place("pattern")).string("Regex")
            .map { $0.utf8.elementsEqual(GPT2Scanner.pattern.utf8) } ?? false
        guard isGPT2 else { return .split(try SplitPreTokenizer(fields)) }
        // Its matches cover the text, so isolating them, or removing what they do not match, is the same.
        let behavior = try SplitBehavior(fields) ?? .isolated, isInverted = try fields.requiredBool("invert")
        guard behavior == .isolated || (behavior == .removed && isInverted) else {
            throw LensError(.format, "unsupported behavior of this pattern", at: fields.place("behavior"),
                            expected: "Isolated", found: behavior.rawValue)
        }
        return .gpt2Split
    }

    /// Cuts every piece that is no added token.
    func apply(to text: inout PieceText) {
        if case .sequence(let list) = self {
            for stage in list { stage.apply(to: &text) }
            return
        }
        text.spellOut()
        switch self {
        case .sequence: break
        case .byteLevel(let stage): stage.apply(to: &text)
        case .metaspace(let stage): stage.apply(to: &text)
        case .split(let stage): stage.apply(to: &text)
        case .gpt2Split: GPT2Scanner.split(&text)
        case .digits(let individual):
            let behavior = individual ? SplitBehavior.isolated : .contiguous
            behavior.split(&text) { classMatches($0, ScalarClass.numeric) }
        case .whitespace: SplitBehavior.removed.split(&text, by: wordMatches)
        case .whitespaceSplit: SplitBehavior.removed.split(&text) { classMatches($0, ScalarClass.space) }
        case .punctuation(let behavior): behavior.split(&text, by: { classMatches($0, ScalarClass.punctuation) })
        }
    }
}

/// Each scalar of a class is a match of its own.
private func classMatches(_ text: Bytes, _ mask: UInt16) -> [SplitMatch] {
    var matches: [SplitMatch] = []
    var covered = 0, index = 0
    while index < text.count {
        let next = scalar(text, at: index)
        if ScalarClasses.of(next.value).has(mask) {
            if covered < index { matches.append(SplitMatch(start: covered, end: index, isMatch: false)) }
            covered = index + next.length
            matches.append(SplitMatch(start: index, end: covered, isMatch: true))
        }
        index += next.length
    }
    if covered < text.count { matches.append(SplitMatch(start: covered, end: text.count, isMatch: false)) }
    return matches
}

/// `\w+|[^\w\s]+`, inverted: the white space between is what matches.
private func wordMatches(_ text: Bytes) -> [SplitMatch] {
    func kind(_ value: UInt32) -> Int {
        let found = ScalarClasses.of(value)
        return found.has(ScalarClass.word) ? 1 : found.has(ScalarClass.space) ? 0 : 2
    }
    var matches: [SplitMatch] = []
    var index = 0
    while index < text.count {
        let start = index, run = kind(scalar(text, at: index).value)
        repeat { index += scalar(text, at: index).length } while index < text.count && kind(scalar(text, at: index).value) == run
        matches.append(SplitMatch(start: start, end: index, isMatch: run == 0))
    }
    return matches
}
