// Sets of Unicode scalars, as the boundaries where membership changes: what the classes of regular expressions are.

struct ScalarSet: Sendable, Hashable {
    /// Members are in [boundaries[0], boundaries[1]), [boundaries[2], boundaries[3]), …
    private(set) var boundaries: [UInt32] = []
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    static let limit: UInt32 = 0x110000
    static let all = ScalarSet(range: 0, limit - 1)

    init() {}

    init(range first: UInt32, _ last: UInt32) {
        boundaries = [first, last + 1]
        indexASCII()
    }

    init(_ members: some Sequence<UInt32>) {
        for member in Set(members).sorted() {
            if boundaries.last == member { boundaries[boundaries.count - 1] = member + 1 } else { boundaries += [member, member + 1] }
        }
        indexASCII()
    }

    /// The members of a set of `UnicodeTables`, given as run lengths, out and in turn by turn.
    init(runs: String) {
        var place: UInt32 = 0
        for run in runs.utf8.split(separator: UInt8(ascii: " ")) {
            place += hexadecimal(run)
            boundaries.append(min(place, Self.limit))
        }
        if boundaries.first == 0 { boundaries.removeFirst() } else if boundaries.isEmpty { return }
        if boundaries.count % 2 == 1 { if boundaries.last == Self.limit { boundaries.removeLast() } else { boundaries.append(Self.limit) } }
        indexASCII()
    }

    /// The scalars for which `isMember` holds.
    init(where isMember: (UInt32) -> Bool) {
        var inside = false
        for value in 0..<Self.limit where isMember(value) != inside {
            boundaries.append(value)
            inside.toggle()
        }
        if inside { boundaries.append(Self.limit) }
        indexASCII()
    }

    private init(boundaries: [UInt32]) {
        self.boundaries = boundaries
        indexASCII()
    }

    private mutating func indexASCII() {
        for value in UInt32(0)..<128 where search(value) {
            if value < 64 { low |= 1 << UInt64(value) } else { high |= 1 << UInt64(value - 64) }
        }
    }

    @inline(__always)
    func contains(_ value: UInt32) -> Bool {
        if value < 64 { return low >> UInt64(value) & 1 == 1 }
        if value < 128 { return high >> UInt64(value - 64) & 1 == 1 }
        return search(value)
    }

    private func search(_ value: UInt32) -> Bool {
        var first = 0, last = boundaries.count
        while first < last {
            let middle = (first + last) / 2
            if boundaries[middle] <= value { first = middle + 1 } else { last = middle }
        }
        return first % 2 == 1
    }

    var isEmpty: Bool { boundaries.isEmpty }

    var inverted: ScalarSet {
        var edges = boundaries
        if edges.first == 0 { edges.removeFirst() } else { edges.insert(0, at: 0) }
        if edges.last == Self.limit { edges.removeLast() } else { edges.append(Self.limit) }
        return ScalarSet(boundaries: edges)
    }

    func union(_ other: ScalarSet) -> ScalarSet { combined(other) { $0 || $1 } }
    func intersection(_ other: ScalarSet) -> ScalarSet { combined(other) { $0 && $1 } }

    private func combined(_ other: ScalarSet, _ rule: (Bool, Bool) -> Bool) -> ScalarSet {
        var edges: [UInt32] = []
        var a = 0, b = 0, inside = false
        while a < boundaries.count || b < other.boundaries.count {
            let next = min(a < boundaries.count ? boundaries[a] : Self.limit, b < other.boundaries.count ? other.boundaries[b] : Self.limit)
            while a < boundaries.count, boundaries[a] == next { a += 1 }
            while b < other.boundaries.count, other.boundaries[b] == next { b += 1 }
            let now = rule(a % 2 == 1, b % 2 == 1)
            if now != inside { edges.append(next) }
            inside = now
        }
        return ScalarSet(boundaries: edges)
    }

    /// With everything that is the same as a member but for case.
    var ignoringCase: ScalarSet {
        var added: [UInt32] = []
        for (value, variants) in CaseFolding.variants where contains(value) { added += variants }
        return added.isEmpty ? self : union(ScalarSet(added))
    }
}

/// Which scalars are the same but for case, one to one.
enum CaseFolding {
    /// For every scalar that has any, the others.
    static let variants: [UInt32: [UInt32]] = {
        let folds = ScalarExpansions(NormalizationTables.folds)
        var groups: [UInt32: [UInt32]] = [:]
        for (number, source) in folds.sources.enumerated() {
            guard let least = folds.entry(number).first else { continue }
            groups[least, default: [least]].append(source)
        }
        var result: [UInt32: [UInt32]] = [:]
        for group in groups.values { for member in group { result[member] = group.filter { $0 != member } } }
        return result
    }()
}
