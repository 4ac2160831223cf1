// Places in a word by the rank of their merge, for words so long that a heap's logarithm shows: one bucket a rank, taken in
// order, so that a word of n symbols merges in time linear in n.

/// Places waiting for their merges. Ranks are taken in rising order, and none may be added at or below the one last taken.
struct RankBuckets {
    /// The entry last added to each rank's bucket; -1 for none.
    private var last: [Int32]
    /// Place and the entry added before it to the same bucket.
    private var entries: [(place: Int32, before: Int32)] = []
    private var rank = 0
    private var places: [Int32] = []
    private var spare: [Int32] = []

    init(ranks: Int, minimumCapacity: Int) {
        last = Array(repeating: -1, count: ranks)
        entries.reserveCapacity(minimumCapacity)
    }

    @inline(__always)
    mutating func add(_ place: Int, rank: UInt32) {
        let entry = Int32(truncatingIfNeeded: entries.count)
        entries.append((Int32(truncatingIfNeeded: place), last[Int(rank)]))
        last[Int(rank)] = entry
    }

    /// The lowest rank left and its places, leftmost first.
    mutating func next() -> (rank: Int, places: [Int32])? {
        while rank < last.count, last[rank] < 0 { rank += 1 }
        guard rank < last.count else { return nil }
        places.removeAll(keepingCapacity: true)
        var entry = last[rank]
        while entry >= 0 {
            places.append(entries[Int(entry)].place)
            entry = entries[Int(entry)].before
        }
        sortPlaces()
        rank += 1
        return (rank - 1, places)
    }

    private mutating func sortPlaces() {
        if places.count < 512 { return places.sort() }
        // By eleven bits at a time, the lowest first.
        for shift in [0, 11, 22] as [Int32] {
            var starts = [Int](repeating: 0, count: 1 << 11 + 1)
            for place in places { starts[Int(place >> shift & 0x7FF) + 1] += 1 }
            for digit in 1..<starts.count { starts[digit] += starts[digit - 1] }
            if starts[1] == places.count { continue }
            spare = places
            for place in spare {
                let digit = Int(place >> shift & 0x7FF)
                places[starts[digit]] = place
                starts[digit] += 1
            }
        }
    }
}
