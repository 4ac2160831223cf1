// Split: cuts at the matches of a pattern, or at everything else.
import LensFiles

struct SplitPreTokenizer: Sendable {
    let pattern: TextPattern
    let behavior: SplitBehavior
    let isInverted: Bool

    init(_ fields: Fields) throws {
        pattern = try TextPattern(fields, "pattern")
        guard let behavior = try SplitBehavior(fields) else {
            throw LensError(.format, "missing member", at: fields.location, expected: "\"behavior\"")
        }
        self.behavior = behavior
        isInverted = try fields.requiredBool("invert")
    }

    func apply(to text: inout PieceText) throws {
        if case .scanner(let scanner) = pattern, behavior == .isolated { return scanner.split(&text) }
        try behavior.split(&text) { bytes in
            var matches = try pattern.matches(in: bytes)
            if isInverted { for index in matches.indices { matches[index].isMatch.toggle() } }
            return matches
        }
    }
}
