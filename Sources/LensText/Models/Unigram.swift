// Unigram (Kudo 2018): the segmentation of a word with the greatest sum of scores, by Viterbi's algorithm from left to
// right. Of equally good ones the first found stays, sums are taken in that order, and a character the vocabulary lacks
// costs ten more than its worst token, all as in the reference. Runs of unknown tokens are one.
// It refuses an unk_id that no token has.
import LensFiles

struct Unigram: Sendable {
    let vocabulary: Vocabulary
    private let scores: [Double]
    private let trie: ByteTrie
    private let unknownID: Int32
    private let unknownScore: Double
    private let byteFallback: Bool
    private let fallbackTokens: [Int32]
    private let pool = WorkspacePool()

    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        let list = try fields.required("vocab").asArray(at: fields.place("vocab"))
        var tokens: [[UInt8]] = [], scores: [Double] = []
        tokens.reserveCapacity(list.count)
        scores.reserveCapacity(list.count)
        for (index, item) in list.enumerated() {
            guard case .array(let pair) = item, pair.count == 2, let token = pair[0].stringValue, let score = pair[1].doubleValue else {
                throw LensError(.format, "bad token", at: "\(fields.place("vocab"))[\(index)]", expected: "[token, score]",
                                found: item.summary)
            }
            tokens.append(Array(token.utf8))
            scores.append(score)
        }
        let unknown = try fields.int("unk_id")
        guard unknown.map({ tokens.indices.contains($0) }) ?? true else {
            throw LensError(.format, "unk_id that no token has", at: fields.place("unk_id"), found: "\(unknown ?? -1)")
        }
        byteFallback = try fields.bool("byte_fallback") ?? false
        vocabulary = Vocabulary(list: tokens)
        var trie = ByteTrie(minimumCapacity: tokens.reduce(0) { $0 + $1.count })
        for (id, token) in tokens.enumerated() where !token.isEmpty { trie.insert(token, value: Int32(truncatingIfNeeded: id)) }
        self.trie = trie
        self.scores = scores
        unknownID = Int32(truncatingIfNeeded: unknown ?? -1)
        unknownScore = (scores.min() ?? .infinity) - 10
        fallbackTokens = vocabulary.fallbackTokens
    }

    /// Appends the tokens of every piece.
    func encode(_ text: PieceText, into ids: inout [Int]) throws {
        try pool.encode(text, into: &ids) { word, workspace in
            var symbols: [Int32] = [], lattice = UnigramLattice()
            swap(&symbols, &workspace.merger.symbols)
            swap(&lattice, &workspace.lattice)
            symbols.removeAll(keepingCapacity: true)
            try segment(word, &lattice) { id, _, _, _ in symbols.append(id) }
            swap(&symbols, &workspace.merger.symbols)
            swap(&lattice, &workspace.lattice)
        }
    }

    /// The tokens of one piece, with the bytes they cover.
    func encode(piece: Bytes, into tokens: inout ModelTokens) throws {
        var lattice = UnigramLattice()
        try segment(piece, &lattice) { tokens.append($0, $1, $2, isText: $3) }
    }

    private func segment(_ word: Bytes, _ lattice: inout UnigramLattice,
                         _ emit: (_ id: Int32, _ start: Int, _ end: Int, _ isText: Bool) -> Void) throws {
        guard word.count > 0 else { return }
        try fill(&lattice, word)
        lattice.trace(word.count)
        var index = lattice.path.count
        while index > 0 {
            index -= 1
            let start = Int(lattice.starts[lattice.path[index]]), isUnknown = lattice.ids[lattice.path[index]] == unknownID
            // A run of unknown tokens is one.
            while isUnknown, index > 0, lattice.ids[lattice.path[index - 1]] == unknownID { index -= 1 }
            let end = lattice.path[index]
            guard isUnknown else {
                emit(lattice.ids[end], start, end, true)
                continue
            }
            let found = vocabulary.id(of: Bytes(rebasing: word[start..<end]))
            if found < 0, byteFallback, word[start..<end].allSatisfy({ fallbackTokens[Int($0)] >= 0 }) {
                for byte in word[start..<end] { emit(fallbackTokens[Int(byte)], start, end, false) }
            } else {
                emit(found < 0 ? unknownID : found, start, end, true)
            }
        }
        lattice.shrink()
    }

    /// Finds, for every place, the best token that ends there.
    private func fill(_ lattice: inout UnigramLattice, _ word: Bytes) throws {
        lattice.reset(word.count)
        var start = 0
        while start < word.count {
            let score = lattice.scores[start], length = scalarLength(word[start])
            var isKnown = false
            var node = ByteTrie.root, index = start
            while index < word.count {
                node = trie.child(node, word[index])
                if node < 0 { break }
                index += 1
                let id = trie.values[Int(node)]
                if id < 0 { continue }
                lattice.offer(id, from: start, to: index, score: scores[Int(id)] + score)
                if index - start == length { isKnown = true }
            }
            if !isKnown {
                guard unknownID >= 0 else {
                    throw LensError(.text, "a character is not in the vocabulary and there is no unknown token", at: "model.unk_id")
                }
                lattice.offer(unknownID, from: start, to: min(start + length, word.count), score: unknownScore + score)
            }
            start += length
        }
    }
}

/// For every place of a word, the best token that ends there.
struct UnigramLattice {
    private(set) var scores: [Double] = []
    private(set) var starts: [Int32] = []
    private(set) var ids: [Int32] = []
    /// The ends of the tokens of the best path, the last first.
    private(set) var path: [Int] = []

    mutating func reset(_ length: Int) {
        scores.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
        ids.removeAll(keepingCapacity: true)
        scores.append(contentsOf: repeatElement(0, count: length + 1))
        starts.append(contentsOf: repeatElement(-1, count: length + 1))
        ids.append(contentsOf: repeatElement(0, count: length + 1))
    }

    @inline(__always)
    mutating func offer(_ id: Int32, from start: Int, to end: Int, score: Double) {
        guard starts[end] < 0 || score > scores[end] else { return }
        scores[end] = score
        starts[end] = Int32(truncatingIfNeeded: start)
        ids[end] = id
    }

    mutating func trace(_ length: Int) {
        path.removeAll(keepingCapacity: true)
        var end = length
        while end > 0 {
            path.append(end)
            end = Int(starts[end])
        }
    }

    /// Gives back the memory of a very long word.
    mutating func shrink() { if scores.count > 1 << 16 { self = UnigramLattice() } }
}
