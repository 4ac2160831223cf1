// Float storage and the pool that recycles it. A fresh page from the system costs about 0.6 ms per megabyte, so large
// buffers go back to a process-wide pool when their last owner lets go, and a forward pass after the first allocates
// nothing. Because a buffer returns only when nobody holds it, a tensor that a hook kept is never overwritten.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif
import LensFiles
import Synchronization

/// A fixed-size block of floats, cache-line aligned, freed (or recycled) with its last reference.
///
/// `@unchecked Sendable`: written only while uniquely referenced (`Tensor` and `PackedMatrix` see to it).
package final class FloatStorage: @unchecked Sendable {
    package let count: Int
    package let pointer: UnsafeMutablePointer<Float>
    private let block: BufferPool.Block

    /// Uninitialised storage: the caller writes every element before reading any.
    /// - Throws: `LensError(.machine)` if the memory cannot be had.
    package init(uninitialized count: Int) throws {
        self.count = count
        block = try BufferPool.shared.take(byteCount: max(count, 1) * MemoryLayout<Float>.stride)
        pointer = block.address.bindMemory(to: Float.self, capacity: max(count, 1))
    }

    package convenience init(repeating value: Float, count: Int) throws {
        try self.init(uninitialized: count)
        pointer.update(repeating: value, count: count)
    }

    deinit { BufferPool.shared.give(block) }
}

/// Free lists of large blocks by size class. Small blocks go straight to the C allocator.
final class BufferPool: Sendable {
    struct Block: @unchecked Sendable {
        let address: UnsafeMutableRawPointer
        let capacity: Int
    }

    static let shared = BufferPool()
    /// Blocks below this are left to the C allocator, which recycles them itself.
    private static let pooledFrom = 64 << 10
    /// Most bytes kept for reuse; beyond it blocks are returned to the system.
    private static let keptBytes = 768 << 20

    private struct Shelves {
        var free: [Int: [Block]] = [:]
        var bytes = 0
    }
    private let shelves = Mutex(Shelves())

    func take(byteCount: Int) throws -> Block {
        let capacity = Self.sizeClass(byteCount)
        if capacity >= Self.pooledFrom {
            let recycled = shelves.withLock { shelves -> Block? in
                guard let block = shelves.free[capacity]?.popLast() else { return nil }
                shelves.bytes -= capacity
                return block
            }
            if let recycled { return recycled }
        }
        var address: UnsafeMutableRawPointer?
        guard posix_memalign(&address, 64, capacity) == 0, let address else {
            throw LensError(.machine, "out of memory", found: "a request for \(byteCount) bytes",
                            advice: "use a shorter input, a smaller batch or a narrower cache filter")
        }
        return Block(address: address, capacity: capacity)
    }

    func give(_ block: Block) {
        if block.capacity >= Self.pooledFrom {
            let kept = shelves.withLock { shelves -> Bool in
                guard shelves.bytes + block.capacity <= Self.keptBytes else { return false }
                shelves.free[block.capacity, default: []].append(block)
                shelves.bytes += block.capacity
                return true
            }
            if kept { return }
        }
        free(block.address)
    }

    /// Rounds up to eighths of a power of two, so that nearby sizes share blocks and at most 1/8 is wasted.
    private static func sizeClass(_ byteCount: Int) -> Int {
        guard byteCount > 4096 else { return (byteCount + 63) & ~63 }
        let step = 1 << max(6, Int.bitWidth - byteCount.leadingZeroBitCount - 4)
        return (byteCount + step - 1) & ~(step - 1)
    }
}
