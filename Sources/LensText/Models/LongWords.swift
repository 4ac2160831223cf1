// Very long words (a text without spaces may be one word of a megabyte), merged from left to right: a token at a time, the
// longest that may stand after the one before, going back where none may. What BPE makes of a beginning of the word is one
// list of tokens, so a place that was gone back from is never a boundary, and no place is visited twice: time is linear in
// the word, and, other than with merging by rank, memory is read in its order, so that a byte of a long word costs what a
// byte of a short one does. The pairs of tokens that may stand side by side are in TokenPairs.swift.
import Synchronization

/// The tokens of a vocabulary, for merging words from left to right.
struct LongWords: Sendable {
    private let pairs: TokenPairs
    private var trie: Trie<Int32>
    /// For each token the longest other one that it begins with; -1 for none.
    private var shorter: [Int32]

    /// Nil if the merges do not allow it (see `TokenPairs`).
    init?(merges: MergeTable, ranks: Int, tokens: Int) {
        guard let pairs = TokenPairs(merges: merges, ranks: ranks, tokens: tokens) else { return nil }
        self.pairs = pairs
        trie = Trie(minimumCapacity: 2 * tokens)
        shorter = Array(repeating: -1, count: tokens)
        let ids = 0..<Int32(truncatingIfNeeded: tokens)
        for id in ids where pairs.has(id) { trie.insert(pairs.spelling(id), value: id) }
        for id in ids where pairs.has(id) && pairs.count(id) > 1 {
            shorter[Int(id)] = longest(pairs.spelling(id).dropLast())
        }
    }

    /// The longest token that a text of first symbols begins with; -1 if it does not begin with a first symbol.
    @inline(__always)
    private func longest(_ text: some Collection<Int32>) -> Int32 {
        var node = Trie<Int32>.root, best: Int32 = -1
        for symbol in text {
            node = trie.child(node, symbol)
            if node < 0 { break }
            let token = trie.values[Int(node)]
            if token >= 0 { best = token }
        }
        return best
    }

    /// Whether a word may have a token: whether merging its first symbols gives it.
    func has(_ token: Int32) -> Bool { pairs.has(token) }

    /// How many of a word's first symbols a token covers.
    func count(_ token: Int32) -> Int { pairs.count(token) }

    /// What merging makes of a word; nil if the word has a symbol that other words have as a merge's result.
    func tokens(of word: [Int32]) -> [Int32]? {
        word.withUnsafeBufferPointer { word in
            var tokens: [Int32] = []
            var isNoBoundary = [UInt64](repeating: 0, count: word.count >> 6 + 1)
            var place = 0, last: Int32 = -1
            var token = longest(word)
            while true {
                while token >= 0 {
                    let end = place + pairs.count(token)
                    if isNoBoundary[end >> 6] >> UInt64(end & 63) & 1 == 0, last < 0 || pairs.areStable(last, token) { break }
                    token = shorter[Int(token)]
                }
                if token >= 0 {
                    tokens.append(token)
                    place += pairs.count(token)
                    if place == word.count { return tokens }
                    last = token
                    token = longest(word[place...])
                    if token < 0 { return nil }
                } else {
                    guard let removed = tokens.popLast() else { return nil }
                    isNoBoundary[place >> 6] |= 1 << UInt64(place & 63)
                    place -= pairs.count(removed)
                    last = tokens.last ?? -1
                    token = shorter[Int(removed)]
                }
            }
        }
    }
}

/// A vocabulary's `LongWords`, made when the first very long word comes.
final class LongWordsWhenNeeded: Sendable {
    private let known = Mutex<LongWords??>(nil)

    func get(_ make: () -> LongWords?) -> LongWords? {
        known.withLock { known in
            if let known { return known }
            let made = make()
            known = .some(made)
            return made
        }
    }
}
