// What text is cut at or replaced by: a literal, a well-known regular expression with a scanner of its own, or any other.
import LensFiles

enum TextPattern: Sendable {
    /// Bytes of a text; none of them matches everywhere, as an empty regular expression does.
    case literal([UInt8])
    case scanner(WordScanner)
    case regex(Regex)

    /// Reads `{"String": …}` or `{"Regex": …}`.
    init(_ fields: Fields, _ key: String) throws {
        let pattern = try Fields(try fields.required(key), at: fields.place(key))
        if let literal = try pattern.string("String") {
            self = literal.isEmpty ? .regex(try Regex("", at: pattern.place("String"))) : .literal(Array(literal.utf8))
            return
        }
        guard let text = try pattern.string("Regex") else {
            throw LensError(.format, "no pattern", at: fields.place(key), expected: "{\"String\": …} or {\"Regex\": …}")
        }
        if let scanner = WordScanner(pattern: text) {
            self = .scanner(scanner)
        } else {
            self = .regex(try Regex(text, at: pattern.place("Regex")))
        }
    }

    /// The matches and what lies between them, covering the text.
    ///
    /// - Throws: `LensError` if a regular expression takes too many steps.
    func matches(in text: Bytes) throws -> [SplitMatch] {
        guard text.count > 0 else { return [SplitMatch(start: 0, end: 0, isMatch: false)] }
        switch self {
        case .literal(let literal): return Self.covering(text, occurrences(of: literal, in: text, from: 0, to: text.count))
        case .regex(let regex): return Self.covering(text, try RegexMatcher.matches(of: regex, in: text))
        case .scanner(let scanner):
            var matches: [SplitMatch] = []
            scanner.scan(text) { start, end, isMatch in matches.append(SplitMatch(start: start, end: end, isMatch: isMatch)) }
            return matches
        }
    }

    static func covering(_ text: Bytes, _ found: [Range<Int>]) -> [SplitMatch] {
        var matches: [SplitMatch] = []
        var covered = 0
        for place in found {
            if covered < place.lowerBound { matches.append(SplitMatch(start: covered, end: place.lowerBound, isMatch: false)) }
            matches.append(SplitMatch(start: place.lowerBound, end: place.upperBound, isMatch: true))
            covered = place.upperBound
        }
        if covered < text.count { matches.append(SplitMatch(start: covered, end: text.count, isMatch: false)) }
        return matches
    }
}
