// The pool of float buffers: what it keeps is bounded, and is what was given back last.

import LensTensor
import LensTestSupport
import Testing

@Suite struct BufferPoolTests {
    private let limit = 8 << 20

    /// Sizes no longer asked for make room: those of a freed model must not fill the shelves for good.
    @Test func staleSizesMakeRoom() throws {
        let pool = BufferPool(keeping: limit)
        let stale = try (0..<64).map { try pool.take(byteCount: (100 << 10) + $0 * (16 << 10)) }
        for block in stale {
            pool.give(block)
            #expect(pool.shelvedBytes <= limit)
        }
        #expect(pool.shelvedBytes > limit / 2)
        for round in 0..<10 {
            let size = (3 << 20) + round * (512 << 10), fresh = try pool.take(byteCount: size), address = fresh.address
            pool.give(fresh)
            let again = try pool.take(byteCount: size)
            #expect(again.address == address, "recycled, round \(round)")
            pool.give(again)
            #expect(pool.shelvedBytes <= limit)
        }
    }

    /// The longest on the shelves goes first, whatever its size.
    @Test func theOldestGoesFirst() throws {
        let pool = BufferPool(keeping: limit), mebibyte = 1 << 20
        let blocks = try [1, 2, 1, 4].map { try pool.take(byteCount: $0 * mebibyte) }
        for block in blocks { pool.give(block) }
        #expect(pool.shelvedBytes == 8 * mebibyte)
        pool.give(try pool.take(byteCount: 3 * mebibyte))  // the first two go
        #expect(pool.shelvedBytes == 8 * mebibyte)
        let kept = try [1, 4, 3].map { try pool.take(byteCount: $0 * mebibyte) }
        #expect(kept[0].address == blocks[2].address && kept[1].address == blocks[3].address)
        #expect(pool.shelvedBytes == 0)
        for block in kept { pool.give(block) }
        pool.empty()
        #expect(pool.shelvedBytes == 0)
    }

    @Test func whatIsNotKept() throws {
        let pool = BufferPool(keeping: limit)
        pool.give(try pool.take(byteCount: 100))  // small: the C allocator's
        pool.give(try pool.take(byteCount: limit + 1))
        pool.give(try pool.take(byteCount: 1 << 20, recycled: false))
        #expect(pool.shelvedBytes == 0)
    }

    /// Sizes around the borders of classes come back as what they were, and never too small.
    @Test func sizeClasses() throws {
        let pool = BufferPool(keeping: limit)
        for size in [256, 257, 4095, 4096, 4097, 4608, 4609, 8191, 8192, 8193, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1] {
            let block = try pool.take(byteCount: size), address = block.address
            #expect(block.capacity >= size && block.capacity <= max(size + 63, size + size / 8), "\(size)")
            pool.give(block)
            #expect(pool.shelvedBytes == block.capacity)
            let again = try pool.take(byteCount: size)
            #expect(again.address == address, "\(size)")
            #expect(pool.shelvedBytes == 0)
            pool.give(again)
            pool.empty()
        }
    }

    /// Many small blocks are the C allocator's again, but for a few.
    @Test func fewSmallBlocksStay() throws {
        let pool = BufferPool(keeping: limit), blocks = try (0..<1000).map { _ in try pool.take(byteCount: 1000) }
        for block in blocks { pool.give(block) }
        #expect(pool.shelvedBytes > 0 && pool.shelvedBytes <= 100 * 1024)
    }

    @Test func releasingMemoryKeepsWhatIsInUse() throws {
        let x = try randomTensor([300, 300], seed: 1), copy = x.array
        Kernels.releaseMemory()
        #expect(x.array == copy)
    }
}
