// The merges of a BPE model by pair of ids: one flat hash table, read once for every neighbouring pair of a word.

/// What two neighbouring tokens merge into, and when.
struct Merge {
    /// Rank in the high half (the lowest merges first), the resulting id in the low half.
    var packed: UInt64
    static let none = Merge(packed: .max)

    @inline(__always) var rank: UInt32 { UInt32(truncatingIfNeeded: packed >> 32) }
    @inline(__always) var result: Int32 { Int32(truncatingIfNeeded: packed) }
    @inline(__always) var exists: Bool { packed != .max }
}

/// Pairs of ids and their merges.
struct MergeTable: Sendable {
    /// Two words per slot: the pair and the merge.
    private var slots: [UInt64]
    private var mask: Int
    private static let free = UInt64.max

    init(minimumCapacity: Int) {
        var capacity = 16
        while capacity < minimumCapacity &* 2 { capacity *= 2 }
        slots = [UInt64](repeating: Self.free, count: capacity * 2)
        mask = capacity - 1
    }

    @inline(__always)
    private func slot(_ pair: UInt64) -> Int {
        let mixed = pair &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: (mixed ^ mixed >> 32) >> 4) & mask
    }

    /// Sets the merge of a pair; a later one replaces an earlier one. Never more pairs than `minimumCapacity`.
    mutating func set(_ left: Int32, _ right: Int32, rank: Int, result: Int32) {
        let pair = Self.pair(left, right)
        var index = slot(pair)
        while slots[index * 2] != Self.free && slots[index * 2] != pair { index = (index + 1) & mask }
        slots[index * 2] = pair
        slots[index * 2 + 1] = UInt64(UInt32(truncatingIfNeeded: rank)) << 32 | UInt64(UInt32(bitPattern: result))
    }

    @inline(__always)
    func find(_ left: Int32, _ right: Int32) -> Merge {
        let pair = Self.pair(left, right)
        return slots.withUnsafeBufferPointer { slots in
            var index = slot(pair)
            while true {
                let found = slots[index &* 2]
                if found == pair { return Merge(packed: slots[index &* 2 &+ 1]) }
                if found == Self.free { return .none }
                index = (index &+ 1) & mask
            }
        }
    }

    /// The merges by rank, of which there are so many; negative ids where a later merge of the same pair took its place.
    func byRank(_ ranks: Int) -> [(left: Int32, right: Int32, result: Int32)] {
        var list = Array(repeating: (left: Int32(-1), right: Int32(-1), result: Int32(-1)), count: ranks)
        for index in stride(from: 0, to: slots.count, by: 2) where slots[index] != Self.free {
            let pair = slots[index], merge = Merge(packed: slots[index + 1])
            list[Int(merge.rank)] = (Int32(truncatingIfNeeded: pair >> 32), Int32(truncatingIfNeeded: pair), merge.result)
        }
        return list
    }

    @inline(__always)
    private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }
}

/// What is known of the ranks of a model's merges, and so how words may be merged.
enum MergeOrder: Sendable {
    /// A token's own merges all come before those it takes part in, as training makes them: ranks come up in rising order.
    case rising
    case any
    /// Some merge's result is one of its parts; then only the heap does exactly what the reference does.
    case degenerate

    /// Finds out, merge by merge.
    struct Builder {
        /// The highest rank that makes each token, and the lowest that takes it; -1 and the most there can be for none.
        private var made: [Int]
        private var taken: [Int]
        private var isDegenerate = false

        /// - Parameter tokens: one more than the greatest id. Scattered ids are not worth the room: nothing is then known.
        init(tokens: Int) {
            let count = tokens <= 1 << 22 ? tokens : 0
            made = Array(repeating: -1, count: count)
            taken = Array(repeating: .max, count: count)
        }

        /// Takes note of a merge of tokens of the vocabulary. Ranks rise from call to call.
        mutating func add(_ left: Int32, _ right: Int32, rank: Int, result: Int32) {
            isDegenerate = isDegenerate || result == left || result == right
            guard !made.isEmpty else { return }
            for part in [Int(left), Int(right)] { taken[part] = min(taken[part], rank) }
            made[Int(result)] = rank
        }

        var order: MergeOrder {
            if isDegenerate { return .degenerate }
            if made.isEmpty { return .any }
            return zip(made, taken).allSatisfy { $0 < $1 } ? .rising : .any
        }
    }
}
