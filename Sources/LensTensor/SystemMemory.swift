// Large blocks straight from the system: zeroed by it, and in huge pages where it grants them. Weights are read from end to
// end in every pass, and with pages of 4 KiB a processor spends much of that time looking up addresses.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

enum SystemMemory {
    /// Blocks from this size on are mapped: between ones that live long the C allocator would leave holes. Smaller ones are its own.
    static let mappedFrom = 256 << 10
    private static let hugePage = 2 << 20

    /// `byteCount` zeroed bytes that begin where a huge page may; nil if the system has no memory.
    static func map(_ byteCount: Int) -> UnsafeMutableRawPointer? {
        let (wanted, overflow) = wholePages(byteCount).addingReportingOverflow(hugePage)
        guard !overflow, let mapped = mmap(nil, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), mapped != MAP_FAILED else {
            return nil
        }
        let skipped = (hugePage - Int(bitPattern: mapped) % hugePage) % hugePage, address = mapped + skipped
        if skipped > 0 { munmap(mapped, skipped) }
        let end = wholePages(byteCount)
        if hugePage > skipped { munmap(address + end, hugePage - skipped) }
        #if os(Linux)
        // Whole huge pages alone: the rest is not to grow into one. A refusal leaves ordinary pages.
        let huge = byteCount / hugePage * hugePage
        if huge > 0 { madvise(address, huge, MADV_HUGEPAGE) }
        #endif
        return address
    }

    static func unmap(_ address: UnsafeMutableRawPointer, _ byteCount: Int) { munmap(address, wholePages(byteCount)) }

    /// Lets the system have the whole pages of a part of a mapping that is not read again before it is unmapped.
    static func discard(_ address: UnsafeMutableRawPointer, _ byteCount: Int) {
        let page = wholePages(1), skipped = (page - Int(bitPattern: address) % page) % page
        let whole = (byteCount - skipped) / page * page
        #if canImport(Darwin)
        if whole > 0 { madvise(address + skipped, whole, MADV_FREE) }
        #else
        if whole > 0 { madvise(address + skipped, whole, MADV_DONTNEED) }
        #endif
    }

    private static func wholePages(_ byteCount: Int) -> Int {
        let page = max(4096, Int(sysconf(Int32(_SC_PAGESIZE))))
        return (byteCount + page - 1) / page * page
    }
}
