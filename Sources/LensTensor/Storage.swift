// Float storage and the pool that recycles it. A fresh page from the system costs about 0.6 ms per megabyte, and aligned memory from
// the C allocator a good part of what a decoding step does between kernels, so all but the smallest buffers go back to a
// process-wide pool when their last owner lets go, and a forward pass after the first allocates nothing. Because a buffer returns only when nobody holds it, a tensor that a hook kept is never overwritten.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif
import LensFiles

/// A fixed-size block of floats, cache-line aligned, freed (or recycled) with its last reference.
///
/// `@unchecked Sendable`: written only while uniquely referenced (`Tensor` and `PackedMatrix` see to it).
package final class FloatStorage: @unchecked Sendable {
    package let count: Int
    package let pointer: UnsafeMutablePointer<Float>
    private let block: BufferPool.Block
    private let meter: StorageMeter?

    /// Uninitialised storage: the caller writes every element before reading any.
    /// - Parameter recycled: false for what lives long (weights): it is not taken from the pool, nor given to it, where it
    ///   would crowd out the buffers of passes.
    /// - Throws: `LensError(.machine)` if the memory cannot be had.
    package init(uninitialized count: Int, recycled: Bool = true) throws {
        self.count = count
        meter = StorageMeter.current
        block = try BufferPool.shared.take(byteCount: max(count, 1) * MemoryLayout<Float>.stride, recycled: recycled)
        pointer = block.address.bindMemory(to: Float.self, capacity: max(count, 1))
        meter?.add(4 * count)
    }

    /// Zeros, which memory fresh from the system is already.
    package init(zeros count: Int, recycled: Bool = true) throws {
        self.count = count
        meter = StorageMeter.current
        block = try BufferPool.shared.take(byteCount: max(count, 1) * MemoryLayout<Float>.stride, recycled: recycled)
        pointer = block.address.bindMemory(to: Float.self, capacity: max(count, 1))
        meter?.add(4 * count)
        if !block.isZeroed { pointer.update(repeating: 0, count: count) }
    }

    package convenience init(repeating value: Float, count: Int) throws {
        try self.init(uninitialized: count)
        pointer.update(repeating: value, count: count)
    }

    deinit {
        meter?.add(-4 * count)
        BufferPool.shared.give(block)
    }
}

/// Counts the bytes that tensors made in a task hold: `StorageMeter.$current.withValue(meter) { … }`.
package final class StorageMeter: Sendable {
    @TaskLocal package static var current: StorageMeter?

    private let bytes = Locked(0)

    package init() {}

    /// Bytes held now.
    package var heldBytes: Int { bytes.withLock { $0 } }

    fileprivate func add(_ count: Int) { bytes.withLock { $0 += count } }
}

/// Free lists ("shelves") of blocks by size class. The smallest blocks go straight to the C allocator. When the shelves are
/// full, the blocks longest on them make room for what comes back now, so sizes no longer asked for do not stay.
package final class BufferPool: Sendable {
    package struct Block: @unchecked Sendable {
        package let address: UnsafeMutableRawPointer
        package let capacity: Int
        fileprivate let recycled: Bool
        /// What it was cut from, if it was.
        fileprivate var slab: Slab?
        /// Whether nobody has written to it yet, and it is zero.
        fileprivate var isZeroed = false

        fileprivate func release() {
            if let slab { return slab.release(address, capacity) }
            if capacity >= SystemMemory.mappedFrom { SystemMemory.unmap(address, capacity) } else { free(address) }
        }
    }

    package static let shared = BufferPool(keeping: 768 << 20)
    /// Blocks below this are left to the C allocator.
    private static let pooledFrom = 256
    /// Of blocks below this few are kept in a size class: the C allocator takes them back without a word to the system.
    private static let largeFrom = 64 << 10
    private static let smallKept = 64

    private struct Shelves {
        /// Of each size class, in the order they came, with the time they did.
        var free = [[(block: Block, time: Int)]](repeating: [], count: BufferPool.classes)
        var bytes = 0
        var time = 0

        mutating func removeOldest() -> Block? {
            let oldest = free.indices.min { (free[$0].first?.time ?? .max) < (free[$1].first?.time ?? .max) }
            guard let oldest, !free[oldest].isEmpty else { return nil }
            let block = free[oldest].removeFirst().block
            bytes -= block.capacity
            return block
        }
    }
    private let shelves = Locked(Shelves())
    /// Most bytes kept for reuse; beyond it blocks are returned to the system.
    private let keptBytes: Int

    package init(keeping bytes: Int) { keptBytes = bytes }

    deinit { empty() }

    /// Bytes on the shelves.
    package var shelvedBytes: Int { shelves.withLock { $0.bytes } }

    package func take(byteCount: Int, recycled: Bool = true) throws -> Block {
        let (capacity, index) = recycled ? Self.sizeClass(byteCount) : (byteCount, 0)
        if recycled, capacity >= Self.pooledFrom {
            let shelved = shelves.withLock { shelves -> Block? in
                guard let block = shelves.free[index].popLast()?.block else { return nil }
                shelves.bytes -= capacity
                return block
            }
            if let shelved { return shelved }
            if Slab.sizes.contains(capacity), let first = cut(capacity) { return first }
        }
        let isMapped = capacity >= SystemMemory.mappedFrom
        var address: UnsafeMutableRawPointer?
        if isMapped { address = SystemMemory.map(capacity) } else if posix_memalign(&address, 64, capacity) != 0 { address = nil }
        guard let address else {
            throw LensError(.machine, "out of memory", found: "a request for \(byteCount) bytes",
                            advice: "use a shorter input, a smaller batch or a narrower cache filter")
        }
        return Block(address: address, capacity: capacity, recycled: recycled, isZeroed: isMapped)
    }

    /// A block of a new slab, whose others go on the shelves; nil where they would push others from there.
    private func cut(_ capacity: Int) -> Block? {
        guard shelvedBytes + Slab.most <= keptBytes, let (slab, addresses) = Slab.cut(capacity) else { return nil }
        let blocks = addresses.map { Block(address: $0, capacity: capacity, recycled: true, slab: slab, isZeroed: true) }
        for block in blocks.dropFirst() { shelve(block) }
        return blocks.first
    }

    package func give(_ block: Block) {
        guard block.recycled, block.capacity >= Self.pooledFrom, block.capacity <= keptBytes else { return block.release() }
        var returned = block
        returned.isZeroed = false
        shelve(returned)
    }

    private func shelve(_ block: Block) {
        let index = Self.sizeClass(block.capacity).index
        let evicted = shelves.withLock { shelves -> [Block] in
            if block.capacity < Self.largeFrom, shelves.free[index].count >= Self.smallKept { return [block] }
            var evicted: [Block] = []
            while shelves.bytes + block.capacity > keptBytes, let oldest = shelves.removeOldest() { evicted.append(oldest) }
            shelves.time += 1
            shelves.free[index].append((block, shelves.time))
            shelves.bytes += block.capacity
            return evicted
        }
        for block in evicted { block.release() }
    }

    /// Returns everything on the shelves to the system.
    package func empty() {
        let all = shelves.withLock { shelves -> [Block] in
            let all = shelves.free.flatMap { $0.map(\.block) }
            shelves = Shelves()
            return all
        }
        for block in all { block.release() }
    }

    /// Size classes: 64 up to 4096 bytes, eight for each power of two above.
    private static let classes = 64 + 8 * (Int.bitWidth - 12) + 1

    /// Rounds up to 64 bytes, above 4096 to eighths of a power of two, so that nearby sizes share blocks and at most 1/8 is
    /// wasted.
    private static func sizeClass(_ byteCount: Int) -> (capacity: Int, index: Int) {
        guard byteCount > 4096 else { return ((byteCount + 63) & ~63, (byteCount + 63) / 64) }
        let power = Int.bitWidth - 1 - byteCount.leadingZeroBitCount, step = 1 << (power - 3)
        let eighths = (byteCount - 1 << power + step - 1) / step
        return (1 << power + eighths * step, 64 + 8 * (power - 12) + eighths)
    }
}
