// What becomes of the delimiters when text is split.
import LensFiles

/// A stretch of text that matches the delimiter, or lies between matches.
struct SplitMatch {
    var start: Int
    var end: Int
    var isMatch: Bool
}

/// Hugging Face's five ways to split.
enum SplitBehavior: String, Sendable, CaseIterable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"

    /// The member "behavior"; nil if it is absent.
    init?(_ fields: Fields) throws {
        guard let name = try fields.string("behavior") else { return nil }
        guard let found = Self(rawValue: name) else {
            throw LensError(.format, "unknown behavior", at: fields.place("behavior"),
                            expected: Self.allCases.map(\.rawValue).joined(separator: ", "), found: name)
        }
        self = found
    }

    /// Splits every piece. `matches` covers its text with contiguous stretches.
    func split(_ text: inout PieceText, by matches: (Bytes) throws -> [SplitMatch]) rethrows {
        try text.split { bytes, piece, add in
            for part in parts(of: try matches(Bytes(rebasing: bytes[piece.start..<piece.end]))) {
                add(piece.start + part.start, piece.start + part.end, -1)
            }
        }
    }

    private func parts(of matches: [SplitMatch]) -> [SplitMatch] {
        switch self {
        case .isolated: return matches
        case .removed: return matches.filter { !$0.isMatch }
        case .contiguous: return joined(matches) { previous, current in previous == current }
        case .mergedWithPrevious: return joined(matches) { previous, current in current && !previous }
        case .mergedWithNext:
            // From the right: a match joins what follows it, unless that is a match too.
            var parts: [SplitMatch] = []
            var previous = false
            for match in matches.reversed() {
                if match.isMatch && !previous && !parts.isEmpty {
                    parts[parts.count - 1].start = match.start
                } else {
                    parts.append(match)
                }
                previous = match.isMatch
            }
            return parts.reversed()
        }
    }

    /// Joins a stretch to the one before it where `joins` says so. Before the first, nothing has matched.
    private func joined(_ matches: [SplitMatch], where joins: (_ previous: Bool, _ current: Bool) -> Bool) -> [SplitMatch] {
        var parts: [SplitMatch] = []
        var previous = false
        for match in matches {
            if joins(previous, match.isMatch) && !parts.isEmpty {
                parts[parts.count - 1].end = match.end
            } else {
                parts.append(match)
            }
            previous = match.isMatch
        }
        return parts
    }
}
