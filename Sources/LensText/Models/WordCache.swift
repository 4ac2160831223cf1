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

/// What encoding with a BPE model works in.
struct BPEWorkspace {
    var cache = WordCache()
    var merger = BPEMerger()
    var spelling: [UInt8] = []
}

/// Workspaces that no call is using, at most a few.
final class WorkspacePool: Sendable {
    private let idle = Mutex<[BPEWorkspace]>([])
    private static let mostIdle = 8

    /// Runs `body` with a workspace of its own.
    func withWorkspace<R>(_ body: (inout BPEWorkspace) throws -> R) rethrows -> R {
        var workspace = idle.withLock { $0.popLast() } ?? BPEWorkspace()
        defer { idle.withLock { if $0.count < Self.mostIdle { $0.append(workspace) } } }
        return try body(&workspace)
    }
}
