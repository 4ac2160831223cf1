// The keys and values of a sequence so far, layer by layer, as a value: a copy shares its pages until one side writes, so
// one prompt can be continued in many ways. It remembers which positions are padding.

import LensFiles
import LensTensor

/// A key-value cache. Keys are kept rotated; `hook_rot_k` reads them all back.
public struct KeyValueCache: Sendable {
    var layers: [KeyValuePages]
    /// For each row, whether each position is a real token.
    private(set) var isReal: [[Bool]]
    /// Forward passes that have added to it: the step hooks are told.
    private(set) var passes = 0
    /// What the decoder of an encoder-decoder reads, with the keys and values its layers made of it.
    var encoded: EncodedInput?

    /// An empty cache for `batch` rows.
    public init(for config: ModelConfig, batch: Int) {
        layers = Array(repeating: KeyValuePages(kvHeads: config.kvHeads, dHead: config.dHead, first: Array(repeating: 0, count: batch)),
                       count: config.nLayers)
        isReal = Array(repeating: [], count: batch)
    }

    public var batch: Int { isReal.count }
    /// Positions held, padding included.
    public var count: Int { isReal.first?.count ?? 0 }

    /// Left padding of each row.
    var padding: [Int] { isReal.map { row in row.firstIndex(of: true) ?? row.count } }

    /// Forgets the positions from `length` on.
    /// - Throws: `LensError(.usage)` if fewer are held.
    public mutating func truncate(to length: Int) throws {
        guard (0...count).contains(length) else {
            throw LensError(.usage, "cannot truncate the key-value cache", expected: "0...\(count) positions", found: "\(length)")
        }
        // A pass that failed half-way has reached only the first layers.
        for layer in layers.indices { try layers[layer].truncate(to: min(length, layers[layer].count)) }
        for row in isReal.indices { isReal[row].removeLast(isReal[row].count - length) }
        try alignPages()
    }

    /// Forgets a pass that failed: as if it had not begun.
    mutating func undoPass(to length: Int) {
        passes -= 1
        // What is truncated was held a moment ago, so this cannot fail; if it did, an empty cache is safe.
        do { try truncate(to: length) } catch { self = KeyValueCache(layers: [], isReal: []) }
    }

    private init(layers: [KeyValuePages], isReal: [[Bool]]) {
        self.layers = layers
        self.isReal = isReal
    }

    /// Takes note of new positions, before their keys and values arrive.
    mutating func extend(by mask: [[Bool]]) throws {
        passes += 1
        for row in isReal.indices { isReal[row] += mask[row] }
        try alignPages()
    }

    /// Makes pages start at each row's first real token. That place is settled by the row's first real token; until one has
    /// come, what is held is padding, and moves.
    private mutating func alignPages() throws {
        let first = padding
        for index in layers.indices where layers[index].first != first {
            var moved = KeyValuePages(kvHeads: layers[index].kvHeads, dHead: layers[index].dHead, first: first)
            let held = 0..<layers[index].count
            if !held.isEmpty { try moved.append(keys: layers[index].keys(held), values: layers[index].values(held)) }
            layers[index] = moved
        }
    }
}
