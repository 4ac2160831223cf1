// The keys and values of a sequence so far, layer by layer, as a value: a copy shares its pages until one side writes, so
// one prompt can be continued in many ways (a fork is `let fork = cache`). It remembers its tokens, and which positions are
// padding. A layer with a sliding window keeps the pages its window reaches; what lies behind it is recomputed from the
// tokens when a truncation or a hook wants it, and refused where edits made it what it was.

import LensFiles
import LensTensor

/// A key-value cache. Keys are kept rotated; `hook_rot_k` reads them all back.
public struct KeyValueCache: Sendable {
    package internal(set) var layers: [KeyValuePages]
    /// How far back each layer looks; nil: all the way.
    private(set) var windows: [Int?]
    /// For each row, whether each position is a real token.
    public internal(set) var isReal: [[Bool]]
    /// The tokens of each row, padding included, as far as positions were tokens: after input that is none (embeddings, a
    /// residual stream) nothing more is remembered.
    public internal(set) var tokens: [[Int]]
    /// Forward passes that have added to it: the step hooks are told.
    public internal(set) var passes = 0
    /// Leading positions whose keys and values are what a run over `tokens` gives. Edits, and input that is no tokens, end
    /// them: later keys and values come of what was put in.
    public internal(set) var recomputableCount = 0
    /// Whether runs read it and add nothing (TransformerLens' `freeze`).
    public private(set) var isFrozen = false
    /// The model it belongs to; nil: not used yet.
    var identity: ModelIdentity?
    /// What the decoder of an encoder-decoder reads, with the keys and values its layers made of it.
    var encoded: EncodedInput?

    /// An empty cache for `batch` rows.
    public init(for config: ModelConfig, batch: Int) {
        layers = Array(repeating: KeyValuePages(kvHeads: config.kvHeads, dHead: config.dHead, first: Array(repeating: 0, count: batch)),
                       count: config.nLayers)
        windows = (0..<config.nLayers).map { config.attention.window?.size(in: $0) }
        isReal = Array(repeating: [], count: batch)
        tokens = Array(repeating: [], count: batch)
    }

    public var batch: Int { isReal.count }
    /// Positions held, padding included.
    public var count: Int { isReal.first?.count ?? 0 }
    /// Real tokens of each row.
    public var realCounts: [Int] { isReal.map { $0.count(where: \.self) } }
    /// Bytes of keys and values, pages shared with other caches counted too.
    public var byteCount: Int { layers.reduce(0) { $0 + $1.byteCount } }

    /// Left padding of each row.
    var padding: [Int] { isReal.map { row in row.firstIndex(of: true) ?? row.count } }

    // MARK: As a value

    /// From now on runs read it and add nothing: each continues from here.
    public mutating func freeze() { isFrozen = true }

    /// Runs add to it again.
    public mutating func unfreeze() { isFrozen = false }

    /// The given rows in that order, sharing their pages; a row may come several times: one prompt, many continuations in
    /// one batch.
    /// - Throws: `LensError(.shape)` for a row that is not there.
    public func selecting(rows: [Int]) throws -> KeyValueCache {
        guard rows.allSatisfy(isReal.indices.contains) else {
            throw LensError(.shape, "no such row of the key-value cache", expected: "0..<\(batch)", found: "\(rows)")
        }
        var chosen = self
        for layer in layers.indices { chosen.layers[layer] = try layers[layer].selecting(rows: rows) }
        chosen.isReal = rows.map { isReal[$0] }
        chosen.tokens = rows.map { tokens[$0] }
        return chosen
    }

    /// Forgets the positions from `length` on. Where a window's keys have been let go, the next run recomputes them from the
    /// tokens.
    /// - Throws: `LensError(.usage)` if fewer are held, or if what a window needs is gone and edits made it what it was;
    ///   the cache is then as it was.
    public mutating func truncate(to length: Int) throws {
        guard (0...count).contains(length) else {
            throw LensError(.usage, "cannot truncate the key-value cache", expected: "0...\(count) positions", found: "\(length)")
        }
        var cut = self
        // A pass that failed half-way has reached only the first layers.
        for layer in layers.indices { try cut.layers[layer].truncate(to: min(length, layers[layer].count)) }
        for row in isReal.indices {
            cut.isReal[row].removeLast(isReal[row].count - length)
            cut.tokens[row].removeLast(max(0, tokens[row].count - length))
        }
        cut.recomputableCount = min(recomputableCount, length)
        if !cut.missingLayers(wantingAll: { _ in false }).isEmpty { try cut.requireRecomputable() }
        try cut.alignPages()
        self = cut
    }

    // MARK: Windows

    /// Layers that lack keys which the next position will see, or all keys where `wantingAll` says so.
    func missingLayers(wantingAll: (Int) -> Bool) -> [Int] {
        layers.indices.filter { layer in
            guard layers[layer].heldFrom > 0 else { return false }
            let wanted = wantingAll(layer) ? 0 : windows[layer].map { max(0, count - $0 + 1) } ?? 0
            return layers[layer].heldFrom > wanted
        }
    }

    /// - Throws: `LensError(.usage)` if its tokens do not tell all its keys and values.
    func requireRecomputable() throws {
        guard recomputableCount >= count else {
            throw LensError(.usage, "keys behind a window have been let go, and cannot be recomputed: they were made under edits or from embeddings",
                            at: "key-value cache", expected: "\(count) positions that are their tokens' own", found: "\(recomputableCount)",
                            advice: "keep a copy of the cache from before (a copy shares its pages)")
        }
    }

    /// Lets go of what no window reaches any more, except in layers `keepingAll` names.
    mutating func dropBehindWindows(keepingAll: (Int) -> Bool) {
        for (layer, window) in windows.enumerated() where !keepingAll(layer) {
            if let window { layers[layer].drop(before: count - window + 1) }
        }
    }

    // MARK: Passes

    /// Forgets a pass that failed: as if it had not begun.
    mutating func undoPass(to before: (count: Int, recomputable: Int)) {
        passes -= 1
        // What is truncated was held a moment ago, so this cannot fail; if it did, an empty cache is safe.
        do { try truncate(to: before.count) } catch { self = selectingNothing }
        recomputableCount = min(before.recomputable, count)
    }

    private var selectingNothing: KeyValueCache {
        var empty = self
        empty.layers = []
        empty.isReal = []
        empty.tokens = []
        return empty
    }

    /// Takes note of new positions, before their keys and values arrive.
    mutating func extend(by mask: [[Bool]], tokens new: IntTensor?, areTokensOwn: Bool) throws {
        passes += 1
        if areTokensOwn, recomputableCount == count { recomputableCount += mask.first?.count ?? 0 }
        if let new, tokens.allSatisfy({ $0.count == count }) {
            for (row, added) in new.rows.enumerated() where row < tokens.count { tokens[row] += added }
        }
        for row in isReal.indices { isReal[row] += mask[row] }
        try alignPages()
    }

    /// Makes pages start at each row's first real token. That place is settled by the row's first real token; until one has
    /// come, what is held is padding, and moves.
    private mutating func alignPages() throws {
        let first = padding
        for index in layers.indices where layers[index].first != first {
            let old = layers[index]
            var moved = KeyValuePages(kvHeads: old.kvHeads, dHead: old.dHead, first: first, startingAt: old.heldFrom)
            let held = old.heldFrom..<old.count
            if !held.isEmpty { try moved.append(keys: old.keys(held), values: old.values(held)) }
            layers[index] = moved
        }
    }
}

