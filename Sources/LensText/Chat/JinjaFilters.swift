// Jinja's filters, and `tojson` as transformers has it.
import LensFiles

enum JinjaFilters {
    static let names: Set<String> = [
        "abs", "attr", "batch", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "forceescape",
        "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
        "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "tojson",
        "trim", "unique", "upper", "wordcount",
    ]

    static func apply(_ name: String, _ value: JinjaValue, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        switch name {
        case "upper": return .string(value.text.uppercased())
        case "lower": return .string(value.text.lowercased())
        case "capitalize": return .string(JinjaMethods.capitalized(value.text))
        case "title": return .string(titled(value.text))
        case "trim": return .string(JinjaMethods.stripped(value.text, try arguments.string(0, "chars"), left: true, right: true))
        case "string": if case .string = value { return value } else { return .string(try evaluator.charge(text: value.text)) }
        case "safe": return .string(value.text)
        case "e", "escape", "forceescape": return .string(try evaluator.charge(text: escaped(value.text)))
        case "replace":
            guard let old = arguments.value(0, "old"), let new = arguments.value(1, "new") else { throw JinjaError("replace without what") }
            return .string(try JinjaMethods.replaced(value.text, old.text, new.text, try arguments.int(2, "count") ?? -1, &evaluator))
        case "indent": return .string(try indented(value.text, arguments, &evaluator))
        case "format": return .string(try JinjaFunctions.percent(value.text, arguments.positional, &evaluator))
        case "wordcount": return .int(value.text.unicodeScalars.split(whereSeparator: { !$0.properties.isAlphabetic && $0 != "_" && $0.properties.numericType == nil }).count)
        case "tojson": return .string(try evaluator.charge(text: try json(value, arguments)))
        case "int", "float", "abs", "round": return try number(name, value, arguments)
        case "default", "d":
            let replaces = value.isUndefined || arguments.value(1, "boolean")?.isTrue == true && !value.isTrue
            return replaces ? arguments.value(0, "default_value") ?? .string("") : value
        case "attr": return try evaluator.member(value, try arguments.string(0, "name") ?? "")
        case "length", "count": return .int(try length(value))
        case "items":
            if value.isUndefined { return try .list([]) }
            guard case .dict = value else { throw JinjaError("items of \(value.typeName)") }
            return try JinjaMethods.call("items", on: value, JinjaCall(), &evaluator)
        case "dictsort": return try dictsort(value, arguments, &evaluator)
        default: return try list(name, value, arguments, &evaluator)
        }
    }

    // MARK: Lists

    private static func list(_ name: String, _ value: JinjaValue, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        guard names.contains(name) else { throw JinjaError("no filter named '\(name)'") }
        if name == "reverse", case .string(let text) = value { return .string(String(String.UnicodeScalarView(text.unicodeScalars.reversed()))) }
        let items = try evaluator.elements(of: value)
        switch name {
        case "list": return try .list(items)
        case "first": return items.first ?? .undefined("no first item, sequence was empty")
        case "last": return items.last ?? .undefined("no last item, sequence was empty")
        case "reverse": return try .list(items.reversed())
        case "join":
            let parts = try items.map(try step(arguments.value(1, "attribute"), evaluator)).map(\.text)
            return .string(try evaluator.charge(text: parts.joined(separator: arguments.value(0, "d")?.text ?? "")))
        case "map": return try .list(try mapped(items, arguments, &evaluator))
        case "select", "reject", "selectattr", "rejectattr": return try .list(try selected(name, items, arguments, &evaluator))
        case "unique": return try .list(try unique(items, arguments, &evaluator))
        case "sort", "min", "max":
            let step = try step(arguments.value(name == "sort" ? 2 : 1, "attribute"), evaluator)
            let isCaseSensitive = arguments.value(name == "sort" ? 1 : 0, "case_sensitive")?.isTrue ?? false
            let keys = try items.map { try folded(try step($0), isCaseSensitive) }
            var order = try sorted(Array(items.indices)) { keys[$0] }
            try evaluator.charge(items.count * 4)
            if name == "min" { return order.first.map { items[$0] } ?? .undefined("no aggregated item, sequence was empty") }
            if name == "max" {
                guard let last = order.last else { return .undefined("no aggregated item, sequence was empty") }
                return items[order.first { keys[$0].equals(keys[last]) } ?? last]
            }
            if arguments.value(0, "reverse")?.isTrue == true { order = try reversedStably(order, keys) }
            return try .list(order.map { items[$0] })
        case "sum":
            var total = arguments.value(1, "start") ?? .int(0)
            let step = try step(arguments.value(0, "attribute"), evaluator)
            for item in items { total = try evaluator.binary("+", total, try step(item)) }
            return total
        case "batch":
            guard let size = try arguments.int(0, "linecount"), size > 0 else { throw JinjaError("batches of nothing") }
            return try .list(stride(from: 0, to: items.count, by: size).map { start in
                var row = Array(items[start..<min(items.count - start, size).advanced(by: start)])
                if let filler = arguments.value(1, "fill_with"), !filler.isNone {
                    guard size <= 10_000 else { throw JinjaError("batches of more than 10000") }
                    row += Array(repeating: filler, count: size - row.count)
                }
                return try .list(row)
            })
        default: return try grouped(items, arguments, &evaluator)
        }
    }

    /// `a.b.0` of each item.
    private static func path(_ attribute: JinjaValue, of evaluator: JinjaEvaluator) throws -> (JinjaValue) throws -> JinjaValue {
        let steps: [JinjaValue] = attribute.integer.map { [.int($0)] }
            ?? attribute.text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0).map(JinjaValue.int) ?? .string(String($0)) }
        return { item in try steps.reduce(item) { try evaluator.item($0, $1) } }
    }

    /// What an optional attribute takes of an item: the item itself without one.
    private static func step(_ attribute: JinjaValue?, _ evaluator: JinjaEvaluator) throws -> (JinjaValue) throws -> JinjaValue {
        guard let attribute, !attribute.isNone else { return { $0 } }
        return try path(attribute, of: evaluator)
    }

    private static func mapped(_ items: [JinjaValue], _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> [JinjaValue] {
        if arguments.positional.isEmpty {
            guard let attribute = arguments.value(0, "attribute") else { throw JinjaError("map without a filter or attribute") }
            let standard = arguments.named.first { $0.name == "default" }?.value
            let step = try path(attribute, of: evaluator)
            return try items.map { item in
                let value = try step(item)
                return value.isUndefined ? standard ?? value : value
            }
        }
        guard case .string(let name) = arguments.positional[0] else { throw JinjaError("map of a filter without a name") }
        let rest = JinjaCall(positional: Array(arguments.positional.dropFirst()), named: arguments.named)
        return try items.map { item in
            try evaluator.charge()
            return try evaluator.nested { try apply(name, item, rest, &$0) }
        }
    }

    private static func selected(_ name: String, _ items: [JinjaValue], _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> [JinjaValue] {
        var rest = arguments.positional[...], step: ((JinjaValue) throws -> JinjaValue)?
        if name.hasSuffix("attr") {
            guard let attribute = rest.popFirst() else { throw JinjaError("\(name) without an attribute") }
            step = try path(attribute, of: evaluator)
        }
        let test = rest.popFirst(), isWanted = name.hasPrefix("select"), more = Array(rest)
        return try items.filter { item in
            try evaluator.charge()
            let value = try step?(item) ?? item
            return try (test.map { try JinjaTests.apply($0.text, value, more, &evaluator) } ?? value.isTrue) == isWanted
        }
    }

    private static func unique(_ items: [JinjaValue], _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> [JinjaValue] {
        let isCaseSensitive = arguments.value(0, "case_sensitive")?.isTrue ?? false
        let step = try step(arguments.value(1, "attribute"), evaluator)
        var seen = JinjaDict()
        return try items.filter { item in
            let key = try folded(try step(item), isCaseSensitive)
            if seen[key] != nil { return false }
            try seen.set(key, .none)
            return true
        }
    }

    private static func grouped(_ items: [JinjaValue], _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        guard let attribute = arguments.value(0, "attribute") else { throw JinjaError("groupby without an attribute") }
        let keys = try items.map(try path(attribute, of: evaluator))
        let order = try sorted(Array(items.indices)) { try folded(keys[$0], false) }
        var groups: [(key: JinjaValue, items: [JinjaValue])] = []
        for index in order {
            if let last = groups.last, try folded(last.key, false).equals(folded(keys[index], false)) {
                groups[groups.count - 1].items.append(items[index])
            } else {
                groups.append((keys[index], [items[index]]))
            }
        }
        return try .list(groups.map { .list(try JinjaList([$0.key, try .list($0.items)], isTuple: true)) })
    }

    private static func dictsort(_ value: JinjaValue, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        guard case .dict(let dict) = value else { throw JinjaError("dictsort of \(value.typeName)") }
        let isCaseSensitive = arguments.value(0, "case_sensitive")?.isTrue ?? false
        let by = try arguments.string(1, "by") ?? "key"
        let keys = try (by == "value" ? dict.values : dict.keys).map { try folded($0, isCaseSensitive) }
        try evaluator.charge(dict.count * 4)
        var order = try sorted(Array(0..<dict.count)) { keys[$0] }
        if arguments.value(2, "reverse")?.isTrue == true { order = try reversedStably(order, keys) }
        return try .list(order.map { .list(try JinjaList([dict.keys[$0], dict.values[$0]], isTuple: true)) })
    }

    /// Places in the order of their keys; those of equal keys as they were.
    static func sorted(_ places: [Int], _ key: (Int) throws -> JinjaValue) throws -> [Int] {
        try places.enumerated().sorted { a, b in
            let x = try key(a.element), y = try key(b.element)
            if try x.isLess(y) { return true }
            return try y.isLess(x) ? false : a.offset < b.offset
        }.map(\.element)
    }

    private static func reversedStably(_ order: [Int], _ keys: [JinjaValue]) throws -> [Int] {
        try order.enumerated().sorted { a, b in
            if try keys[b.element].isLess(keys[a.element]) { return true }
            return try keys[a.element].isLess(keys[b.element]) ? false : a.offset < b.offset
        }.map(\.element)
    }

    private static func folded(_ value: JinjaValue, _ isCaseSensitive: Bool) throws -> JinjaValue {
        if case .string(let text) = value, !isCaseSensitive { return .string(text.lowercased()) }
        return value
    }

    private static func length(_ value: JinjaValue) throws -> Int {
        switch value {
        case .string(let text): return text.unicodeScalars.count
        case .list(let list): return list.items.count
        case .dict(let dict): return dict.count
        case .undefined: return 0
        case .loop(let loop): return loop.items.count
        default: throw JinjaError("the length of \(value.typeName)")
        }
    }

    // MARK: Texts and numbers

    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "'": out += "&#39;"
            case "\"": out += "&#34;"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    private static func titled(_ text: String) -> String {
        var out = "", isInside = false
        for scalar in text.unicodeScalars {
            let isBreak = JinjaLexer.isSpace(scalar) || "-({[<".unicodeScalars.contains(scalar)
            out += isBreak ? String(scalar) : isInside ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
            isInside = !isBreak
        }
        return out
    }

    private static func indented(_ text: String, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> String {
        var margin = "    "
        if case .string(let text)? = arguments.value(0, "width") { margin = text } else if let width = try arguments.int(0, "width") {
            guard width <= 10_000 else { throw JinjaError("an indent of more than 10000") }
            margin = String(repeating: " ", count: max(0, width))
        }
        let first = arguments.value(1, "first")?.isTrue ?? false, blank = arguments.value(2, "blank")?.isTrue ?? false
        var lines = JinjaMethods.lines(text + "\n")
        for index in lines.indices.dropFirst() where blank || !lines[index].utf8.isEmpty { lines[index] = margin + lines[index] }
        return try evaluator.charge(text: (first ? margin : "") + lines.joined(separator: "\n"))
    }

    private static func json(_ value: JinjaValue, _ arguments: JinjaCall) throws -> String {
        var writer = JinjaJSONWriter()
        writer.isASCII = arguments.value(0, "ensure_ascii")?.isTrue ?? false
        if let indent = arguments.value(1, "indent"), !indent.isNone {
            if case .string(let text) = indent { writer.indent = text } else {
                guard let count = indent.integer, count <= 1_000 else { throw JinjaError("an indent of \(indent.text)") }
                writer.indent = String(repeating: " ", count: max(0, count))
            }
            writer.itemSeparator = ","
        }
        if case .list(let separators)? = arguments.value(2, "separators"), separators.items.count == 2 {
            (writer.itemSeparator, writer.keySeparator) = (separators.items[0].text, separators.items[1].text)
        }
        writer.sortsKeys = arguments.value(3, "sort_keys")?.isTrue ?? false
        try writer.write(value)
        return writer.out
    }

    private static func number(_ name: String, _ value: JinjaValue, _ arguments: JinjaCall) throws -> JinjaValue {
        switch name {
        case "int":
            let standard = arguments.value(0, "default") ?? .int(0)
            if let number = value.integer { return .int(number) }
            let number: Double?
            if case .string(let text) = value {
                let trimmed = JinjaMethods.stripped(text, nil, left: true, right: true)
                if let whole = Int(trimmed, radix: try arguments.int(1, "base").flatMap { (2...36).contains($0) ? $0 : nil } ?? 10) { return .int(whole) }
                number = Double(trimmed)
            } else {
                number = value.number
            }
            return number.flatMap { $0.isFinite ? Int(exactly: $0.rounded(.towardZero)) : nil }.map(JinjaValue.int) ?? standard
        case "float":
            if case .string(let text) = value {
                return Double(JinjaMethods.stripped(text, nil, left: true, right: true)).map(JinjaValue.double)
                    ?? arguments.value(0, "default") ?? .double(0)
            }
            return value.number.map(JinjaValue.double) ?? arguments.value(0, "default") ?? .double(0)
        case "abs":
            if case .double(let number) = value { return .double(abs(number)) }
            guard let number = value.integer, number != .min else { throw JinjaError("abs of \(value.typeName)") }
            return .int(abs(number))
        default:
            guard let number = value.number else { throw JinjaError("round of \(value.typeName)") }
            let digits = try arguments.int(0, "precision") ?? 0, method = try arguments.string(1, "method") ?? "common"
            guard (-15...15).contains(digits) else { throw JinjaError("round to \(digits) digits") }
            if case .int = value, digits >= 0, method == "common" { return value }
            let scale = JinjaFunctions.power(10, Double(digits))
            let rule: FloatingPointRoundingRule = method == "ceil" ? .up : method == "floor" ? .down : .toNearestOrEven
            return .double((number * scale).rounded(rule) / scale)
        }
    }
}
