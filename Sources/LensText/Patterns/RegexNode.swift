// The tree of a regular expression.

indirect enum RegexNode: Sendable {
    case empty
    case set(ScalarSet)
    case sequence([RegexNode])
    case alternatives([RegexNode])
    /// `most` is nil without a limit.
    case repetition(RegexNode, least: Int, most: Int?, RegexGreed)
    case group(RegexNode, number: Int)
    case atomic(RegexNode)
    case look(RegexNode, isAhead: Bool, isNegated: Bool)
    case assertion(RegexAssertion)
    case backreference([Int], ignoresCase: Bool)
    /// `\K`: the match begins here.
    case keep

    /// The scalars a match can begin with; nil if it can be empty or looks elsewhere.
    var firstScalars: ScalarSet? {
        switch self {
        case .set(let set): return set
        case .group(let inner, _), .atomic(let inner): return inner.firstScalars
        case .repetition(let inner, let least, _, _): return least > 0 ? inner.firstScalars : nil
        case .alternatives(let list):
            var result = ScalarSet()
            for node in list {
                guard let set = node.firstScalars else { return nil }
                result = result.union(set)
            }
            return result
        case .sequence(let list):
            var result = ScalarSet()
            for node in list {
                if case .repetition(let inner, 0, _, _) = node, let set = inner.firstScalars {
                    result = result.union(set)
                    continue
                }
                return node.firstScalars.map { result.union($0) }
            }
            return nil
        case .empty, .look, .assertion, .backreference, .keep: return nil
        }
    }

    /// How many scalars a match has at least and, if there is a limit, at most.
    var width: (least: Int, most: Int?) {
        switch self {
        case .empty, .look, .assertion, .keep: return (0, 0)
        case .set: return (1, 1)
        case .backreference: return (0, nil)
        case .group(let inner, _), .atomic(let inner): return inner.width
        case .sequence(let list):
            return list.reduce((0, 0)) { sum, node in
                let width = node.width
                return (Self.limited(sum.0 + width.least), sum.1.flatMap { most in width.most.map { Self.limited(most + $0) } })
            }
        case .alternatives(let list):
            let widths = list.map(\.width)
            let most = widths.map(\.most).reduce(0 as Int?) { a, b in a.flatMap { a in b.map { max(a, $0) } } }
            return (widths.map(\.least).min() ?? 0, most)
        case .repetition(let inner, let least, let most, _):
            let width = inner.width
            return (Self.limited(width.least * least), most.flatMap { most in width.most.map { Self.limited($0 * most) } })
        }
    }

    /// No text is longer; keeps products from overflowing.
    private static func limited(_ width: Int) -> Int { min(width, 1 << 31) }
}

enum RegexGreed: Sendable { case greedy, lazy, possessive }

enum RegexAssertion: Sendable {
    case lineStart, lineEnd, textStart, textEnd, textEndOrNewline, searchStart, wordBoundary, noWordBoundary
}
