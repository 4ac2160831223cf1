// Reading regular expressions: escapes, and classes in brackets.
import LensFiles

extension RegexParser {
    /// What follows a backslash outside brackets.
    mutating func escape() throws -> RegexNode {
        guard let next else { throw fail("cut off") }
        let assertions: [Character: RegexAssertion] = ["A": .textStart, "z": .textEnd, "Z": .textEndOrNewline, "G": .searchStart,
                                                       "b": .wordBoundary, "B": .noWordBoundary]
        if next < 0x80, let assertion = assertions[Character(Unicode.Scalar(UInt8(next)))] {
            index += 1
            return .assertion(assertion)
        }
        switch next {
        case UInt32(UInt8(ascii: "K")):
            index += 1
            return .keep
        case UInt32(UInt8(ascii: "R")):
            index += 1
            let single = ScalarSet([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029])
            return .atomic(.alternatives([.sequence([.set(ScalarSet([0x0D])), .set(ScalarSet([0x0A]))]), .set(single)]))
        case UInt32(UInt8(ascii: "N")):
            index += 1
            return .set(RegexClasses.newline.inverted)
        case UInt32(UInt8(ascii: "O")):
            index += 1
            return .set(.all)
        case UInt32(UInt8(ascii: "k")):
            index += 1
            let end: UInt32 = take("<") ? 0x3E : 0x27
            if end == 0x27, !take("'") { throw fail("group name expected") }
            let name = try groupName(until: end)
            guard let groups = groupNames[name] ?? Int(name).map({ [$0] }), groups.allSatisfy({ (1...groupCount).contains($0) }) else {
                throw fail("no such group")
            }
            return .backreference(groups, ignoresCase: options.ignoresCase)
        case UInt32(UInt8(ascii: "X")), UInt32(UInt8(ascii: "g")), UInt32(UInt8(ascii: "y")), UInt32(UInt8(ascii: "Y")):
            throw fail("unsupported escape")
        case 0x31...0x39:
            let start = index
            var number = 0
            while let next = self.next, (0x30...0x39).contains(next), number < 1000 {
                number = number * 10 + Int(next - 0x30)
                index += 1
            }
            if number <= groupCount, groupNames.isEmpty { return .backreference([number], ignoresCase: options.ignoresCase) }
            guard number >= 10 || number > groupCount, pattern[start] < 0x38 else { throw fail("no such group") }
            index = start
            return literal(try octal(3))
        default:
            if let set = try classEscape(word: RegexClasses.word) { return .set(set) }
            return literal(try scalarEscape())
        }
    }

    /// A class like `\d` or `\p{L}`, if one is next. It does not ignore case, unless it is in brackets.
    private mutating func classEscape(word: ScalarSet) throws -> ScalarSet? {
        let classes: [(String, String, ScalarSet)] = [("w", "W", word), ("s", "S", RegexClasses.space),
                                                      ("d", "D", RegexClasses.digit), ("h", "H", RegexClasses.hexDigit)]
        for (sign, negated, set) in classes {
            if take(sign) { return set }
            if take(negated) { return set.inverted }
        }
        var isNegated = starts(with: "P{")
        guard isNegated || starts(with: "p{") else { return nil }
        index += 2
        if take("^") { isNegated.toggle() }
        let name = try groupName(until: 0x7D)
        guard let set = RegexClasses.named(name) else {
            throw LensError(.format, "regular expression: unknown property", at: location, found: name)
        }
        return isNegated ? set.inverted : set
    }

    /// The scalar that an escape stands for.
    private mutating func scalarEscape(inBracket: Bool = false) throws -> UInt32 {
        let next = try takeAny()
        switch next {
        case UInt32(UInt8(ascii: "t")): return 9
        case UInt32(UInt8(ascii: "n")): return 10
        case UInt32(UInt8(ascii: "v")): return 11
        case UInt32(UInt8(ascii: "f")): return 12
        case UInt32(UInt8(ascii: "r")): return 13
        case UInt32(UInt8(ascii: "a")): return 7
        case UInt32(UInt8(ascii: "e")): return 27
        case UInt32(UInt8(ascii: "b")) where inBracket: return 8
        case UInt32(UInt8(ascii: "x")):
            if take("{") {
                let value = try hexadecimal(8)
                guard take("}") else { throw fail("bad \\x{…}") }
                return value
            }
            return try hexadecimal(2)
        case UInt32(UInt8(ascii: "u")): return try hexadecimal(4, exactly: true)
        case 0x30:
            index -= 1
            return try octal(3)
        default: return next
        }
    }

    private mutating func hexadecimal(_ most: Int, exactly: Bool = false) throws -> UInt32 {
        var value: UInt32 = 0, count = 0
        while count < most, let next, let digit = next < 0x80 ? Character(Unicode.Scalar(UInt8(next))).hexDigitValue : nil {
            value = value << 4 | UInt32(digit)
            index += 1
            count += 1
        }
        guard value < ScalarSet.limit, !exactly || count == most else { throw fail("bad code point") }
        return value
    }

    private mutating func octal(_ most: Int) throws -> UInt32 {
        var value: UInt32 = 0, count = 0
        while count < most, let next, (0x30...0x37).contains(next) {
            value = value << 3 | (next - 0x30)
            index += 1
            count += 1
        }
        return value
    }

    /// What follows an opening bracket. `&&` intersects; a bracket within is a class of its own.
    mutating func bracket() throws -> ScalarSet {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { throw fail("nested too deeply") }
        let isNegated = take("^")
        var result: ScalarSet?
        var current = ScalarSet()
        // A closing bracket that comes first is itself, if there is another.
        if next == 0x5D, pattern[(index + 1)...].contains(0x5D) {
            index += 1
            current = ScalarSet([0x5D])
        }
        while true {
            guard next != nil else { throw fail("unclosed [") }
            if take("]") { break }
            if take("&&") {
                result = result.map { $0.intersection(current) } ?? current
                current = ScalarSet()
                continue
            }
            current = current.union(try bracketItem())
        }
        let set = cased(result.map { $0.intersection(current) } ?? current)
        return isNegated ? set.inverted : set
    }

    private mutating func bracketItem() throws -> ScalarSet {
        if starts(with: "[:"), let end = pattern[index...].firstIndex(of: 0x5D), end > index + 3, pattern[end - 1] == 0x3A {
            index += 2
            let isNegated = take("^")
            let name = String(String.UnicodeScalarView(pattern[index..<(end - 1)].compactMap(Unicode.Scalar.init)))
            guard let set = RegexClasses.named(name) else {
                throw LensError(.format, "regular expression: unknown class", at: location, found: name)
            }
            index = end + 1
            return isNegated ? set.inverted : set
        }
        if take("[") { return try bracket() }
        let first: UInt32
        if take("\\") {
            if let set = try classEscape(word: RegexClasses.bracketWord) { return set }
            first = try scalarEscape(inBracket: true)
        } else {
            first = try takeAny()
        }
        guard next == 0x2D, index + 1 < pattern.count, pattern[index + 1] != 0x5D, pattern[index + 1] != 0x5B else {
            return ScalarSet([first])
        }
        let dash = index
        index += 1
        let last: UInt32
        if take("\\") {
            if let set = try classEscape(word: RegexClasses.bracketWord) { return set.union(ScalarSet([first, 0x2D])) }
            last = try scalarEscape(inBracket: true)
        } else if starts(with: "&&") {
            index = dash
            return ScalarSet([first, try takeAny()])
        } else {
            last = try takeAny()
        }
        guard first <= last else { throw fail("empty range") }
        return ScalarSet(range: first, last)
    }
}
