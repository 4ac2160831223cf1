// Regular expressions as programs for a backtracking matcher (RegexMatcher.swift).
// It refuses expressions whose counted repetitions would make the program too large.
import LensFiles

enum RegexInstruction: Sendable {
    /// One scalar of a set.
    case set(Int)
    /// A repeated scalar of a set, as many as there are; `canGiveBack` unless possessive.
    case run(set: Int, least: Int, most: Int, canGiveBack: Bool)
    /// Goes on at the first, later at the second.
    case split(Int, Int)
    case jump(Int)
    case save(Int)
    case assertion(RegexAssertion)
    /// Runs the instructions up to `end`, which end in `accept`, and takes the first way they match.
    case atomic(end: Int)
    case look(end: Int, isAhead: Bool, isNegated: Bool, least: Int, most: Int)
    /// Matches what one of `references[n]` matched, the last that did.
    case backreference(Int)
    case keep
    /// Notes the place at the beginning of a loop's body, and leaves the loop if the body matched nothing.
    case loopStart(Int)
    case loopEnd(Int, exit: Int)
    case accept
}

/// A compiled regular expression.
struct Regex: Sendable {
    private(set) var code: [RegexInstruction] = []
    private(set) var sets: [ScalarSet] = []
    private(set) var references: [(groups: [Int], ignoresCase: Bool)] = []
    private(set) var slotCount = 0
    /// What a match can begin with; nil if anything.
    let first: ScalarSet?
    private static let largest = 20_000
    private var setNumbers: [ScalarSet: Int] = [:]
    private let location: String

    /// - Throws: `LensError` naming `location` if the pattern is malformed or uses what is not supported.
    init(_ pattern: String, at location: String) throws {
        self.location = location
        let (node, groups) = try RegexParser.parse(pattern, at: location)
        first = node.firstScalars
        slotCount = 2 * (groups + 1)
        try compile(node)
        try emit(.accept)
        setNumbers = [:]
    }

    private mutating func emit(_ instruction: RegexInstruction) throws {
        guard code.count < Self.largest else { throw LensError(.format, "regular expression: too large", at: location) }
        code.append(instruction)
    }

    private mutating func number(_ set: ScalarSet) -> Int {
        if let known = setNumbers[set] { return known }
        sets.append(set)
        setNumbers[set] = sets.count - 1
        return sets.count - 1
    }

    private mutating func compile(_ node: RegexNode) throws {
        switch node {
        case .empty: break
        case .set(let set): try emit(.set(number(set)))
        case .sequence(let list): for item in list { try compile(item) }
        case .alternatives(let list): try compileAlternatives(list)
        case .repetition(let inner, let least, let most, let greed): try compileRepetition(inner, least, most, greed)
        case .group(let inner, let number):
            try emit(.save(2 * number))
            try compile(inner)
            try emit(.save(2 * number + 1))
        case .atomic(let inner): try compileNested(inner) { .atomic(end: $0) }
        case .look(let inner, let isAhead, let isNegated):
            let width = inner.width
            try compileNested(inner) {
                .look(end: $0, isAhead: isAhead, isNegated: isNegated, least: width.least, most: width.most ?? .max)
            }
        case .assertion(let assertion): try emit(.assertion(assertion))
        case .backreference(let groups, let ignoresCase):
            references.append((groups, ignoresCase))
            try emit(.backreference(references.count - 1))
        case .keep: try emit(.keep)
        }
    }

    private mutating func compileNested(_ inner: RegexNode, _ make: (Int) -> RegexInstruction) throws {
        let place = code.count
        try emit(.accept)
        try compile(inner)
        try emit(.accept)
        code[place] = make(code.count)
    }

    private mutating func compileAlternatives(_ list: [RegexNode]) throws {
        var ends: [Int] = []
        for (index, item) in list.enumerated() {
            guard index + 1 < list.count else {
                try compile(item)
                break
            }
            let place = code.count
            try emit(.accept)
            try compile(item)
            ends.append(code.count)
            try emit(.accept)
            code[place] = .split(place + 1, code.count)
        }
        for end in ends { code[end] = .jump(code.count) }
    }

    private mutating func compileRepetition(_ inner: RegexNode, _ least: Int, _ most: Int?, _ greed: RegexGreed) throws {
        if case .set(let set) = inner, greed != .lazy {
            return try emit(.run(set: number(set), least: least, most: most ?? .max, canGiveBack: greed == .greedy))
        }
        if greed == .possessive {
            return try compileNested(.repetition(inner, least: least, most: most, .greedy)) { .atomic(end: $0) }
        }
        // Copies of nothing are nothing, however many.
        if inner.width.most == 0, least > 1 { return try compileRepetition(inner, 1, most.map { min($0, 1) }, greed) }
        for _ in 0..<least { try compile(inner) }
        guard let most else { return try compileLoop(inner, greed) }
        var splits: [Int] = []
        for _ in 0..<max(most - least, 0) {
            splits.append(code.count)
            try emit(.accept)
            try compile(inner)
        }
        for place in splits { code[place] = greed == .lazy ? .split(code.count, place + 1) : .split(place + 1, code.count) }
    }

    private mutating func compileLoop(_ inner: RegexNode, _ greed: RegexGreed) throws {
        let start = code.count
        try emit(.accept)
        let slot = slotCount, canBeEmpty = inner.width.least == 0
        if canBeEmpty {
            slotCount += 1
            try emit(.loopStart(slot))
        }
        try compile(inner)
        let end = code.count
        if canBeEmpty { try emit(.accept) }
        try emit(.jump(start))
        if canBeEmpty { code[end] = .loopEnd(slot, exit: code.count) }
        code[start] = greed == .lazy ? .split(code.count, start + 1) : .split(start + 1, code.count)
    }
}
