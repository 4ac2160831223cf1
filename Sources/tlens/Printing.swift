// How results look: tables, JSON, numbers and tokens as text. Writing them is StandardStreams' business.

import TransformerLens

/// One JSON document.
func printJSON(_ value: JSON) throws {
    try say(try value.text(pretty: true, nonFinite: .null))
}

/// Columns, left-aligned but for numbers, a header line first.
struct TextTable {
    private var rows: [[String]]
    private let isNumber: [Bool]

    /// - Parameter header: a title for each column; one that begins with `#` holds numbers.
    init(_ header: [String]) {
        isNumber = header.map { $0.hasPrefix("#") }
        rows = [header.map { $0.hasPrefix("#") ? String($0.dropFirst()) : $0 }]
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    /// Every row a line, none ending in spaces.
    var text: String {
        let widths = rows[0].indices.map { column in rows.map { Self.width($0[column]) }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                let filling = String(repeating: " ", count: widths[column] - Self.width(cell))
                if isNumber[column] { return filling + cell }
                return cell + filling
            }.joined(separator: "  ").trimmingTrailingSpaces
        }.joined(separator: "\n")
    }

    /// Columns on a terminal, near enough: wide East Asian characters count two, combining ones none.
    static func width(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { total, scalar in
            switch scalar.properties.generalCategory {
            case .nonspacingMark, .enclosingMark, .format: return total
            default:
                let isWide = (0x1100...0x115F).contains(scalar.value) || (0x2E80...0xA4CF).contains(scalar.value)
                    || (0xAC00...0xD7A3).contains(scalar.value) || (0xF900...0xFAFF).contains(scalar.value)
                    || (0xFE30...0xFE6F).contains(scalar.value) || (0xFF00...0xFF60).contains(scalar.value)
                    || (0x1F300...0x1FAFF).contains(scalar.value) || (0x20000...0x3FFFD).contains(scalar.value)
                return total + (isWide ? 2 : 1)
            }
        }
    }
}

extension String {
    fileprivate var trimmingTrailingSpaces: String {
        String(decoding: utf8.reversed().drop { $0 == UInt8(ascii: " ") }.reversed(), as: UTF8.self)
    }
}

/// A token's text as one line can show it: quoted, and escaped where it holds what a terminal would obey or not show.
func quoted(_ text: String) -> String { "\"\(escaped(text, also: "\""))\"" }

/// Text as one line can show it: line ends, control characters and invisible ones escaped.
func escaped(_ text: String, also other: Unicode.Scalar? = nil) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch (scalar, scalar.properties.generalCategory) {
        case ("\n", _): result += "\\n"
        case ("\t", _): result += "\\t"
        case ("\r", _): result += "\\r"
        case ("\\", _): result += "\\\\"
        case (other, _): result += "\\\(scalar)"
        case (_, .control), (_, .format), (_, .lineSeparator), (_, .paragraphSeparator), (_, .unassigned), (_, .privateUse):
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// A number with `digits` after the point.
func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    let whole = (scaled / scale).rounded(.down)
    let fraction = digits == 0 ? "" : String(Int(scaled - whole * scale))
    let sign = value < 0 && scaled > 0 ? "-" : ""
    return sign + String(Int(whole)) + (digits == 0 ? "" : "." + String(repeating: "0", count: max(0, digits - fraction.count)) + fraction)
}

/// A count with thousands apart: 124,439,808.
func grouped(_ count: Int) -> String {
    var digits = Array(String(abs(count)).reversed()), result: [Character] = []
    while !digits.isEmpty {
        if !result.isEmpty { result.append(",") }
        result += digits.prefix(3)
        digits.removeFirst(min(3, digits.count))
    }
    return (count < 0 ? "-" : "") + String(result.reversed())
}

/// `1 thread`, `2 threads`.
func threadCount(_ count: Int) -> String { "\(count) thread\(count == 1 ? "" : "s")" }
