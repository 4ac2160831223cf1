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
        let pool = BufferPool(keeping: 16 << 20), mebibyte = 1 << 20
        let blocks = try [2, 4, 2, 8].map { try pool.take(byteCount: $0 * mebibyte) }
        for block in blocks { pool.give(block) }
        #expect(pool.shelvedBytes == 16 * mebibyte)
        pool.give(try pool.take(byteCount: 6 * mebibyte))  // the first two go
        #expect(pool.shelvedBytes == 16 * mebibyte)
        let kept = try [2, 8, 6].map { try pool.take(byteCount: $0 * mebibyte) }
        #expect(kept[0].address == blocks[2].address && kept[1].address == blocks[3].address)
        #expect(pool.shelvedBytes == 0)
        for block in kept { pool.give(block) }
        pool.empty()
        #expect(pool.shelvedBytes == 0)
    }

    /// Blocks of middling size come several at a time: apart from one another, zeroed, and whole after their neighbours have gone
    /// back to the system.
    @Test(arguments: [64 << 10, 100 << 10, 393_216, 1 << 20, 1_572_864, (2 << 20) - 64])
    func slabs(size: Int) throws {
        let pool = BufferPool(keeping: 64 << 20)
        let first = try pool.take(byteCount: size)
        #expect((pool.shelvedBytes > 0) == (first.capacity < 2 << 20), "the others of its slab")
        var blocks = try [first] + (0..<8).map { _ in try pool.take(byteCount: size) }
        for (index, block) in blocks.enumerated() {
            let bytes = UnsafeMutableRawBufferPointer(start: block.address, count: size)
            #expect(Int(bitPattern: block.address) % 64 == 0 && bytes.allSatisfy { $0 == 0 })
            bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index + 1))
        }
        for (index, block) in blocks.enumerated() {
            #expect(UnsafeRawBufferPointer(start: block.address, count: size).allSatisfy { $0 == index + 1 }, "overlap")
        }
        let last = blocks.removeLast()
        for block in blocks { pool.give(block) }
        pool.empty()
        #expect(pool.shelvedBytes == 0)
        #expect(UnsafeRawBufferPointer(start: last.address, count: size).allSatisfy { $0 == 9 })
        pool.give(last)
        pool.empty()
    }

    /// Memory that cannot be kept is not cut in advance.
    @Test func aSmallPoolCutsNothing() throws {
        let pool = BufferPool(keeping: 100 << 10), block = try pool.take(byteCount: 1 << 20)
        #expect(pool.shelvedBytes == 0)
        pool.give(block)
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
            let shelved = pool.shelvedBytes
            #expect(shelved >= block.capacity)
            let again = try pool.take(byteCount: size)
            #expect(again.address == address, "\(size)")
            #expect(pool.shelvedBytes == shelved - block.capacity)
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
