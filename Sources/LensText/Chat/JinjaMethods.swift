// Methods of strings, dictionaries and lists, Python's, and `loop.cycle` and `loop.changed`. Those that would change a value
// are refused, as in Jinja's immutable sandbox.
import LensFiles

enum JinjaMethods {
    private static let ofStrings: Set<String> = [
        "upper", "lower", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "replace", "title",
        "capitalize", "join", "find", "rfind", "index", "count", "format", "isdigit", "isalpha", "isalnum", "isspace", "islower",
        "isupper", "removeprefix", "removesuffix", "zfill", "partition", "rpartition", "ljust", "rjust", "casefold", "swapcase",
    ]
    private static let ofDicts: Set<String> = ["get", "items", "keys", "values", "copy"]
    private static let ofLists: Set<String> = ["index", "count", "copy"]
    private static let changing: Set<String> = ["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update",
                                                "setdefault", "popitem"]

    static func has(_ value: JinjaValue, _ name: String) -> Bool {
        switch value {
        case .string: ofStrings.contains(name)
        case .dict: ofDicts.contains(name) || ["pop", "clear", "update", "setdefault", "popitem"].contains(name)
        case .list: ofLists.contains(name) || changing.contains(name)
        default: false
        }
    }

    static func call(_ name: String, on value: JinjaValue, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        switch value {
        case .string(let text): return try string(name, try evaluator.charge(text: text), arguments, &evaluator)
        case .dict(let dict):
            try evaluator.charge(dict.count)
            switch name {
            case "get":
                guard let key = arguments.value(0, "key") else { throw JinjaError("get without a key") }
                return dict[key] ?? arguments.value(1, "default") ?? .none
            case "items": return try .list(zip(dict.keys, dict.values).map { .list(try JinjaList([$0, $1], isTuple: true)) })
            case "keys": return try .list(dict.keys)
            case "values": return try .list(dict.values)
            case "copy": return value
            default: throw JinjaError("'\(name)', which would change a dictionary")
            }
        case .list(let list):
            try evaluator.charge(list.items.count)
            if name == "copy" { return value }
            guard ofLists.contains(name) else { throw JinjaError("'\(name)', which would change a list") }
            guard let wanted = arguments.positional.first else { throw JinjaError("\(name) of nothing") }
            if name == "count" { return .int(list.items.count { $0.equals(wanted) }) }
            guard let place = list.items.firstIndex(where: { $0.equals(wanted) }) else { throw JinjaError("index of what is not in a list") }
            return .int(place)
        case .loop(let loop):
            if name == "cycle" {
                guard !arguments.positional.isEmpty else { throw JinjaError("a cycle of nothing") }
                return arguments.positional[loop.index % arguments.positional.count]
            }
            let isSame = loop.last.map { last in
                last.count == arguments.positional.count && zip(last, arguments.positional).allSatisfy { $0.equals($1) }
            } ?? false
            loop.last = arguments.positional
            return .bool(!isSame)
        default: throw JinjaError("a method of \(value.typeName)")
        }
    }

    private static func string(_ name: String, _ text: String, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        func part(_ index: Int, _ name: String) throws -> String {
            guard let part = try arguments.string(index, name) else { throw JinjaError("a method of a string without '\(name)'") }
            return part
        }
        func affixes() throws -> [[UInt8]] {
            if case .list(let list)? = arguments.positional.first, list.isTuple { return list.items.map { Array($0.text.utf8) } }
            return [Array(try part(0, "prefix").utf8)]
        }
        let bytes = Array(text.utf8)
        switch name {
        case "upper": return .string(text.uppercased())
        case "lower", "casefold": return .string(text.lowercased())
        case "swapcase": return .string(text.unicodeScalars.map { $0.properties.isUppercase ? $0.properties.lowercaseMapping : $0.properties.uppercaseMapping }.joined())
        case "title": return .string(titled(text))
        case "capitalize": return .string(capitalized(text))
        case "strip", "lstrip", "rstrip":
            return .string(stripped(text, try arguments.string(0, "chars"), left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit":
            let parts = try split(text, try arguments.string(0, "sep"), try arguments.int(1, "maxsplit") ?? -1, fromEnd: name == "rsplit")
            try evaluator.charge(parts.count)
            return try .list(parts.map(JinjaValue.string))
        case "splitlines": return try .list(lines(text, keepsEnds: arguments.value(0, "keepends")?.isTrue ?? false).map(JinjaValue.string))
        case "startswith": return .bool(try affixes().contains { bytes.starts(with: $0) })
        case "endswith": return .bool(try affixes().contains { bytes.count >= $0.count && bytes.suffix($0.count).elementsEqual($0) })
        case "removeprefix":
            let affix = try affixes()[0]
            return .string(bytes.starts(with: affix) ? String(decoding: bytes.dropFirst(affix.count), as: UTF8.self) : text)
        case "removesuffix":
            let affix = try affixes()[0], has = bytes.count >= affix.count && bytes.suffix(affix.count).elementsEqual(affix)
            return .string(has ? String(decoding: bytes.dropLast(affix.count), as: UTF8.self) : text)
        case "replace":
            return .string(try replaced(text, try part(0, "old"), try part(1, "new"), try arguments.int(2, "count") ?? -1, &evaluator))
        case "join":
            let parts = try evaluator.elements(of: arguments.positional.first ?? .none).map { item -> String in
                guard case .string(let part) = item else { throw JinjaError("joining \(item.typeName)") }
                return part
            }
            return .string(try evaluator.charge(text: parts.joined(separator: text)))
        case "find", "index", "rfind":
            let wanted = Array(try part(0, "sub").utf8)
            guard let place = name == "rfind" ? findLast(wanted, in: bytes) : find(wanted, in: bytes) else {
                if name == "index" { throw JinjaError("index of what is not in a string") }
                return .int(-1)
            }
            return .int(String(decoding: bytes[..<place], as: UTF8.self).unicodeScalars.count)
        case "count":
            let wanted = try part(0, "sub")
            return .int(wanted.utf8.isEmpty ? text.unicodeScalars.count + 1 : try split(text, wanted, -1, fromEnd: false).count - 1)
        case "partition", "rpartition":
            let separator = try part(0, "sep"), wanted = Array(separator.utf8)
            guard !wanted.isEmpty else { throw JinjaError("an empty separator") }
            let place = name == "partition" ? find(wanted, in: bytes) : findLast(wanted, in: bytes)
            let parts = place.map { [String(decoding: bytes[..<$0], as: UTF8.self), separator, String(decoding: bytes[($0 + wanted.count)...], as: UTF8.self)] }
                ?? (name == "partition" ? [text, "", ""] : ["", "", text])
            return .list(try JinjaList(parts.map(JinjaValue.string), isTuple: true))
        case "zfill", "ljust", "rjust":
            let width = try arguments.int(0, "width") ?? 0, count = width - text.unicodeScalars.count
            guard count > 0 else { return .string(text) }
            guard count <= 10_000 else { throw JinjaError("a text filled up by more than 10000 characters") }
            let filler = String(repeating: name == "zfill" ? "0" : try arguments.string(1, "fillchar") ?? " ", count: count)
            if name == "zfill", let sign = text.unicodeScalars.first, sign == "-" || sign == "+" {
                return .string(String(sign) + filler + String(text.unicodeScalars.dropFirst()))
            }
            return .string(try evaluator.charge(text: name == "ljust" ? text + filler : filler + text))
        case "format": return .string(try formatted(text, arguments, &evaluator))
        case "isspace": return .bool(!text.unicodeScalars.isEmpty && text.unicodeScalars.allSatisfy(JinjaLexer.isSpace))
        case "islower", "isupper": return .bool(isCased(text, upper: name == "isupper"))
        default:
            let test: (Unicode.Scalar) -> Bool = switch name {
            case "isdigit": { $0.properties.numericType == .decimal || $0.properties.numericType == .digit }
            case "isalpha": { isLetter($0) }
            default: { isLetter($0) || $0.properties.numericType != nil }
            }
            return .bool(!text.unicodeScalars.isEmpty && text.unicodeScalars.allSatisfy(test))
        }
    }

    // MARK: Texts

    private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    static func isCased(_ text: String, upper: Bool) -> Bool {
        var hasCase = false
        for scalar in text.unicodeScalars {
            if scalar.properties.isUppercase || scalar.properties.generalCategory == .titlecaseLetter {
                if !upper { return false }
                hasCase = true
            } else if scalar.properties.isLowercase {
                if upper { return false }
                hasCase = true
            }
        }
        return hasCase
    }

    static func capitalized(_ text: String) -> String {
        guard let first = text.unicodeScalars.first else { return "" }
        return first.properties.titlecaseMapping + String(text.unicodeScalars.dropFirst()).lowercased()
    }

    private static func titled(_ text: String) -> String {
        var out = "", isInside = false
        for scalar in text.unicodeScalars {
            let isCased = scalar.properties.isCased
            out += !isCased ? String(scalar) : isInside ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
            isInside = isCased
        }
        return out
    }

    static func stripped(_ text: String, _ characters: String?, left: Bool, right: Bool) -> String {
        let wanted = characters.map { Set($0.unicodeScalars) }
        func goes(_ scalar: Unicode.Scalar) -> Bool { wanted?.contains(scalar) ?? JinjaLexer.isSpace(scalar) }
        var rest = text.unicodeScalars[...]
        if left { rest = rest.drop(while: goes) }
        if right { while let last = rest.last, goes(last) { rest.removeLast() } }
        return String(rest)
    }

    static func find(_ wanted: [UInt8], in text: [UInt8], from start: Int = 0) -> Int? {
        guard !wanted.isEmpty else { return start }
        guard text.count >= wanted.count, start <= text.count - wanted.count else { return nil }
        return (start...(text.count - wanted.count)).first { place in
            text[place] == wanted[0] && text[place..<(place + wanted.count)].elementsEqual(wanted)
        }
    }

    private static func findLast(_ wanted: [UInt8], in text: [UInt8]) -> Int? {
        guard text.count >= wanted.count else { return nil }
        return (0...(text.count - wanted.count)).last { text[$0..<($0 + wanted.count)].elementsEqual(wanted) }
    }

    static func replaced(_ text: String, _ old: String, _ new: String, _ limit: Int, _ evaluator: inout JinjaEvaluator) throws -> String {
        let bytes = Array(text.utf8), wanted = Array(old.utf8), substitute = Array(new.utf8)
        try evaluator.charge(bytes.count / 16)
        if wanted.isEmpty {
            var out = "", left = limit < 0 ? Int.max : limit
            for scalar in text.unicodeScalars {
                if left > 0 { out += new; left -= 1 }
                out.unicodeScalars.append(scalar)
                if out.utf8.count > evaluator.limits.bytes { break }
            }
            return try evaluator.charge(text: left > 0 ? out + new : out)
        }
        var out: [UInt8] = [], place = 0, left = limit < 0 ? Int.max : limit
        while left > 0, out.count <= evaluator.limits.bytes, let found = find(wanted, in: bytes, from: place) {
            out += bytes[place..<found]
            out += substitute
            place = found + wanted.count
            left -= 1
        }
        out += bytes[place...]
        return try evaluator.charge(text: String(decoding: out, as: UTF8.self))
    }

    private static func split(_ text: String, _ separator: String?, _ limit: Int, fromEnd: Bool) throws -> [String] {
        let limit = limit < 0 ? Int.max : limit
        guard let separator else { return words(text, limit, fromEnd: fromEnd) }
        let bytes = Array(text.utf8), wanted = Array(separator.utf8)
        guard !wanted.isEmpty else { throw JinjaError("an empty separator") }
        var parts: [ArraySlice<UInt8>] = [], place = 0
        if fromEnd, limit < .max {
            var end = bytes.count
            while parts.count < limit, let found = findLast(wanted, in: Array(bytes[..<end])) {
                parts.insert(bytes[(found + wanted.count)..<end], at: 0)
                end = found
            }
            parts.insert(bytes[..<end], at: 0)
        } else {
            while parts.count < limit, let found = find(wanted, in: bytes, from: place) {
                parts.append(bytes[place..<found])
                place = found + wanted.count
            }
            parts.append(bytes[place...])
        }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func words(_ text: String, _ limit: Int, fromEnd: Bool) -> [String] {
        let scalars = fromEnd ? Array(text.unicodeScalars.reversed()) : Array(text.unicodeScalars)
        var parts: [[Unicode.Scalar]] = [], place = 0
        while true {
            while place < scalars.count, JinjaLexer.isSpace(scalars[place]) { place += 1 }
            guard place < scalars.count else { break }
            if parts.count == limit {
                var rest = Array(scalars[place...])
                while let last = rest.last, JinjaLexer.isSpace(last) { rest.removeLast() }
                parts.append(rest)
                break
            }
            let end = scalars[place...].firstIndex(where: JinjaLexer.isSpace) ?? scalars.count
            parts.append(Array(scalars[place..<end]))
            place = end
        }
        let texts = parts.map { String(String.UnicodeScalarView(fromEnd ? $0.reversed() : $0)) }
        return fromEnd ? texts.reversed() : texts
    }

    static func lines(_ text: String, keepsEnds: Bool = false) -> [String] {
        let scalars = Array(text.unicodeScalars)
        var lines: [String] = [], start = 0, place = 0
        while place < scalars.count {
            switch scalars[place] {
            case "\n", "\r", "\u{B}", "\u{C}", "\u{1C}", "\u{1D}", "\u{1E}", "\u{85}", "\u{2028}", "\u{2029}":
                let next = scalars[place] == "\r" && place + 1 < scalars.count && scalars[place + 1] == "\n" ? place + 2 : place + 1
                lines.append(String(String.UnicodeScalarView(scalars[start..<(keepsEnds ? next : place)])))
                start = next
                place = next
            default: place += 1
            }
        }
        if start < scalars.count { lines.append(String(String.UnicodeScalarView(scalars[start...]))) }
        return lines
    }

    /// `str.format` with {}, {0} and {name}; no conversions or specifications.
    private static func formatted(_ text: String, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> String {
        var out = "", next = 0, scalars = Array(text.unicodeScalars)[...]
        while let scalar = scalars.popFirst() {
            if scalar == "{" || scalar == "}", scalars.first == scalar {
                scalars.removeFirst()
                out.unicodeScalars.append(scalar)
            } else if scalar == "{" {
                guard let end = scalars.firstIndex(of: "}") else { throw JinjaError("a format without its }") }
                let name = String(String.UnicodeScalarView(scalars[..<end]))
                scalars = scalars[(end + 1)...]
                let index = name.isEmpty ? next : Int(name)
                if name.isEmpty { next += 1 }
                let value = index.flatMap { arguments.positional.indices.contains($0) ? arguments.positional[$0] : nil }
                    ?? arguments.named.first { ExactString($0.name) == ExactString(name) }?.value
                guard let value else { throw JinjaError("a format of something that is not given: {\(name)}") }
                out = try evaluator.charge(text: out + value.text)
            } else {
                out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
