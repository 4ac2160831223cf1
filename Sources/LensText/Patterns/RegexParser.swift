// Reading regular expressions in Oniguruma's own syntax, which is what Hugging Face tokenizers takes them to be in.
// It refuses what split patterns have no use for: absent operators, conditionals, subroutine calls, callouts and \X.
// Case is ignored one scalar for one; `ß` is not `ss` here. Scalars are read from UTF-8 that is valid.
import LensFiles

struct RegexParser {
    struct Options {
        var ignoresCase = false
        var dotMatchesNewline = false
        var isExtended = false
    }

    let pattern: [UInt32]
    let location: String
    var index = 0
    var options = Options()
    var groupCount = 0
    var groupNames: [String: [Int]] = [:]
    var depth = 0
    static let deepest = 100
    static let longest = 20_000

    init(_ text: String, at location: String) {
        pattern = text.unicodeScalars.map(\.value)
        self.location = location
    }

    /// The tree of the whole pattern.
    static func parse(_ text: String, at location: String) throws -> (node: RegexNode, groups: Int) {
        guard text.utf8.count <= longest else {
            throw LensError(.format, "regular expression: too long", at: location, expected: "at most \(longest) bytes")
        }
        var parser = RegexParser(text, at: location)
        let node = try parser.alternatives()
        if parser.index < parser.pattern.count { throw parser.fail("unmatched )") }
        return (node, parser.groupCount)
    }

    func fail(_ what: String) -> LensError {
        LensError(.format, "regular expression: \(what)", at: location, found: "at character \(index)")
    }

    // Looking ahead.

    var next: UInt32? { index < pattern.count ? pattern[index] : nil }

    func starts(with text: String) -> Bool {
        let scalars = text.unicodeScalars
        guard index + scalars.count <= pattern.count else { return false }
        return zip(scalars, pattern[index...]).allSatisfy { $0.value == $1 }
    }

    mutating func take(_ text: String) -> Bool {
        guard starts(with: text) else { return false }
        index += text.unicodeScalars.count
        return true
    }

    mutating func takeAny() throws -> UInt32 {
        guard let next else { throw fail("cut off") }
        index += 1
        return next
    }

    // The grammar.

    mutating func alternatives() throws -> RegexNode {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { throw fail("nested too deeply") }
        var list = [try sequence()]
        while take("|") { list.append(try sequence()) }
        return list.count == 1 ? list[0] : .alternatives(list)
    }

    private mutating func sequence() throws -> RegexNode {
        var list: [RegexNode] = []
        while let next, next != 0x7C, next != 0x29 {
            if options.isExtended {
                if next == 0x20 || (0x09...0x0D).contains(next) {
                    index += 1
                    continue
                }
                if next == 0x23 {
                    while let next = self.next, next != 0x0A { index += 1; _ = next }
                    continue
                }
            }
            if take("(?#") {
                while try takeAny() != 0x29 {}
                continue
            }
            list.append(try quantified())
        }
        return list.count == 1 ? list[0] : list.isEmpty ? .empty : .sequence(list)
    }

    private mutating func quantified() throws -> RegexNode {
        var node = try atom()
        var count = 0
        while let quantifier = try quantifier() {
            count += 1
            guard count < 20 else { throw fail("too many quantifiers") }
            node = .repetition(node, least: quantifier.least, most: quantifier.most, quantifier.greed)
            if quantifier.isOptional { node = .repetition(node, least: 0, most: 1, .greedy) }
        }
        return node
    }

    /// A quantifier, if one is next. `{n}?` means `(?:…{n})?`, and `{n,m}+` repeats the repetition.
    private mutating func quantifier() throws -> (least: Int, most: Int?, greed: RegexGreed, isOptional: Bool)? {
        let simple: [(String, Int, Int?)] = [("*", 0, nil), ("+", 1, nil), ("?", 0, 1)]
        for (sign, least, most) in simple where take(sign) {
            return (least, most, take("?") ? .lazy : take("+") ? .possessive : .greedy, false)
        }
        let start = index
        guard take("{") else { return nil }
        let least = try number(), hasComma = take(",")
        let most = hasComma ? try number() : least
        guard take("}"), least != nil || most != nil else {
            index = start
            return nil
        }
        if let most, most < least ?? 0 { throw fail("interval whose limits are the wrong way round") }
        if !hasComma, take("?") { return (least ?? 0, most, .greedy, true) }
        return (least ?? 0, most, take("?") ? .lazy : .greedy, false)
    }

    private mutating func number() throws -> Int? {
        var value: Int?
        while let next, (0x30...0x39).contains(next) {
            value = (value ?? 0) * 10 + Int(next - 0x30)
            if value ?? 0 > 100_000 { throw fail("interval too large") }
            index += 1
        }
        return value
    }

    private mutating func atom() throws -> RegexNode {
        let next = try takeAny()
        switch next {
        case 0x28: return try group()
        case 0x5B: return .set(try bracket())
        case 0x2E: return .set(options.dotMatchesNewline ? .all : RegexClasses.newline.inverted)
        case 0x5E: return .assertion(.lineStart)
        case 0x24: return .assertion(.lineEnd)
        case 0x5C: return try escape()
        case 0x2A, 0x2B, 0x3F: throw fail("nothing to repeat")
        default: return literal(next)
        }
    }

    func literal(_ value: UInt32) -> RegexNode {
        .set(ScalarSet([value] + (options.ignoresCase ? CaseFolding.variants[value] ?? [] : [])))
    }

    func cased(_ set: ScalarSet) -> ScalarSet { options.ignoresCase ? set.ignoringCase : set }

    /// What follows an opening parenthesis.
    private mutating func group() throws -> RegexNode {
        let outer = options
        defer { options = outer }
        func closed(_ node: RegexNode, _ parser: inout RegexParser) throws -> RegexNode {
            guard parser.take(")") else { throw parser.fail("unclosed (") }
            return node
        }
        if take("?:") { return try closed(try alternatives(), &self) }
        if take("?>") { return .atomic(try closed(try alternatives(), &self)) }
        for (sign, isAhead, isNegated) in [("?=", true, false), ("?!", true, true), ("?<=", false, false), ("?<!", false, true)]
        where take(sign) {
            return .look(try closed(try alternatives(), &self), isAhead: isAhead, isNegated: isNegated)
        }
        if starts(with: "?<") || starts(with: "?'") {
            index += 1
            let end: UInt32 = try takeAny() == 0x3C ? 0x3E : 0x27
            let name = try groupName(until: end)
            groupCount += 1
            let number = groupCount
            groupNames[name, default: []].append(number)
            return .group(try closed(try alternatives(), &self), number: number)
        }
        guard take("?") else {
            if starts(with: "*") { throw fail("callouts are not supported") }
            groupCount += 1
            let number = groupCount
            return .group(try closed(try alternatives(), &self), number: number)
        }
        return try optionGroup(outer)
    }

    /// `i-mx)` or `i-mx:…)`. Without a colon the options hold to the end of the group around it, alternatives included.
    private mutating func optionGroup(_ outer: Options) throws -> RegexNode {
        var value = true
        while true {
            switch try takeAny() {
            case UInt32(UInt8(ascii: "-")): value = false
            case UInt32(UInt8(ascii: "i")): options.ignoresCase = value
            case UInt32(UInt8(ascii: "m")): options.dotMatchesNewline = value
            case UInt32(UInt8(ascii: "x")): options.isExtended = value
            case UInt32(UInt8(ascii: ":")):
                let node = try alternatives()
                guard take(")") else { throw fail("unclosed (") }
                return node
            case UInt32(UInt8(ascii: ")")): return try alternatives()
            default: throw fail("unsupported group")
            }
        }
    }

    mutating func groupName(until end: UInt32) throws -> String {
        var name = ""
        while true {
            let next = try takeAny()
            if next == end { break }
            if let scalar = Unicode.Scalar(next) { name.unicodeScalars.append(scalar) }
        }
        if name.isEmpty { throw fail("empty group name") }
        return name
    }
}
