// Words already tokenized. Text repeats its words, so most of them cost one look-up. A cache belongs to one call at a
// time: an encoding takes one out of the pool and gives it back, and no lock is held in between.
import Synchronization

/// Words and their tokens, bounded: when it is full it starts anew.
struct WordCache {
    private var words = ByteTable(minimumCapacity: 1024)
    private var tokens: [Int32] = []
    /// Where the tokens of word i begin; one more entry than there are words.
    private var starts: [Int] = [0]

    /// Longer words are not kept: they hardly come again.
    static let longestWord = 128
    private static let mostWords = 1 << 16
    private static let mostBytes = 1 << 21

    /// The number of a word; negative if it is not there.
    @inline(__always)
    func find(_ word: Bytes, hash: UInt32) -> Int { words.find(word, hash: hash) }

    /// Appends the tokens of word `number`.
    @inline(__always)
    func append(_ number: Int, to ids: inout [Int]) {
        for index in starts[number]..<starts[number + 1] { ids.append(Int(tokens[index])) }
    }

    /// Keeps the tokens of a word that is not there.
    mutating func insert(_ word: Bytes, hash: UInt32, _ symbols: [Int32]) {
        if words.count >= Self.mostWords || words.keyBytes >= Self.mostBytes {
            words.removeAll()
            tokens.removeAll(keepingCapacity: true)
            starts = [0]
        }
        words.insert(word, hash: hash)
        tokens.append(contentsOf: symbols)
        starts.append(tokens.count)
    }
}

/// What encoding works in.
struct ModelWorkspace {
    var cache = WordCache()
    var merger = BPEMerger()
    var spelling: [UInt8] = []
    var lattice = UnigramLattice()
}

/// Workspaces that no call is using, at most a few.
final class WorkspacePool: Sendable {
    private let idle = Mutex<[ModelWorkspace]>([])
    private static let mostIdle = 8

    /// Runs `body` with a workspace of its own.
    func withWorkspace<R>(_ body: (inout ModelWorkspace) throws -> R) rethrows -> R {
        var workspace = idle.withLock { $0.popLast() } ?? ModelWorkspace()
        defer { idle.withLock { if $0.count < Self.mostIdle { $0.append(workspace) } } }
        return try body(&workspace)
    }

    /// Appends the tokens of every piece: from the cache if the piece was seen, else what `tokenize` leaves as the
    /// merger's symbols.
    func encode(_ text: PieceText, into ids: inout [Int],
                _ tokenize: (_ word: Bytes, _ workspace: inout ModelWorkspace) throws -> Void) throws {
        try withWorkspace { workspace in
            try text.bytes.withUnsafeBufferPointer { bytes in
                for piece in text.pieces {
                    if piece.token >= 0 {
                        ids.append(Int(piece.token))
                        continue
                    }
                    let word = Bytes(rebasing: bytes[piece.start..<piece.end]), isShort = word.count <= WordCache.longestWord
                    let hash = isShort ? ByteTable.hash(word) : 0
                    let known = isShort ? workspace.cache.find(word, hash: hash) : -1
                    if known >= 0 {
                        workspace.cache.append(known, to: &ids)
                        continue
                    }
                    try tokenize(word, &workspace)
                    for symbol in workspace.merger.symbols { ids.append(Int(symbol)) }
                    if isShort { workspace.cache.insert(word, hash: hash, workspace.merger.symbols) }
                    if workspace.merger.symbols.capacity > 1 << 16 { workspace.merger.symbols = [] }
                }
            }
        }
    }
}
