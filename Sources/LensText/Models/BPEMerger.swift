// Merging the symbols of one word by rank. Short words are scanned for the best pair again and again; longer ones go
// through a linked list and a heap, in time n·log n. Very long ones do better from left to right (LongWords.swift), if the
// merges come in the order of training; Llama 2's, as Hugging Face converts them from SentencePiece, do not.

/// The memory that merging works in, kept between words. One call at a time uses it.
struct BPEMerger {
    /// In: the word's first symbols. Out: the tokens.
    var symbols: [Int32] = []
    /// How many bytes each symbol covers, if `keepsLengths`.
    private(set) var lengths: [Int32] = []
    var keepsLengths = false
    private var merges: [UInt64] = []
    private var previous: [Int32] = []
    private var next: [Int32] = []
    private var heap: [UInt64] = []

    /// Below this many symbols scanning is faster than a heap.
    private static let longWord = 40

    /// Adds a first symbol that covers so many bytes.
    @inline(__always)
    mutating func append(_ symbol: Int32, _ length: Int) {
        symbols.append(symbol)
        if keepsLengths { lengths.append(Int32(truncatingIfNeeded: length)) }
    }

    /// Merges `symbols`.
    /// - Parameters:
    ///   - results: the id made by the merge of each rank.
    ///   - order: what is known of the ranks.
    mutating func merge(with table: MergeTable, results: [Int32], order: MergeOrder) {
        if symbols.count < 2 { return }
        if symbols.count < Self.longWord && order != .degenerate && !keepsLengths {
            mergeByScanning(table)
        } else {
            mergeByHeap(table, results)
        }
    }

    /// Takes the lowest rank, leftmost first, until nothing merges.
    private mutating func mergeByScanning(_ table: MergeTable) {
        merges.removeAll(keepingCapacity: true)
        for index in 0..<(symbols.count - 1) { merges.append(table.find(symbols[index], symbols[index + 1]).packed) }
        while true {
            var best = UInt64.max, place = -1
            for (index, merge) in merges.enumerated() where merge < best {
                best = merge
                place = index
            }
            if place < 0 { return }
            symbols[place] = Merge(packed: best).result
            symbols.remove(at: place + 1)
            merges.remove(at: place)
            if place < merges.count { merges[place] = table.find(symbols[place], symbols[place + 1]).packed }
            if place > 0 { merges[place - 1] = table.find(symbols[place - 1], symbols[place]).packed }
        }
    }

    /// The same with a heap of (rank, place); entries that no longer hold are skipped when they come up.
    private mutating func mergeByHeap(_ table: MergeTable, _ results: [Int32]) {
        link()
        heap.removeAll(keepingCapacity: true)
        for index in 0..<(symbols.count - 1) {
            let merge = table.find(symbols[index], symbols[index + 1])
            if merge.exists { heap.append(Self.entry(merge, index)) }
        }
        heapify()
        while let entry = popLeast() {
            let place = Int(UInt32(truncatingIfNeeded: entry))
            guard let (before, after) = mergeAtPlace(place, table, results[Int(entry >> 32)]) else { continue }
            if before >= 0 { push(table.find(symbols[before], symbols[place]), before) }
            if after >= 0 { push(table.find(symbols[place], symbols[after]), place) }
        }
        finish()
    }

    /// Merges `symbols` from left to right; false, and nothing done, if that cannot be.
    mutating func merge(with words: LongWords) -> Bool {
        guard let tokens = words.tokens(of: symbols) else { return false }
        symbols = tokens
        if keepsLengths {
            var start = 0
            lengths = tokens.map { token in
                let covered = start..<start + words.count(token)
                start = covered.upperBound
                return lengths[covered].reduce(0, +)
            }
        }
        return true
    }

    private mutating func link() {
        let count = symbols.count
        previous = Array(-1..<Int32(truncatingIfNeeded: count - 1))
        next = Array(1...Int32(truncatingIfNeeded: count))
        next[count - 1] = -1
    }

    /// Merges the symbol at `place` with its right neighbour, if that still makes `result`.
    /// - Returns: the places before and after what it made, -1 for none; nil if nothing merged.
    @inline(__always)
    private mutating func mergeAtPlace(_ place: Int, _ table: MergeTable, _ result: Int32) -> (before: Int, after: Int)? {
        let right = Int(next[place])
        guard symbols[place] >= 0, right >= 0 else { return nil }
        let merge = table.find(symbols[place], symbols[right])
        guard merge.exists, merge.result == result else { return nil }
        symbols[place] = merge.result
        symbols[right] = -1
        next[place] = next[right]
        let after = Int(next[place])
        if after >= 0 { previous[after] = Int32(truncatingIfNeeded: place) }
        return (Int(previous[place]), after)
    }

    /// Drops the symbols merged into others, and the memory of a long word.
    private mutating func finish() {
        let count = symbols.count
        if keepsLengths { addLengths() }
        symbols.removeAll { $0 < 0 }
        if count > 1 << 16 { releaseMemory() }
    }

    /// A symbol covers what it covered and what was merged into it, which follows it.
    private mutating func addLengths() {
        var kept: [Int32] = []
        for (symbol, length) in zip(symbols, lengths) {
            if symbol < 0, let last = kept.popLast() { kept.append(last + length) } else { kept.append(length) }
        }
        lengths = kept
    }

    private mutating func releaseMemory() {
        previous = []
        next = []
        heap = []
    }

    @inline(__always)
    private static func entry(_ merge: Merge, _ place: Int) -> UInt64 {
        UInt64(merge.rank) << 32 | UInt64(UInt32(truncatingIfNeeded: place))
    }

    // A binary heap of words, the least on top.

    @inline(__always)
    private mutating func push(_ merge: Merge, _ place: Int) {
        guard merge.exists else { return }
        heap.append(Self.entry(merge, place))
        var index = heap.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            if heap[parent] <= heap[index] { break }
            heap.swapAt(parent, index)
            index = parent
        }
    }

    private mutating func popLeast() -> UInt64? {
        guard let least = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            heap[0] = last
            sink(0)
        }
        return least
    }

    private mutating func heapify() {
        var index = heap.count / 2
        while index > 0 {
            index -= 1
            sink(index)
        }
    }

    private mutating func sink(_ start: Int) {
        heap.withUnsafeMutableBufferPointer { heap in
            let value = heap[start]
            var index = start
            while true {
                var child = 2 * index + 1
                if child >= heap.count { break }
                if child + 1 < heap.count && heap[child + 1] < heap[child] { child += 1 }
                if heap[child] >= value { break }
                heap[index] = heap[child]
                index = child
            }
            heap[index] = value
        }
    }
}
