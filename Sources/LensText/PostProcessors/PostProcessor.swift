// The post-processors of tokenizer.json: special tokens around the text's own. Types and offsets are not kept here, so
// what remains of each is a template: tokens before, the text, tokens after. Pairs of texts come with offsets.
// It refuses types nobody knows, and templates that name tokens or sequences that are not there.
import LensFiles

indirect enum PostProcessor: Sendable {
    case sequence([PostProcessor])
    case template(Template)
    /// ByteLevel, which only trims offsets.
    case identity

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
        case "ByteLevel": self = .identity
        case "RobertaProcessing", "BertProcessing":
            let before = try Template.namedToken(fields, "cls"), after = try Template.namedToken(fields, "sep")
            self = .template(Template(pieces: [.tokens([before]), .text, .tokens([after])]))
        default: throw fields.unsupported("post_processor", type, known: Self.known)
        }
    }

    /// The tokens of a text with the special ones around them, or without.
    func apply(to ids: [Int], addSpecialTokens: Bool) -> [Int] {
        switch self {
        case .sequence(let list): return list.reduce(ids) { $1.apply(to: $0, addSpecialTokens: addSpecialTokens) }
        case .template(let template): return template.apply(to: ids, addSpecialTokens: addSpecialTokens)
        case .identity: return ids
        }
    }
}
