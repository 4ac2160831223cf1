// The post-processors of tokenizer.json: special tokens around the text's own, types, trimmed offsets.
// It refuses types nobody knows, and templates that name tokens or sequences that are not there.
import LensFiles

indirect enum PostProcessor: Sendable {
    case sequence([PostProcessor])
    case template(Template)
    case byteLevel(OffsetTrimmer?)
    case bert(cls: SpecialToken, sep: SpecialToken)
    case roberta(cls: SpecialToken, sep: SpecialToken, OffsetTrimmer?)

    static let known = ["Sequence", "TemplateProcessing", "ByteLevel", "RobertaProcessing", "BertProcessing"]

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        let type = try fields.requiredString("type")
        switch type {
        case "Sequence":
            let list = try fields.required("processors").asArray(at: fields.place("processors"))
            self = .sequence(try list.enumerated().compactMap {
                try PostProcessor(json: $1, at: "\(location).processors[\($0)]")
            })
        case "TemplateProcessing": self = .template(try Template(fields))
        case "ByteLevel": self = .byteLevel(try OffsetTrimmer(fields))
        case "BertProcessing":
            self = .bert(cls: try SpecialToken(pair: "cls", of: fields), sep: try SpecialToken(pair: "sep", of: fields))
        case "RobertaProcessing":
            self = .roberta(cls: try SpecialToken(pair: "cls", of: fields), sep: try SpecialToken(pair: "sep", of: fields),
                            try OffsetTrimmer(fields))
        default: throw fields.unsupported("post_processor", type, known: Self.known)
        }
    }

    /// How many tokens it adds to one text, or to two.
    func addedCount(isPair: Bool) -> Int {
        switch self {
        case .sequence(let list): return list.reduce(0) { $0 + $1.addedCount(isPair: isPair) }
        case .template(let template): return template.addedCount(isPair: isPair)
        case .byteLevel: return 0
        case .bert: return isPair ? 3 : 2
        case .roberta: return isPair ? 4 : 2
        }
    }

    /// The ids of one text with the special ones around them, or without, if that is all there is to it; else nil.
    func simplyApplied(to ids: [Int], addSpecialTokens: Bool) -> [Int]? {
        switch self {
        case .byteLevel: return ids
        case .template(let template): return template.ids(around: ids, addSpecialTokens: addSpecialTokens)
        case .bert(let cls, let sep), .roberta(let cls, let sep, _): return addSpecialTokens ? cls.ids + ids + sep.ids : ids
        case .sequence(let list):
            let others = list.filter { if case .byteLevel = $0 { return false } else { return true } }
            guard others.count < 2 else { return nil }
            return others.isEmpty ? ids : others[0].simplyApplied(to: ids, addSpecialTokens: addSpecialTokens)
        }
    }

    /// One or two encodings, typed by their places, become the parts of the whole.
    func apply(to encodings: [Encoding], addSpecialTokens: Bool) throws -> [Encoding] {
        switch self {
        case .sequence(let list):
            return try list.reduce(encodings) { try $1.apply(to: $0, addSpecialTokens: addSpecialTokens) }
        case .template(let template): return try template.apply(to: encodings, addSpecialTokens: addSpecialTokens)
        case .byteLevel(let trimmer): return encodings.map { trimmer?.trimmed($0) ?? $0 }
        case .bert(let cls, let sep):
            guard addSpecialTokens else { return encodings }
            return encodings.enumerated().map { number, encoding in
                var whole = number == 0 ? cls.encoding(type: 0) : Encoding()
                whole.append(encoding)
                whole.append(sep.encoding(type: number == 0 ? 0 : 1))
                return whole
            }
        case .roberta(let cls, let sep, let trimmer):
            return encodings.enumerated().map { number, encoding in
                var encoding = trimmer?.trimmed(encoding) ?? encoding
                encoding.typeIDs = Array(repeating: 0, count: encoding.count)
                guard addSpecialTokens else { return encoding }
                for index in encoding.overflowing.indices {
                    encoding.overflowing[index].typeIDs = Array(repeating: 0, count: encoding.overflowing[index].count)
                }
                var whole = number == 0 ? cls.encoding(type: 0) : sep.encoding(type: 0)
                whole.append(encoding)
                whole.append(sep.encoding(type: 0))
                return whole
            }
        }
    }
}

/// Special tokens that go by one name: usually one.
struct SpecialToken: Sendable {
    let ids: [Int]
    let tokens: [String]

    /// Reads `[content, id]`.
    init(pair key: String, of fields: Fields) throws {
        let pair = try fields.required(key).asArray(at: fields.place(key))
        guard pair.count == 2, let token = pair[0].stringValue else {
            throw LensError(.format, "bad token", at: fields.place(key), expected: "[content, id]")
        }
        ids = [try Self.checked(pair[1], at: fields.place(key))]
        tokens = [token]
    }

    /// A token of an id.
    init(_ token: String, _ id: Int) {
        ids = [id]
        tokens = [token]
    }

    /// Reads `{"ids": …, "tokens": …}`.
    init(_ fields: Fields) throws {
        let ids = try fields.required("ids").asArray(at: fields.place("ids"))
        self.ids = try ids.enumerated().map { try Self.checked($1, at: "\(fields.place("ids"))[\($0)]") }
        let tokens = try fields.required("tokens").asArray(at: fields.place("tokens"))
        self.tokens = try tokens.enumerated().map { try $1.asString(at: "\(fields.place("tokens"))[\($0)]") }
        guard self.ids.count == self.tokens.count else {
            throw LensError(.format, "special token with ids and tokens of two lengths", at: fields.location)
        }
    }

    private static func checked(_ json: JSON, at location: String) throws -> Int {
        let id = try json.asInt(at: location)
        guard id >= 0, id < Int(Int32.max) else {
            throw LensError(.format, "impossible id", at: location, expected: "0 to \(Int32.max - 1)", found: "\(id)")
        }
        return id
    }

    func encoding(type: Int) -> Encoding {
        var result = Encoding()
        for (id, token) in zip(ids, tokens) { result.append(id, token, 0..<0, type: type, word: nil, isSpecial: true) }
        return result
    }
}
