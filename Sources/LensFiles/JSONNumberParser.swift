// JSON numbers: integers that fit Int exactly, every other number as the nearest Double.
// Short ones are one exact multiplication or division (both operands exact in binary64); the rest go to the standard
// library, which rounds correctly and knows no locale.

extension JSONParser {
    /// Longer numbers are refused: nothing that was computed needs as many digits.
    private static let longest = 1_024

    /// The number whose first byte, `-` or a digit, is next.
    mutating func parseNumber() throws -> JSON {
        let start = at
        let isNegative = peek() == UInt8(ascii: "-")
        if isNegative { at += 1 }
        if isNegative, allowNonFinite, take("Infinity") { return .double(-.infinity) }

        var digits = Digits()
        try parseDigits(into: &digits, start: start, isWhole: true)
        var isWhole = true
        if peek() == UInt8(ascii: ".") {
            at += 1
            isWhole = false
            let before = at
            try parseDigits(into: &digits, start: start, isWhole: false)
            digits.exponent -= at - before
        }
        if peek() | 0x20 == UInt8(ascii: "e") {
            at += 1
            isWhole = false
            digits.exponent += try parseExponent(start: start)
        }
        guard at - start <= Self.longest else {
            throw error("JSON number too long", at: start, expected: "at most \(Self.longest) characters", found: "\(at - start)")
        }
        if isWhole, let value = digits.asInt(isNegative: isNegative) { return .int(value) }
        return .double(try digits.asDouble(isNegative: isNegative) ?? slowDouble(start: start))
    }

    private mutating func parseDigits(into digits: inout Digits, start: Int, isWhole: Bool) throws {
        let first = at
        while at < bytes.count, case let digit = bytes[at] &- UInt8(ascii: "0"), digit < 10 {
            digits.append(digit)
            at += 1
        }
        if at == first { throw error("unfinished JSON number", at: start, expected: "a digit", found: foundHere()) }
        if isWhole, at - first > 1, bytes[first] == UInt8(ascii: "0") {
            throw error("JSON number with a leading zero", at: start)
        }
    }

    /// The exponent after `e`, held within ±100,000 (past which the number is 0 or infinite anyway).
    private mutating func parseExponent(start: Int) throws -> Int {
        let isNegative = peek() == UInt8(ascii: "-")
        if isNegative || peek() == UInt8(ascii: "+") { at += 1 }
        var value = 0
        let first = at
        while at < bytes.count, case let digit = bytes[at] &- UInt8(ascii: "0"), digit < 10 {
            value = min(value * 10 + Int(digit), 100_000)
            at += 1
        }
        if at == first { throw error("unfinished JSON number", at: start, expected: "a digit", found: foundHere()) }
        return isNegative ? -value : value
    }

    private func slowDouble(start: Int) throws -> Double {
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        guard let value = Double(text), value.isFinite || allowNonFinite else {
            throw error("JSON number no Double can hold", at: start, found: String(text.prefix(60)))
        }
        return value
    }
}

/// The digits of a number as an integer times a power of ten.
private struct Digits {
    var value: UInt64 = 0
    var exponent = 0
    var overflowed = false

    @inline(__always)
    mutating func append(_ digit: UInt8) {
        let (tenfold, over) = value.multipliedReportingOverflow(by: 10)
        let (sum, carried) = tenfold.addingReportingOverflow(UInt64(digit))
        value = sum
        overflowed = overflowed || over || carried
    }

    /// The whole number, if it fits.
    func asInt(isNegative: Bool) -> Int? {
        if overflowed { return nil }
        if isNegative, value == 1 << 63 { return Int.min }
        guard let magnitude = Int(exactly: value) else { return nil }
        return isNegative ? -magnitude : magnitude
    }

    /// The nearest Double where one operation gives it: both operands are exact, so its rounding is the only one.
    func asDouble(isNegative: Bool) -> Double? {
        guard !overflowed, value <= 1 << 53, (-22...22).contains(exponent) else { return nil }
        let power = Self.powersOfTen[abs(exponent)]
        let magnitude = exponent < 0 ? Double(value) / power : Double(value) * power
        return isNegative ? -magnitude : magnitude
    }

    private static let powersOfTen: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
        1e21, 1e22,
    ]
}
