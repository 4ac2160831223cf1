// Several blocks of one size in one mapping. Activations are mostly smaller than a huge page, and a cache of all of them first
// touches tens of thousands of ordinary ones, which took half as long as the pass itself; side by side they share huge pages.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A mapping that blocks are cut from; it goes back to the system with the last of them.
final class Slab: Sendable {
    /// Blocks of these sizes are worth it: smaller ones are quickly had from the C allocator, larger ones fill huge pages alone.
    static let sizes = 64 << 10..<2 << 20
    /// Most bytes of one.
    static let most = 4 * hugePage
    private static let hugePage = 2 << 20

    private let start: Address
    private let byteCount: Int
    private let left: Locked<Int>

    private struct Address: @unchecked Sendable { let pointer: UnsafeMutableRawPointer }

    /// The slab and its blocks, zeroed; nil without memory.
    /// - Parameter capacity: of one block, within `sizes` and a multiple of 64.
    static func cut(_ capacity: Int) -> (slab: Slab, blocks: [UnsafeMutableRawPointer])? {
        // As many huge pages, up to four, as leave least over.
        let sizes = stride(from: hugePage, through: most, by: hugePage)
        let byteCount = sizes.min { $0 % capacity * most / $0 < $1 % capacity * most / $1 } ?? hugePage
        guard let start = SystemMemory.map(byteCount) else { return nil }
        let count = byteCount / capacity
        return (Slab(start, byteCount, count), (0..<count).map { start + $0 * capacity })
    }

    private init(_ start: UnsafeMutableRawPointer, _ byteCount: Int, _ count: Int) {
        self.start = Address(pointer: start)
        self.byteCount = byteCount
        left = Locked(count)
    }

    /// A block nobody has a use for: the system may have its pages at once (those it shares with others later), its addresses with
    /// the last of them.
    func release(_ block: UnsafeMutableRawPointer, _ capacity: Int) {
        let isLast = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isLast { return SystemMemory.unmap(start.pointer, byteCount) }
        SystemMemory.discard(block, capacity)
    }
}
