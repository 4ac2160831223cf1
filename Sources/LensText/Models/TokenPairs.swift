// Which tokens may stand side by side in what BPE makes of a word. It makes T of a text exactly if it makes t of the text
// of each token t in T, and t u of the text of any two neighbours t and u: no merge across a boundary takes place unless
// one takes place with the two tokens alone. (The first merge across any boundary of T has before it what it would have
// with these two tokens; a run of one symbol, merged from its left, is no exception.) So a word can be merged from left to
// right, looking at two tokens at a time. It takes merges whose ranks come up in rising order (`MergeOrder.rising`).
// The idea is that of GitHub's `bpe` (A. van Antwerpen and A. Neubeck, "So many tokens, so little time", 2024).

/// The tokens that words have, with their last merge, by which a pair of them can be undone step by step.
struct TokenPairs: Sendable {
    /// What a token was last merged from, and the rank of that merge.
    private struct Split {
        var left: Int32 = -1
        var right: Int32 = -1
        /// `first`: a first symbol, made by no merge. `never`: no word has this token.
        var rank: Int32 = never

        static let first: Int32 = -1
        static let never: Int32 = .max
    }

    private let merges: MergeTable
    private var splits: [Split]
    /// The first symbols of every token, one token after the other, and where those of each id begin.
    private var spellings: [Int32] = []
    private var starts: [Int32]
    private var counts: [Int32]

    /// Longer tokens are not worth looking for at every place of a word.
    private static let longest = 1024

    /// - Parameter tokens: one more than the greatest id.
    /// - Returns: nil if two merges make one token of different first symbols, or a token is very long; then the order of
    ///   two tokens' merges is not the token's own.
    init?(merges: MergeTable, ranks: Int, tokens: Int) {
        self.merges = merges
        splits = Array(repeating: Split(), count: tokens)
        starts = Array(repeating: 0, count: tokens)
        counts = Array(repeating: 0, count: tokens)
        let byRank = merges.byRank(ranks)
        var isMade = Array(repeating: false, count: tokens)
        for merge in byRank where merge.left >= 0 { isMade[Int(merge.result)] = true }
        for id in 0..<tokens where !isMade[id] {
            splits[id].rank = Split.first
            starts[id] = Int32(truncatingIfNeeded: spellings.count)
            counts[id] = 1
            spellings.append(Int32(truncatingIfNeeded: id))
        }
        // A token's parts are made before it, so this order finds them done.
        for (rank, merge) in byRank.enumerated() where merge.left >= 0 {
            guard spell(merge.result, merge.left, merge.right) else { return nil }
            let result = Int(merge.result), rank = Int32(truncatingIfNeeded: rank)
            guard splits[result].rank == Split.never, has(merge.left), has(merge.right),
                  areApart(merge.left, merge.right, before: rank) else { continue }
            splits[result] = Split(left: merge.left, right: merge.right, rank: rank)
        }
    }

    /// Notes the first symbols of a merge's result; false if they were other ones before.
    private mutating func spell(_ result: Int32, _ left: Int32, _ right: Int32) -> Bool {
        let count = counts[Int(left)] + counts[Int(right)]
        guard count <= Self.longest, spellings.count < Int(Int32.max) - Self.longest else { return false }
        let start = spellings.count
        for part in [left, right] {
            let first = Int(starts[Int(part)])
            for index in first..<first + self.count(part) { spellings.append(spellings[index]) }
        }
        if counts[Int(result)] > 0 {
            defer { spellings.removeLast(Int(count)) }
            return spellings[start...].elementsEqual(spelling(result))
        }
        starts[Int(result)] = Int32(truncatingIfNeeded: start)
        counts[Int(result)] = count
        return true
    }

    /// Whether a word may have the token: whether merging its first symbols gives it.
    func has(_ token: Int32) -> Bool { splits[Int(token)].rank != Split.never }

    /// How many first symbols a token covers.
    @inline(__always)
    func count(_ token: Int32) -> Int { Int(counts[Int(token)]) }

    /// The first symbols of a token.
    func spelling(_ token: Int32) -> ArraySlice<Int32> {
        let start = Int(starts[Int(token)])
        return spellings[start..<start + count(token)]
    }

    /// Whether merging the first symbols of two tokens gives these tokens: nothing merges across their boundary.
    @inline(__always)
    func areStable(_ left: Int32, _ right: Int32) -> Bool { areApart(left, right, before: .max) }

    /// Whether nothing merges across the boundary of two tokens before rank `end`.
    ///
    /// Undoes the tokens' merges, the last first: that shows which symbols met at the boundary, and until which rank.
    /// A symbol merged with its left neighbour at the rank at which it would merge to the right was merged before.
    @inline(__always)
    private func areApart(_ left: Int32, _ right: Int32, before end: Int32) -> Bool {
        splits.withUnsafeBufferPointer { splits in
            var left = left, right = right, end = end
            while true {
                let merge = merges.find(left, right)
                if merge.exists && Int32(truncatingIfNeeded: merge.rank) < end { return false }
                let ofLeft = splits[Int(left)], ofRight = splits[Int(right)]
                if ofLeft.rank < ofRight.rank {
                    end = min(end, ofRight.rank + 1)
                    right = ofRight.left
                } else if ofLeft.rank != Split.first {
                    end = min(end, ofLeft.rank)
                    left = ofLeft.right
                } else {
                    return true
                }
            }
        }
    }
}
