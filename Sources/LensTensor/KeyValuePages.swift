// One layer's keys and values, in pages of 64 positions. A value: copies share pages, and a page is copied only when one
// of its owners writes to it, so forking a long prompt costs nothing. Pages start at each row's first real token, because
// sums over keys are sums of those chunks (law 2 of the design): left padding lies in the slots before.

import CLensKernels
import LensFiles

/// Keys and values of one attention layer: `[batch, keys, kv_head, d_head]` each, paged.
public struct KeyValuePages: Sendable {
    public let kvHeads: Int
    public let dHead: Int
    /// The position of each row's first real token (0 without left padding).
    public let first: [Int]
    /// Key positions held, padding included; the same for every row.
    public private(set) var count = 0
    /// The first position that every row still holds; earlier ones have been let go.
    public private(set) var heldFrom = 0
    /// Row by row; nil: let go.
    private var pages: [[FloatStorage?]]
    /// Keys and values as they were appended, `[batch, count, kv_head, d_head]` each: a few positions that are used once need
    /// no pages.
    private(set) var loose: (keys: Tensor, values: Tensor)?
    /// What came from tracked tensors, of keys and of values.
    private(set) var trackedKeys = TrackedRuns(), trackedValues = TrackedRuns()

    public static let pageLength = Int(LENS_PAGE)

    /// - Parameter begin: positions that came before and are not held.
    public init(kvHeads: Int, dHead: Int, first: [Int], startingAt begin: Int = 0) {
        self.kvHeads = kvHeads
        self.dHead = dHead
        self.first = first
        pages = Array(repeating: [], count: first.count)
        count = begin
        heldFrom = begin
        for row in pages.indices { pages[row] = Array(repeating: nil, count: (begin + shift(row)) / Self.pageLength) }
    }

    public var batch: Int { first.count }

    /// Appends keys (rotated) and values: `[batch, new, kv_head, d_head]` each.
    /// - Parameter isTransient: whether they will hardly outlive one attention: short ones are then not put in pages. That
    ///   changes no bit of anything.
    /// - Throws: `LensError(.shape)`.
    public mutating func append(keys: Tensor, values: Tensor, isTransient: Bool = false) throws {
        guard keys.rank == 4, keys.shape == values.shape, keys.shape[0] == batch, keys.shape[2] == kvHeads,
              keys.shape[3] == dHead else {
            throw LensError(.shape, "keys and values", expected: "[\(batch), new, \(kvHeads), \(dHead)] each",
                            found: "\(keys.shape) and \(values.shape)")
        }
        let position = count
        if isTransient, position == 0, keys.shape[1] <= Self.pageLength, first.allSatisfy({ $0 == 0 }) {
            loose = (try keys.detached().contiguous(), try values.detached().contiguous())
        } else {
            try settle()
            try write(keys: keys, values: values, at: position)
        }
        count += keys.shape[1]
        trackedKeys.append(keys, at: position)
        trackedValues.append(values, at: position)
    }

    /// The keys at `range`: `[batch, range.count, kv_head, d_head]`.
    public func keys(_ range: Range<Int>) throws -> Tensor {
        try read(range, trackedKeys) { tensor in (tensor, nil) }
    }

    /// The values at `range`: `[batch, range.count, kv_head, d_head]`.
    public func values(_ range: Range<Int>) throws -> Tensor {
        try read(range, trackedValues) { tensor in (nil, tensor) }
    }

    /// The same values with all keys replaced: `keys: [batch, count, kv_head, d_head]`.
    public func replacingKeys(_ keys: Tensor) throws -> KeyValuePages {
        guard keys.shape == [batch, count, kvHeads, dHead] else {
            throw LensError(.shape, "keys", expected: "\([batch, count, kvHeads, dHead])", found: "\(keys.shape)")
        }
        guard heldFrom == 0 else {
            throw LensError(.usage, "keys have been let go", expected: "all \(count) positions", found: "\(heldFrom)..<\(count)")
        }
        var copy = self
        if let loose {
            copy.loose = (try keys.detached().contiguous(), loose.values)
        } else {
            try copy.write(keys: keys, values: nil, at: 0)
        }
        copy.trackedKeys = TrackedRuns()
        copy.trackedKeys.append(keys, at: 0)
        return copy
    }

    /// Lets go of pages wholly before `position`; what they held cannot be read again.
    public mutating func drop(before position: Int) {
        var from = 0
        for row in 0..<batch {
            let whole = min(max(0, position) + shift(row), count + shift(row)) / Self.pageLength
            for page in 0..<min(whole, pages[row].count) { pages[row][page] = nil }
            let firstKept = pages[row].firstIndex { $0 != nil } ?? pages[row].count
            from = max(from, firstKept * Self.pageLength - shift(row))
        }
        heldFrom = max(heldFrom, min(from, count))
    }

    /// The given rows, in that order, sharing their pages; a row may come several times.
    /// - Throws: `LensError(.shape)` for a row that is not there.
    public func selecting(rows: [Int]) throws -> KeyValuePages {
        guard rows.allSatisfy(first.indices.contains) else {
            throw LensError(.shape, "no such row of keys and values", expected: "0..<\(batch)", found: "\(rows)")
        }
        var chosen = KeyValuePages(kvHeads: kvHeads, dHead: dHead, first: rows.map { first[$0] })
        chosen.count = count
        chosen.heldFrom = heldFrom
        var settled = self
        try settled.settle()
        chosen.pages = rows.map { settled.pages[$0] }
        chosen.trackedKeys = trackedKeys.selecting(rows: rows)
        chosen.trackedValues = trackedValues.selecting(rows: rows)
        return chosen
    }

    /// Bytes of the pages held; pages shared with other values or between rows are counted each time.
    public var byteCount: Int { pages.joined().reduce(loose.map { 8 * $0.keys.count } ?? 0) { $0 + 4 * ($1?.count ?? 0) } }

    /// Forgets the positions from `length` on.
    /// - Throws: `LensError(.usage)` if fewer are held.
    public mutating func truncate(to length: Int) throws {
        guard (0...count).contains(length) else {
            throw LensError(.usage, "cannot truncate keys and values", expected: "0...\(count) positions", found: "\(length)")
        }
        try settle()
        count = length
        heldFrom = min(heldFrom, length)
        trackedKeys = trackedKeys.truncated(to: length)
        trackedValues = trackedValues.truncated(to: length)
        for row in 0..<batch {
            let kept = length == 0 ? 0 : (length - 1 + shift(row)) / Self.pageLength + 1
            pages[row].removeLast(max(0, pages[row].count - kept))
        }
    }

    /// The same keys and values as constants.
    func detached() -> KeyValuePages {
        var copy = self
        copy.trackedKeys = TrackedRuns()
        copy.trackedValues = TrackedRuns()
        return copy
    }

    // MARK: Pages

    private func shift(_ row: Int) -> Int { (Self.pageLength - first[row] % Self.pageLength) % Self.pageLength }

    /// Puts what is loose in pages.
    private mutating func settle() throws {
        guard let (keys, values) = loose else { return }
        loose = nil
        try write(keys: keys, values: values, at: 0)
    }

    private mutating func write(keys: Tensor, values: Tensor?, at position: Int) throws {
        let new = keys.shape[1]
        guard new > 0, batch > 0 else { return }
        try makeWritable(position..<position + new)
        let keys = try keys.contiguous(), values = try values?.contiguous()
        withExtendedLifetime((keys, values)) {
            withPagePointers { pointers, width in
                lens_pages_write(Int64(batch), Int64(new), Int64(kvHeads), Int64(dHead), Int64(position),
                                 first.map(Int64.init), pointers, Int64(width), keys.elements, values?.elements)
            }
        }
    }

    private func read(_ range: Range<Int>, _ tracked: TrackedRuns, into choose: (Tensor) -> (Tensor?, Tensor?)) throws -> Tensor {
        guard range.lowerBound >= heldFrom, range.upperBound <= count else {
            throw LensError(.shape, "positions of keys and values", expected: "within \(heldFrom)..<\(count)", found: "\(range)")
        }
        let inside = tracked.within(range), parts = inside.parts
        func recorded(_ tensor: Tensor) -> Tensor { tensor.recorded("keys or values", from: inside.values) { try parts.of($0.first()) } }
        let out = try Tensor(uninitialized: [batch, range.count, kvHeads, dHead])
        let (keys, values) = choose(out)
        if let loose { return recorded(try (keys == nil ? loose.values : loose.keys).at(.all, .range(range)).copied()) }
        withPagePointers { pointers, width in
            pointers.withMemoryRebound(to: UnsafePointer<Float>?.self, capacity: batch * width) { readable in
                lens_pages_read(Int64(batch), Int64(range.count), Int64(kvHeads), Int64(dHead), Int64(range.lowerBound),
                                first.map(Int64.init), readable, Int64(width), keys?.storage.pointer, values?.storage.pointer)
            }
        }
        return recorded(out)
    }

    /// Makes the pages that hold `positions` exist and be ours alone.
    private mutating func makeWritable(_ positions: Range<Int>) throws {
        let floats = Int(lens_page_count(Int64(kvHeads), Int64(dHead)))
        for row in 0..<batch {
            let begin = (positions.lowerBound + shift(row)) / Self.pageLength
            let end = (positions.upperBound - 1 + shift(row)) / Self.pageLength + 1
            while pages[row].count < end { pages[row].append(try FloatStorage(repeating: 0, count: floats)) }
            for page in begin..<end where !isKnownUniquelyReferenced(&pages[row][page]) {
                guard let old = pages[row][page] else {
                    pages[row][page] = try FloatStorage(repeating: 0, count: floats)
                    continue
                }
                let copy = try FloatStorage(uninitialized: floats)
                copy.pointer.update(from: old.pointer, count: floats)
                pages[row][page] = copy
            }
        }
    }

    /// Calls `body` with the page pointers, `[batch][width]`, missing ones nil.
    func withPagePointers<R>(_ body: (UnsafeMutablePointer<UnsafeMutablePointer<Float>?>, Int) throws -> R) rethrows -> R {
        let width = max(1, pages.map(\.count).max() ?? 0)
        var pointers = [UnsafeMutablePointer<Float>?](repeating: nil, count: max(1, batch * width))
        for (row, list) in pages.enumerated() {
            for (index, page) in list.enumerated() { pointers[row * width + index] = page?.pointer }
        }
        return try withExtendedLifetime(pages) {
            try pointers.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { preconditionFailure("empty page table") }  // unreachable: count ≥ 1
                return try body(base, width)
            }
        }
    }
}
