// How values are written as text: Python's str() and repr(), and json.dumps as transformers' `tojson` calls it.

extension JinjaValue {
    /// Python's `str()`; undefined is nothing.
    var text: String {
        switch self {
        case .string(let text): text
        case .undefined: ""
        default: Self.joined(self)
        }
    }

    private static func joined(_ value: JinjaValue) -> String {
        var out = ""
        value.writeRepresentation(to: &out)
        return out
    }

    /// Python's `repr()`.
    private func writeRepresentation(to out: inout String) {
        switch self {
        case .none: out += "None"
        case .undefined: out += "Undefined"
        case .bool(let flag): out += flag ? "True" : "False"
        case .int(let number): out += String(number)
        case .double(let number): out += Self.text(of: number)
        case .string(let text): Self.quote(text, to: &out)
        case .list(let list):
            out += list.isTuple ? "(" : "["
            for (index, item) in list.items.enumerated() {
                if index > 0 { out += ", " }
                item.writeRepresentation(to: &out)
            }
            out += list.isTuple ? (list.items.count == 1 ? ",)" : ")") : "]"
        case .dict(let dict):
            out += "{"
            for (index, (key, value)) in zip(dict.keys, dict.values).enumerated() {
                if index > 0 { out += ", " }
                key.writeRepresentation(to: &out)
                out += ": "
                value.writeRepresentation(to: &out)
            }
            out += "}"
        case .namespace: out += "<Namespace>"
        case .loop: out += "<LoopContext>"
        case .macro(let macro): out += "<Macro '\(macro.name)'>"
        case .function(let name), .method(_, let name): out += "<function \(name)>"
        }
    }

    /// Python's repr of a float.
    static func text(of number: Double) -> String {
        if number.isNaN { return "nan" }
        if number.isInfinite { return number < 0 ? "-inf" : "inf" }
        return number.description
    }

    private static func quote(_ text: String, to out: inout String) {
        let hasSingle = text.utf8.contains(0x27), hasDouble = text.utf8.contains(0x22)
        let mark: Unicode.Scalar = hasSingle && !hasDouble ? "\"" : "'"
        out.unicodeScalars.append(mark)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case mark: out += "\\"; out.unicodeScalars.append(mark)
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default:
                if isPrintable(scalar) { out.unicodeScalars.append(scalar) } else { escape(scalar, to: &out) }
            }
        }
        out.unicodeScalars.append(mark)
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: scalar == " "
        default: true
        }
    }

    private static func escape(_ scalar: Unicode.Scalar, to out: inout String) {
        let digits = String(scalar.value, radix: 16)
        let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        out += "\\" + letter + String(repeating: "0", count: width - digits.count) + digits
    }
}

/// `json.dumps` with the arguments templates give it.
struct JinjaJSONWriter {
    /// What one level is indented by; nil for one line.
    var indent: String?
    var itemSeparator = ", "
    var keySeparator = ": "
    var sortsKeys = false
    var isASCII = false
    private(set) var out = ""

    init() {}

    mutating func write(_ value: JinjaValue, level: Int = 0) throws {
        switch value {
        case .none: out += "null"
        case .bool(let flag): out += flag ? "true" : "false"
        case .int(let number): out += String(number)
        case .double(let number):
            out += number.isNaN ? "NaN" : number.isInfinite ? (number < 0 ? "-Infinity" : "Infinity") : JinjaValue.text(of: number)
        case .string(let text): write(text)
        case .list(let list):
            try items("[", "]", Array(list.items.indices), level) { writer, index in
                try writer.write(list.items[index], level: level + 1)
            }
        case .dict(let dict):
            var order = Array(0..<dict.count)
            if sortsKeys { order = try JinjaFilters.sorted(order) { dict.keys[$0] } }
            try items("{", "}", order, level) { writer, index in
                if case .string(let key) = dict.keys[index] {
                    writer.write(key)
                } else {
                    var inner = JinjaJSONWriter()
                    try inner.write(dict.keys[index])
                    writer.write(inner.out)
                }
                writer.out += writer.keySeparator
                try writer.write(dict.values[index], level: level + 1)
            }
        default: throw JinjaError("\(value.typeName) that is to be JSON")
        }
    }

    private mutating func items(_ open: String, _ close: String, _ order: [Int], _ level: Int,
                                _ body: (inout JinjaJSONWriter, Int) throws -> Void) throws {
        out += open
        for (count, index) in order.enumerated() {
            if count > 0 { out += itemSeparator }
            newLine(level + 1)
            try body(&self, index)
        }
        if !order.isEmpty { newLine(level) }
        out += close
    }

    private mutating func newLine(_ level: Int) {
        if let indent { out += "\n" + String(repeating: indent, count: level) }
    }

    private mutating func write(_ text: String) {
        out += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case "\u{8}": out += "\\b"
            case "\u{C}": out += "\\f"
            default:
                if scalar.value < 0x20 || isASCII && scalar.value > 0x7E {
                    for unit in String(scalar).utf16 {
                        let digits = String(unit, radix: 16)
                        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    }
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        out += "\""
    }
}
