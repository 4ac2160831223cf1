// Edits from text and JSON, and back to JSON. A line of text becomes a JSON object first, so that both forms are read, and
// refused, in one place.

import LensFiles
import LensHooks

extension Edit {
    /// Edits of one command-line argument: a line, a JSON object or array, or (a single word) the name of a file with either.
    /// - Throws: `LensError(.format)` saying which edit, which key and what was expected; `(.file)`.
    public static func parse(_ argument: String) throws -> [Edit] {
        let trimmed = argument.drop { $0 == " " || $0 == "\n" || $0 == "\t" }
        if trimmed.hasPrefix("{") || trimmed.hasPrefix("[") {
            return try list(JSON.parse(Array(argument.utf8), at: "edit"), at: "edit")
        }
        if !trimmed.contains(" "), !trimmed.isEmpty { return try parse(file: String(trimmed)) }
        return [try Edit(line: argument, at: "edit")]
    }

    /// Edits of a file: JSON, or a line each; empty lines and those that begin with # say nothing.
    public static func parse(file path: String) throws -> [Edit] {
        let bytes = try DataFile(path: path).readAll(limit: 1 << 26)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
        let first = text.unicodeScalars.first { !$0.properties.isWhitespace }
        if first == "{" || first == "[" { return try list(JSON.parse(bytes, at: path), at: path) }
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        let edits = try lines.enumerated().compactMap { number, line -> Edit? in
            guard let begin = line.first(where: { $0 != " " && $0 != "\t" }), begin != "#" else { return nil }
            return try Edit(line: String(line), at: "\(path): line \(number + 1)")
        }
        if edits.isEmpty { throw LensError(.format, "no edits", at: path, expected: "edits as JSON or a line each") }
        return edits
    }

    private static func list(_ json: JSON, at location: String) throws -> [Edit] {
        guard let array = json.arrayValue else { return [try Edit(json: json, at: location)] }
        return try array.enumerated().map { try Edit(json: $1, at: "\(location) \($0)") }
    }

    /// From a line of text.
    public init(line: String, at location: String = "edit") throws {
        let words = try Self.words(line, at: location)
        guard words.count >= 2, !words[0].contains("="), !words[1].contains("=") else {
            throw LensError(.format, "not an edit", at: location, expected: "OP SITE [key=value]…", found: line,
                            advice: "for example: zero blocks.5.attn.hook_z heads=3 at=last")
        }
        var object: [(String, JSON)] = [("op", .string(words[0])), ("site", .string(words[1]))]
        for word in words.dropFirst(2) {
            guard let equals = word.firstIndex(of: "=") else {
                throw LensError(.format, "not a setting of an edit", at: location, expected: "key=value", found: word)
            }
            let key = String(word[..<equals]), value = String(word[word.index(after: equals)...])
            if object.contains(where: { $0.0 == key }) { throw LensError(.format, "a key comes twice", at: location, found: key) }
            object.append((key, Self.value(key, value)))
        }
        try self.init(json: .object(JSONObject(object)), at: location)
    }

    /// Words apart by spaces; quotes hold a word together, `\\"` is a quote in it.
    private static func words(_ line: String, at location: String) throws -> [String] {
        var words: [String] = [], word = "", inWord = false, quoted = false, escaped = false
        for character in line {
            if escaped {
                word.append(character)
                escaped = false
            } else if quoted, character == "\\" {
                escaped = true
            } else if character == "\"" {
                quoted.toggle()
                inWord = true
            } else if !quoted, character == " " || character == "\t" {
                if inWord { words.append(word) }
                (word, inWord) = ("", false)
            } else {
                word.append(character)
                inWord = true
            }
        }
        guard !quoted else { throw LensError(.format, "a quote is not closed", at: location, found: line) }
        if inWord { words.append(word) }
        return words
    }

    /// A word as the JSON its key wants; what does not fit stays text, and is refused as such.
    private static func value(_ key: String, _ text: String) -> JSON {
        switch key {
        case "heads", "tokens", "at":
            return .array(text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0).map(JSON.int) ?? .string(String($0)) })
        case "by", "value": return Double(text).map(JSON.double) ?? .string(text)
        case "from_at", "from_row": return Int(text).map(JSON.int) ?? .string(text)
        default: return .string(text)
        }
    }

    // MARK: JSON

    private static let operations = ["zero", "scale", "add", "set", "patch", "mean"]
    private static let common = ["op", "site", "heads", "at"]
    private static let own: [String: [String]] = [
        "zero": [], "scale": ["by"], "add": ["value", "from", "tensor", "by"], "set": ["value", "from", "tensor"],
        "patch": ["prompt", "tokens", "from", "from_row", "from_at"], "mean": ["prompts", "prompts_file", "over"],
    ]

    /// From a JSON object.
    public init(json: JSON, at location: String = "edit") throws {
        let object = try json.asObject(at: location)
        let name = try (object["op"] ?? .null).asString(at: "\(location): op")
        guard let keys = Self.own[name] else {
            throw LensError(.format, "unknown operation of an edit", at: location, expected: Self.operations.joined(separator: ", "), found: name,
                            advice: nearestName(to: name, among: Self.operations).map { "did you mean \($0)?" })
        }
        if let unknown = object.keys.first(where: { !(Self.common + keys).contains($0) }) {
            throw LensError(.format, "\(name) takes no such key", at: "\(location): \(unknown)", expected: (Self.common + keys).joined(separator: ", "),
                            advice: nearestName(to: unknown, among: Self.common + keys).map { "did you mean \($0)?" })
        }
        site = try (object["site"] ?? .null).asString(at: "\(location): site")
        heads = try object["heads"].map { value in
            let list = try (value.arrayValue ?? [value]).map { try $0.asInt(at: "\(location): heads") }
            guard !list.isEmpty, list.allSatisfy({ $0 >= 0 }) else { throw LensError(.format, "heads of an edit", at: "\(location): heads", expected: "numbers from 0") }
            return list
        }
        positions = try Self.positions(object["at"], "\(location): at")
        operation = try Self.operation(name, object, location)
    }

    private static func positions(_ json: JSON?, _ location: String) throws -> [HookPosition] {
        guard let json else { return [.all] }
        let list = json.arrayValue ?? [json]
        guard !list.isEmpty else { throw LensError(.format, "positions of an edit", at: location, expected: "at least one") }
        return try list.flatMap { entry -> [HookPosition] in
            if let place = entry.intValue { return [.absolute(place)] }
            switch entry.stringValue {
            case "all"?: return [.all]
            case "last"?: return [.lastOfPrompt]
            case "new"?: return [.everyNewToken]
            case let text?:
                let ends = text.split(separator: ".", omittingEmptySubsequences: false)
                if ends.count == 3, ends[1].isEmpty, let low = Int(ends[0]), let high = Int(ends[2]), low >= 0, low <= high, high - low < 1 << 20 {
                    return (low...high).map(HookPosition.absolute)
                }
                fallthrough
            default:
                throw LensError(.format, "position of an edit", at: location, expected: "all, last, new, a number, or a range 2..4 (its end included)",
                                found: entry.summary)
            }
        }
    }

    private static func operation(_ name: String, _ object: JSONObject, _ location: String) throws -> Operation {
        func text(_ key: String) throws -> String? { try object[key]?.asString(at: "\(location): \(key)") }
        func number(_ key: String) throws -> Double? {
            guard let value = try object[key]?.asDouble(at: "\(location): \(key)") else { return nil }
            guard value.isFinite else { throw LensError(.format, "a number of an edit", at: "\(location): \(key)", expected: "a finite number", found: "\(value)") }
            return value
        }
        func value() throws -> Value {
            switch (try number("value"), try text("from")) {
            case (let number?, nil):
                if object["tensor"] != nil { throw LensError(.format, "tensor needs from", at: "\(location): tensor") }
                return .number(number)
            case (nil, let path?): return .file(path, tensor: try text("tensor"))
            default: throw LensError(.format, "\(name) needs a value", at: location, expected: "value=N or from=FILE, one of them")
            }
        }
        switch name {
        case "zero": return .zero
        case "scale":
            guard let factor = try number("by") else { throw LensError(.format, "scale needs a factor", at: location, expected: "by=N") }
            return .scale(factor)
        case "add": return .add(try value(), by: try number("by") ?? 1)
        case "set": return .set(try value())
        case "patch": return .patch(try origin(object, location), at: try object["from_at"]?.asInt(at: "\(location): from_at"))
        default:
            let over = try text("over") ?? Average.all.rawValue
            guard let average = Average(rawValue: over) else {
                throw LensError(.format, "what a mean is taken over", at: "\(location): over", expected: Average.allCases.map(\.rawValue).joined(separator: ", "), found: over)
            }
            let prompts = try object["prompts"]?.asArray(at: "\(location): prompts").map { try $0.asString(at: "\(location): prompts") } ?? []
            let file = try text("prompts_file")
            guard prompts.isEmpty != (file == nil) else { throw LensError(.format, "mean needs prompts", at: location, expected: "prompts_file=FILE or prompts, one of them") }
            return .mean(prompts: prompts, file: file, over: average)
        }
    }

    private static func origin(_ object: JSONObject, _ location: String) throws -> Origin {
        let given = ["prompt", "tokens", "from"].filter { object[$0] != nil }
        guard given.count == 1 else { throw LensError(.format, "patch needs one origin", at: location, expected: "prompt=\"TEXT\", tokens=1,2,3 or from=FILE") }
        guard object["from_row"] == nil || given == ["from"] else { throw LensError(.format, "from_row needs from", at: location) }
        switch given[0] {
        case "prompt": return .prompt(try (object["prompt"] ?? .null).asString(at: "\(location): prompt"))
        case "tokens": return .tokens(try (object["tokens"] ?? .null).asArray(at: "\(location): tokens").map { try $0.asInt(at: "\(location): tokens") })
        default:
            let row = try object["from_row"]?.asInt(at: "\(location): from_row") ?? 0
            guard row >= 0 else { throw LensError(.format, "row of a run", at: "\(location): from_row", expected: "a number from 0", found: "\(row)") }
            return .run(try (object["from"] ?? .null).asString(at: "\(location): from"), row: row)
        }
    }

    /// As a JSON object, to keep.
    public var json: JSON {
        var pairs: [(String, JSON)] = []
        switch operation {
        case .zero: pairs = [("op", "zero")]
        case .scale(let factor): pairs = [("op", "scale"), ("by", .double(factor))]
        case .add(let value, let by): pairs = [("op", "add")] + Self.pairs(value) + [("by", .double(by))]
        case .set(let value): pairs = [("op", "set")] + Self.pairs(value)
        case .patch(.prompt(let text), let place): pairs = [("op", "patch"), ("prompt", .string(text))] + (place.map { [("from_at", .int($0))] } ?? [])
        case .patch(.tokens(let tokens), let place): pairs = [("op", "patch"), ("tokens", .array(tokens.map(JSON.int)))] + (place.map { [("from_at", .int($0))] } ?? [])
        case .patch(.run(let path, let row), let place):
            pairs = [("op", "patch"), ("from", .string(path)), ("from_row", .int(row))] + (place.map { [("from_at", .int($0))] } ?? [])
        case .mean(let prompts, let file, let over):
            pairs = [("op", "mean"), file.map { ("prompts_file", .string($0)) } ?? ("prompts", .array(prompts.map(JSON.string))), ("over", .string(over.rawValue))]
        }
        pairs.insert(("site", .string(site)), at: 1)
        if let heads { pairs.append(("heads", .array(heads.map(JSON.int)))) }
        pairs.append(("at", .array(positions.map(Self.json))))
        return .object(JSONObject(pairs))
    }

    private static func pairs(_ value: Value) -> [(String, JSON)] {
        switch value {
        case .number(let number): return [("value", .double(number))]
        case .file(let path, let tensor): return [("from", .string(path))] + (tensor.map { [("tensor", .string($0))] } ?? [])
        }
    }

    private static func json(_ position: HookPosition) -> JSON {
        switch position {
        case .all: return "all"
        case .lastOfPrompt: return "last"
        case .everyNewToken: return "new"
        case .absolute(let place): return .int(place)
        case .absolutePerRow(let places): return .array(places.map { $0.map(JSON.int) ?? .null })
        }
    }
}
