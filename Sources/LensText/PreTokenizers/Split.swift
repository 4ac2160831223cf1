// Split: cuts at the occurrences of a literal, or at everything else. It refuses regular expressions without a scanner.
import LensFiles

struct SplitPreTokenizer: Sendable {
    let pattern: [UInt8]
    let behavior: SplitBehavior
    let isInverted: Bool

    init(_ fields: Fields) throws {
        pattern = try fields.literalPattern("pattern")
        guard let behavior = try SplitBehavior(fields) else {
            throw LensError(.format, "missing member", at: fields.location, expected: "\"behavior\"")
        }
        self.behavior = behavior
        isInverted = try fields.requiredBool("invert")
        guard !pattern.isEmpty else {
            throw LensError(.format, "empty pattern", at: fields.place("pattern"), expected: "at least one character")
        }
    }

    func apply(to text: inout PieceText) { behavior.split(&text, by: matches) }

    private func matches(_ text: Bytes) -> [SplitMatch] {
        var matches: [SplitMatch] = []
        var covered = 0
        for place in occurrences(of: pattern, in: text, from: 0, to: text.count) {
            if covered < place.lowerBound {
                matches.append(SplitMatch(start: covered, end: place.lowerBound, isMatch: isInverted))
            }
            matches.append(SplitMatch(start: place.lowerBound, end: place.upperBound, isMatch: !isInverted))
            covered = place.upperBound
        }
        if covered < text.count { matches.append(SplitMatch(start: covered, end: text.count, isMatch: isInverted)) }
        return matches
    }
}
