// Writes JSON: the same value always as the same bytes, which read back as the same value.
// It escapes what JSON must and U+2028 and U+2029 besides (which end a line in JavaScript). It refuses NaN and the
// infinities unless told what to write for them, and nesting past 512 levels.

extension JSON {
    /// What to write for a number JSON has no notation for.
    public enum NonFinite: Sendable {
        /// Throw.
        case refuse
        /// `null`.
        case null
        /// `NaN`, `Infinity`, `-Infinity`: no JSON, but what Python writes and reads.
        case python
    }

    /// The value as JSON text.
    ///
    /// Doubles have the fewest digits that read back as the same Double and always a fraction or an exponent, so that they
    /// stay Doubles.
    /// - Parameter pretty: one member or element a line, indented by two spaces, but arrays of scalars in one line; else no white
    ///   space at all.
    /// - Throws: `LensError` (`.usage`) for a number that is not finite, if `nonFinite` is `.refuse`, and for values nested
    ///   deeper than 512.
    public func text(pretty: Bool = false, nonFinite: NonFinite = .refuse) throws -> String {
        String(decoding: try utf8(pretty: pretty, nonFinite: nonFinite), as: UTF8.self)
    }

    /// The bytes of `text(pretty:nonFinite:)`.
    public func utf8(pretty: Bool = false, nonFinite: NonFinite = .refuse) throws -> [UInt8] {
        var writer = JSONWriter(pretty: pretty, nonFinite: nonFinite)
        try writer.write(self, depth: 0)
        return writer.output
    }
}

private struct JSONWriter {
    let pretty: Bool
    let nonFinite: JSON.NonFinite
    var output: [UInt8] = []

    mutating func write(_ value: JSON, depth: Int) throws {
        guard depth <= 512 else { throw LensError(.usage, "JSON nested too deeply to write", expected: "at most 512 levels") }
        switch value {
        case .null: put("null")
        case .bool(let flag): put(flag ? "true" : "false")
        case .int(let number): put(String(number))
        case .double(let number): try write(number)
        case .string(let text): write(text)
        case .array(let values) where pretty && !values.contains(where: \.isContainer):
            try writeLine(values, depth: depth)
        case .array(let values):
            try list("[", "]", values, depth: depth) { writer, element in try writer.write(element, depth: depth + 1) }
        case .object(let object):
            try list("{", "}", object.pairs, depth: depth) { writer, pair in
                writer.write(pair.key)
                writer.put(writer.pretty ? ": " : ":")
                try writer.write(pair.value, depth: depth + 1)
            }
        }
    }

    /// Scalars side by side.
    private mutating func writeLine(_ values: [JSON], depth: Int) throws {
        put("[")
        for (index, value) in values.enumerated() {
            if index > 0 { put(", ") }
            try write(value, depth: depth + 1)
        }
        put("]")
    }

    private mutating func list<Elements: Sequence>(_ open: String, _ close: String, _ elements: Elements, depth: Int,
                                                   _ body: (inout JSONWriter, Elements.Element) throws -> Void) throws {
        put(open)
        var isEmpty = true
        for element in elements {
            if !isEmpty { put(",") }
            isEmpty = false
            newLine(depth + 1)
            try body(&self, element)
        }
        if !isEmpty { newLine(depth) }
        put(close)
    }

    private mutating func newLine(_ depth: Int) {
        guard pretty else { return }
        put("\n")
        output.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth))
    }

    private mutating func write(_ number: Double) throws {
        if number.isFinite { return put(number.description) }
        switch nonFinite {
        case .refuse:
            throw LensError(.usage, "number that JSON cannot hold", expected: "a finite number", found: "\(number)")
        case .null: put("null")
        case .python: put(number.isNaN ? "NaN" : number > 0 ? "Infinity" : "-Infinity")
        }
    }

    private mutating func write(_ text: String) {
        put("\"")
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": put("\\\"")
            case "\\": put("\\\\")
            case "\n": put("\\n")
            case "\r": put("\\r")
            case "\t": put("\\t")
            case "\u{08}": put("\\b")
            case "\u{0C}": put("\\f")
            case "\u{2028}": put("\\u2028")
            case "\u{2029}": put("\\u2029")
            case "\u{00}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                put("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
            default:
                output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        put("\"")
    }

    private mutating func put(_ text: String) { output.append(contentsOf: text.utf8) }
}

extension JSON {
    fileprivate var isContainer: Bool { arrayValue != nil || objectValue != nil }
}
