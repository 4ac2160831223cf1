// Reads JSON strictly (RFC 8259), from bytes, in one pass.
// It refuses a byte order mark, bytes that are no UTF-8, a key given twice, lone surrogate escapes, anything after the
// value, nesting past a limit, numbers no Double can hold, and, unless asked, Python's NaN and Infinity.

extension JSON {
    /// The value that `bytes` (UTF-8) hold.
    ///
    /// A number without fraction or exponent that fits Int is `.int`, any other the nearest `.double` (so an integer of
    /// thirty digits, which Hugging Face writes for "no limit", is a Double).
    /// - Parameters:
    ///   - location: what the bytes are (a file's name), for errors.
    ///   - maxDepth: how deep arrays and objects may nest; at most 512.
    ///   - allowNonFinite: whether `NaN`, `Infinity` and `-Infinity` are numbers, as Python writes them, and numbers
    ///     past the largest Double infinite.
    /// - Throws: `LensError` (`.format`) with the line and the column (in characters, both from 1).
    public static func parse(_ bytes: UnsafeRawBufferPointer, at location: String, maxDepth: Int = 64,
                             allowNonFinite: Bool = false) throws -> JSON {
        var parser = JSONParser(bytes: bytes, location: location, maxDepth: min(maxDepth, 512), allowNonFinite: allowNonFinite)
        return try parser.parseDocument()
    }

    /// The value that `bytes` (UTF-8) hold; see `parse(_:at:maxDepth:allowNonFinite:)`.
    public static func parse(_ bytes: [UInt8], at location: String, maxDepth: Int = 64,
                             allowNonFinite: Bool = false) throws -> JSON {
        try bytes.withUnsafeBytes { try parse($0, at: location, maxDepth: maxDepth, allowNonFinite: allowNonFinite) }
    }

    /// The value that `text` holds; see `parse(_:at:maxDepth:allowNonFinite:)`.
    public static func parse(_ text: String, at location: String = "JSON", maxDepth: Int = 64,
                             allowNonFinite: Bool = false) throws -> JSON {
        var text = text
        return try text.withUTF8 {
            try parse(UnsafeRawBufferPointer($0), at: location, maxDepth: maxDepth, allowNonFinite: allowNonFinite)
        }
    }
}

/// The parser's place in the bytes. Strings are in JSONStringParser.swift, numbers in JSONNumberParser.swift.
struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    let location: String
    let maxDepth: Int
    let allowNonFinite: Bool
    /// The next byte to read.
    var at = 0
    /// Where a string with escapes is put together.
    var scratch: [UInt8] = []

    init(bytes: UnsafeRawBufferPointer, location: String, maxDepth: Int, allowNonFinite: Bool) {
        self.bytes = bytes
        self.location = location
        self.maxDepth = maxDepth
        self.allowNonFinite = allowNonFinite
    }

    mutating func parseDocument() throws -> JSON {
        guard bytes.count <= Int(Int32.max) else {
            throw LensError(.format, "JSON too long", at: location, expected: "at most \(Int32.max) bytes", found: "\(bytes.count)")
        }
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
            throw error("JSON starts with a byte order mark", at: 0, advice: "save it as UTF-8 without one")
        }
        let value = try parseValue(depth: 0)
        skipSpace()
        guard at == bytes.count else { throw error("text after the JSON value", at: at, expected: "the end", found: foundHere()) }
        return value
    }

    private mutating func parseValue(depth: Int) throws -> JSON {
        skipSpace()
        switch peek() {
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "{"): return try parseObject(depth: depth)
        case UInt8(ascii: "["): return try parseArray(depth: depth)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
        case UInt8(ascii: "t") where take("true"): return .bool(true)
        case UInt8(ascii: "f") where take("false"): return .bool(false)
        case UInt8(ascii: "n") where take("null"): return .null
        case UInt8(ascii: "N") where allowNonFinite && take("NaN"): return .double(.nan)
        case UInt8(ascii: "I") where allowNonFinite && take("Infinity"): return .double(.infinity)
        default: throw error("no JSON value", at: at, expected: "a value", found: foundHere())
        }
    }

    private mutating func parseArray(depth: Int) throws -> JSON {
        try checkDepth(depth)
        at += 1
        var values: [JSON] = []
        skipSpace()
        if takeByte("]") { return .array(values) }
        while true {
            values.append(try parseValue(depth: depth + 1))
            skipSpace()
            if takeByte(",") { continue }
            if takeByte("]") { return .array(values) }
            throw error("unfinished JSON array", at: at, expected: "',' or ']'", found: foundHere())
        }
    }

    private mutating func parseObject(depth: Int) throws -> JSON {
        try checkDepth(depth)
        at += 1
        var object = JSONObject()
        skipSpace()
        if takeByte("}") { return .object(object) }
        while true {
            skipSpace()
            guard peek() == UInt8(ascii: "\"") else {
                throw error("no JSON key", at: at, expected: "a key in double quotes", found: foundHere())
            }
            let start = at
            let key = try parseString()
            skipSpace()
            guard takeByte(":") else { throw error("JSON key without a value", at: at, expected: "':'", found: foundHere()) }
            let value = try parseValue(depth: depth + 1)
            guard object.insert(key, value) else { throw error("JSON key \"\(key.prefix(200))\" given twice", at: start) }
            skipSpace()
            if takeByte(",") { continue }
            if takeByte("}") { return .object(object) }
            throw error("unfinished JSON object", at: at, expected: "',' or '}'", found: foundHere())
        }
    }

    private func checkDepth(_ depth: Int) throws {
        guard depth < maxDepth else {
            throw error("JSON nested too deeply", at: at, expected: "at most \(max(0, maxDepth)) levels")
        }
    }

    // MARK: Bytes

    /// The next byte; 0, which no JSON holds outside its strings, at the end.
    @inline(__always)
    func peek() -> UInt8 { at < bytes.count ? bytes[at] : 0 }

    @inline(__always)
    private mutating func skipSpace() {
        while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x0A || bytes[at] == 0x0D || bytes[at] == 0x09 { at += 1 }
    }

    @inline(__always)
    private mutating func takeByte(_ character: Unicode.Scalar) -> Bool {
        guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    /// Steps over `word` if it is next.
    mutating func take(_ word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        guard bytes.count - at >= length else { return false }
        for i in 0..<length where bytes[at + i] != word.utf8Start[i] { return false }
        at += length
        return true
    }

    // MARK: Errors

    /// An error at byte `offset`, with its line and column.
    func error(_ what: String, at offset: Int, expected: String? = nil, found: String? = nil, advice: String? = nil) -> LensError {
        var line = 1, column = 1
        for i in 0..<min(offset, bytes.count) {
            if bytes[i] == 0x0A {
                line += 1
                column = 1
            } else if bytes[i] & 0xC0 != 0x80 {
                column += 1
            }
        }
        return LensError(.format, what, at: "\(location), line \(line), column \(column)", expected: expected, found: found,
                         advice: advice)
    }

    /// What is at the current place, for errors: a character or the end.
    func foundHere() -> String {
        guard at < bytes.count else { return "the end" }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[at..<min(at + 12, bytes.count)])
        if let byte = rest.first, byte < 0x20 || byte == 0x7F { return "the control character \(byte)" }
        guard let character = String(decoding: rest, as: UTF8.self).unicodeScalars.first else { return "the end" }
        if character == "\u{FFFD}" { return "the byte \(rest[0])" }
        return "'\(character)'"
    }
}
