// JSON strings: a run of plain bytes becomes a String at once; only one with escapes is put together in a buffer.

extension JSONParser {
    /// The string whose opening quote is next.
    mutating func parseString() throws -> String {
        let open = at
        var end = at + 1
        var all: UInt8 = 0
        while end < bytes.count {
            let byte = bytes[end]
            if byte == UInt8(ascii: "\"") {
                at = end + 1
                return try decode(UnsafeRawBufferPointer(rebasing: bytes[(open + 1)..<end]), isASCII: all < 0x80, open: open)
            }
            if byte == UInt8(ascii: "\\") { return try parseEscapedString(open: open, plainEnd: end) }
            if byte < 0x20 { throw controlCharacter(at: end) }
            all |= byte
            end += 1
        }
        throw error("JSON string without an end", at: open)
    }

    /// The same, once a backslash at `plainEnd` was met.
    private mutating func parseEscapedString(open: Int, plainEnd: Int) throws -> String {
        scratch.removeAll(keepingCapacity: true)
        scratch.append(contentsOf: bytes[(open + 1)..<plainEnd])
        at = plainEnd
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            switch byte {
            case UInt8(ascii: "\""):
                return try scratch.withUnsafeBytes { try decode($0, isASCII: false, open: open) }
            case UInt8(ascii: "\\"):
                try parseEscape()
            case 0..<0x20:
                throw controlCharacter(at: at - 1)
            default:
                scratch.append(byte)
            }
        }
        throw error("JSON string without an end", at: open)
    }

    /// What follows a backslash; its bytes go to `scratch`.
    private mutating func parseEscape() throws {
        let backslash = at - 1
        let byte = peek()
        at = min(at + 1, bytes.count)
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): scratch.append(byte)
        case UInt8(ascii: "b"): scratch.append(0x08)
        case UInt8(ascii: "f"): scratch.append(0x0C)
        case UInt8(ascii: "n"): scratch.append(0x0A)
        case UInt8(ascii: "r"): scratch.append(0x0D)
        case UInt8(ascii: "t"): scratch.append(0x09)
        case UInt8(ascii: "u"):
            let scalar = try parseCodePoint(backslash: backslash)
            scratch.append(contentsOf: Unicode.UTF8.encode(scalar) ?? Unicode.UTF8.encodedReplacementCharacter)
        default: throw error("unknown JSON escape", at: backslash, expected: "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u")
        }
    }

    /// `XXXX`, or the surrogate pair `XXXX\uXXXX`, after `\u`.
    private mutating func parseCodePoint(backslash: Int) throws -> Unicode.Scalar {
        let high = try parseHex(backslash: backslash)
        if let scalar = Unicode.Scalar(high) { return scalar }
        if high < 0xDC00, take("\\u") {
            let low = try parseHex(backslash: backslash)
            if (0xDC00..<0xE000).contains(low), let scalar = Unicode.Scalar(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)) {
                return scalar
            }
        }
        throw error("lone surrogate in a JSON string", at: backslash, expected: "a pair \\uD800…\\uDBFF \\uDC00…\\uDFFF")
    }

    private mutating func parseHex(backslash: Int) throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = peek()
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw error("unfinished \\u escape in a JSON string", at: backslash, expected: "four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }

    /// Validated UTF-8 as a String.
    @inline(__always)
    private func decode(_ content: UnsafeRawBufferPointer, isASCII: Bool, open: Int) throws -> String {
        let units = content.assumingMemoryBound(to: UInt8.self)
        if isASCII { return String(decoding: units, as: UTF8.self) }
        guard let text = String(validating: units, as: UTF8.self) else {
            throw error("JSON string that is not UTF-8", at: open)
        }
        return text
    }

    private func controlCharacter(at offset: Int) -> LensError {
        error("unescaped control character in a JSON string", at: offset, found: "the byte \(bytes[offset])")
    }
}
