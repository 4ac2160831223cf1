// Where chat templates lie: in tokenizer_config.json, one or several by name, or in files of their own beside it.
import LensFiles

/// A chat template as it is written, with its name.
public struct ChatTemplateSource: Sendable, Hashable {
    /// `default` for the one that has none.
    public var name: String
    /// Jinja.
    public var text: String

    public init(name: String = "default", text: String) {
        self.name = name
        self.text = text
    }

    /// "chat_template": a string, a list of `{"name", "template"}`, or an object by name.
    static func read(_ fields: Fields) throws -> [ChatTemplateSource] {
        guard let value = fields.optional("chat_template") else { return [] }
        let place = fields.place("chat_template")
        switch value {
        case .string(let text): return [ChatTemplateSource(text: text)]
        case .array(let list):
            return try list.enumerated().map { index, item in
                let item = try Fields(item, at: "\(place)[\(index)]")
                return ChatTemplateSource(name: try item.requiredString("name"), text: try item.requiredString("template"))
            }
        case .object(let object):
            return try object.pairs.map { ChatTemplateSource(name: $0, text: try $1.asString(at: "\(place).\($0)")) }
        default:
            throw LensError(.format, "wrong type of JSON value", at: place, expected: "a string or a list", found: value.summary)
        }
    }

    /// `chat_template.jinja` and `additional_chat_templates/*.jinja`; together they go before the configuration's.
    static func read(folder: String) throws -> [ChatTemplateSource] {
        var found: [ChatTemplateSource] = []
        func add(_ name: String, _ path: String) throws {
            guard let bytes = try readFile(path, isOptional: true) else { return }
            guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
            found.append(ChatTemplateSource(name: name, text: text))
        }
        try add("default", folder + "/chat_template.jinja")
        for file in fileNames(in: folder + "/additional_chat_templates").sorted() where file.hasSuffix(".jinja") {
            try add(String(file.dropLast(".jinja".count)), "\(folder)/additional_chat_templates/\(file)")
        }
        return found
    }
}
