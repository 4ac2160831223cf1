// Cuts a template into text and tags, and tags into tokens, as Jinja does with trim_blocks and lstrip_blocks (which is
// how transformers sets it): a line break after a block tag goes, and so does white space between the beginning of a line
// and a block tag; `-` takes all white space on its side, `+` keeps it.

struct JinjaToken: Sendable {
    enum Kind: Sendable, Equatable {
        case text, blockBegin, blockEnd, variableBegin, variableEnd, name, string, int, double, op, end
    }

    var kind: Kind
    var text: String
    var line: Int
}

struct JinjaLexer {
    private let scalars: [Unicode.Scalar]
    private var at = 0
    private var line = 1
    /// Whether the text before `at` ended a line, or there is none.
    private var isAtLineStart = true
    private var tokens: [JinjaToken] = []

    /// The most tokens of one template: ten times the longest known.
    private static let mostTokens = 200_000

    init(_ template: String) {
        // Line ends become \n, and one at the very end goes.
        var scalars: [Unicode.Scalar] = []
        for scalar in template.unicodeScalars {
            if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
            scalars.append(scalar)
            if scalar == "\n" { continue }
            if scalars.count > 1, scalars[scalars.count - 2] == "\r" { scalars[scalars.count - 2] = "\n" }
        }
        if scalars.last == "\r" { scalars[scalars.count - 1] = "\n" }
        if scalars.last == "\n" { scalars.removeLast() }
        self.scalars = scalars
    }

    private func has(_ text: String, at place: Int) -> Bool {
        let wanted = text.unicodeScalars
        return place + wanted.count <= scalars.count && wanted.elementsEqual(scalars[place..<(place + wanted.count)])
    }

    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || ("\u{1C}"..."\u{1F}").contains(scalar)
    }

    private mutating func add(_ kind: JinjaToken.Kind, _ text: String) throws {
        guard tokens.count < Self.mostTokens else { throw JinjaError("a template of more than \(Self.mostTokens) tokens") }
        tokens.append(JinjaToken(kind: kind, text: text, line: line))
    }

    private mutating func advance(to place: Int) {
        for index in at..<place where scalars[index] == "\n" { line += 1 }
        at = place
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        String(String.UnicodeScalarView(scalars))
    }

    mutating func run() throws -> (tokens: [JinjaToken], lastLine: Int) {
        do {
            while at < scalars.count { try nextPart() }
            try add(.end, "")
        } catch let error as JinjaError {
            throw JinjaError("\(error.what) in line \(line)")
        }
        return (tokens, line)
    }

    /// Text up to the next tag, and the tag.
    private mutating func nextPart() throws {
        var begin = at
        while begin < scalars.count, !(scalars[begin] == "{" && begin + 1 < scalars.count && "{%#".unicodeScalars.contains(scalars[begin + 1])) {
            begin += 1
        }
        if begin == scalars.count {
            try addText(at..<begin)
            return advance(to: begin)
        }
        let kind = scalars[begin + 1]
        let sign: Unicode.Scalar? = begin + 2 < scalars.count && "-+".unicodeScalars.contains(scalars[begin + 2]) ? scalars[begin + 2] : nil
        var end = begin
        if sign == "-" {
            while end > at, Self.isSpace(scalars[end - 1]) { end -= 1 }
        } else if sign == nil, kind != "{" {
            let lineStart = (scalars[at..<begin].lastIndex(of: "\n") ?? at - 1) + 1
            if lineStart > at || isAtLineStart, scalars[lineStart..<begin].allSatisfy(Self.isSpace) { end = lineStart }
        }
        try addText(at..<end)
        // A plus after {{ is the sign of a number; a minus there still takes white space.
        let skip = sign == nil || kind == "{" && sign == "+" ? 2 : 3
        advance(to: begin + skip)
        if kind == "#" { return try comment() }
        if kind == "%", try raw() { return }
        try add(kind == "{" ? .variableBegin : .blockBegin, "")
        try tag(isBlock: kind == "%")
    }

    private mutating func addText(_ range: Range<Int>) throws {
        if !range.isEmpty { try add(.text, Self.string(scalars[range])) }
    }

    private mutating func comment() throws {
        guard let end = (at..<max(at, scalars.count - 1)).first(where: { scalars[$0] == "#" && scalars[$0 + 1] == "}" }) else {
            throw JinjaError("a comment without its end")
        }
        let takesSpace = end > at && scalars[end - 1] == "-", keeps = end > at && scalars[end - 1] == "+"
        finish(at: end + 2, takesSpace: takesSpace, keepsLine: keeps)
    }

    /// After a tag's end: the white space that goes with it.
    private mutating func finish(at end: Int, takesSpace: Bool, keepsLine: Bool) {
        var end = end
        if takesSpace {
            while end < scalars.count, Self.isSpace(scalars[end]) { end += 1 }
        } else if !keepsLine, end < scalars.count, scalars[end] == "\n" {
            end += 1
        }
        advance(to: end)
        isAtLineStart = end > 0 && scalars[end - 1] == "\n"
    }

    /// `{% raw %}` … `{% endraw %}`; false if this is no such tag.
    private mutating func raw() throws -> Bool {
        guard let (after, strips) = word("raw", from: at) else { return false }
        var start = after
        if strips == "-" { while start < scalars.count, Self.isSpace(scalars[start]) { start += 1 } }
        advance(to: start)
        var place = start
        while place + 1 < scalars.count {
            defer { place += 1 }
            guard scalars[place] == "{", scalars[place + 1] == "%" else { continue }
            var inner = place + 2
            let sign: Unicode.Scalar? = inner < scalars.count && "-+".unicodeScalars.contains(scalars[inner]) ? scalars[inner] : nil
            if sign != nil { inner += 1 }
            guard let (end, endSign) = word("endraw", from: inner) else { continue }
            var textEnd = place
            if sign == "-" {
                while textEnd > start, Self.isSpace(scalars[textEnd - 1]) { textEnd -= 1 }
            } else if sign == nil {
                let lineStart = (scalars[start..<place].lastIndex(of: "\n") ?? start - 1) + 1
                if lineStart > start, scalars[lineStart..<place].allSatisfy(Self.isSpace) { textEnd = lineStart }
            }
            try addText(start..<textEnd)
            finish(at: end, takesSpace: endSign == "-", keepsLine: endSign == "+")
            return true
        }
        throw JinjaError("raw without endraw")
    }

    /// The end of `word %}` from a place on, and the sign before its end.
    private func word(_ word: String, from place: Int) -> (end: Int, sign: Unicode.Scalar?)? {
        var place = place
        while place < scalars.count, Self.isSpace(scalars[place]) { place += 1 }
        guard has(word, at: place) else { return nil }
        place += word.unicodeScalars.count
        while place < scalars.count, Self.isSpace(scalars[place]) { place += 1 }
        for (text, sign) in [("%}", nil), ("-%}", "-"), ("+%}", "+")] as [(String, Unicode.Scalar?)] where has(text, at: place) {
            return (place + text.unicodeScalars.count, sign)
        }
        return nil
    }

    private static let operators = ["//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}",
                                    ">", "<", "=", ".", ":", "|", ",", ";"]

    /// The tokens of a tag up to its end.
    private mutating func tag(isBlock: Bool) throws {
        let close = isBlock ? "%}" : "}}"
        var open: [Unicode.Scalar] = []
        while at < scalars.count {
            if Self.isSpace(scalars[at]) {
                advance(to: at + 1)
                continue
            }
            if open.isEmpty, has(close, at: at) || has("-" + close, at: at) || isBlock && has("+" + close, at: at) {
                let sign = scalars[at]
                try add(isBlock ? .blockEnd : .variableEnd, "")
                // A line break after {{ … }} stays.
                finish(at: at + (has(close, at: at) ? 2 : 3), takesSpace: sign == "-", keepsLine: !isBlock || sign == "+")
                return
            }
            try token(&open)
        }
        throw JinjaError("a tag without its end")
    }

    private mutating func token(_ open: inout [Unicode.Scalar]) throws {
        let first = scalars[at]
        if first == "\"" || first == "'" { return try string(first) }
        if ("0"..."9").contains(first) { return try number() }
        if first == "_" || first.properties.isXIDStart {
            var end = at + 1
            while end < scalars.count, scalars[end] == "_" || scalars[end].properties.isXIDContinue { end += 1 }
            try add(.name, Self.string(scalars[at..<end]))
            return advance(to: end)
        }
        guard let op = Self.operators.first(where: { has($0, at: at) }) else { throw JinjaError("a character that means nothing: \(first)") }
        switch first {
        case "(", "[", "{": open.append(first)
        case ")", "]", "}":
            guard let last = open.popLast(), (last == "(") == (first == ")"), (last == "[") == (first == "]") else {
                throw JinjaError("a bracket that closes none")
            }
        default: break
        }
        try add(.op, op)
        advance(to: at + op.unicodeScalars.count)
    }

    private mutating func number() throws {
        var end = at
        func isDigit(_ place: Int) -> Bool { place < scalars.count && ("0"..."9").contains(scalars[place]) }
        func digits() { while isDigit(end) || end < scalars.count && scalars[end] == "_" && isDigit(end + 1) { end += 1 } }
        digits()
        var isDouble = false
        if end < scalars.count, scalars[end] == ".", isDigit(end + 1) {
            isDouble = true
            end += 1
            digits()
        }
        if end < scalars.count, scalars[end] == "e" || scalars[end] == "E" {
            let sign = end + 1 < scalars.count && (scalars[end + 1] == "+" || scalars[end + 1] == "-") ? 1 : 0
            if isDigit(end + 1 + sign) {
                isDouble = true
                end += 1 + sign
                digits()
            }
        }
        try add(isDouble ? .double : .int, Self.string(scalars[at..<end].filter { $0 != "_" }[...]))
        advance(to: end)
    }

    private mutating func string(_ mark: Unicode.Scalar) throws {
        var place = at + 1, text = String.UnicodeScalarView()
        while place < scalars.count, scalars[place] != mark {
            if scalars[place] == "\\", place + 1 < scalars.count {
                place = try escape(place + 1, &text)
            } else {
                text.append(scalars[place])
                place += 1
            }
        }
        guard place < scalars.count else { throw JinjaError("a string without its end") }
        try add(.string, String(text))
        advance(to: place + 1)
    }

    /// Python's escapes. - Returns: the place after it.
    private func escape(_ place: Int, _ text: inout String.UnicodeScalarView) throws -> Int {
        func hex(_ count: Int) throws -> Int {
            let end = place + 1 + count
            guard end <= scalars.count, let value = UInt32(Self.string(scalars[(place + 1)..<end]), radix: 16),
                  let scalar = Unicode.Scalar(value) else { throw JinjaError("a bad escape in a string") }
            text.append(scalar)
            return end
        }
        switch scalars[place] {
        case "n": text.append("\n")
        case "t": text.append("\t")
        case "r": text.append("\r")
        case "b": text.append("\u{8}")
        case "f": text.append("\u{C}")
        case "v": text.append("\u{B}")
        case "a": text.append("\u{7}")
        case "\\", "'", "\"": text.append(scalars[place])
        case "\n": break
        case "x": return try hex(2)
        case "u": return try hex(4)
        case "U": return try hex(8)
        case "0"..."7":
            var end = place, value: UInt32 = 0
            while end < scalars.count, end < place + 3, ("0"..."7").contains(scalars[end]) {
                value = value * 8 + scalars[end].value - 0x30
                end += 1
            }
            text.append(Unicode.Scalar(value) ?? "\u{FFFD}")
            return end
        default:
            text.append("\\")
            text.append(scalars[place])
        }
        return place + 1
    }
}
