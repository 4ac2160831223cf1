// A hash table whose keys are byte strings: what vocabularies and the word cache are made of. Keys are UTF-8 and never
// Swift Strings, because Swift holds canonically equivalent strings equal ("é" composed and decomposed), and they are
// different tokens.

/// Byte strings, each with the number of its insertion (0, 1, …). Keys are only added.
struct ByteTable: Sendable {
    private var arena: [UInt8] = []
    /// Where key i begins in `arena`; one more entry than there are keys.
    private var starts: [Int] = [0]
    /// Hash in the high half, entry number plus one in the low half; zero is a free slot. A power of two many.
    private var slots: [UInt64]
    private var mask: Int

    var count: Int { starts.count - 1 }
    /// Bytes the keys take.
    var keyBytes: Int { arena.count }

    init(minimumCapacity: Int = 8) {
        var capacity = 16
        while capacity < minimumCapacity &* 2 { capacity *= 2 }
        slots = [UInt64](repeating: 0, count: capacity)
        mask = capacity - 1
    }

    /// Mixes eight bytes at a time; quality enough for words, not against an attacker (a bad file is only slow).
    @inline(__always)
    static func hash(_ key: Bytes) -> UInt32 {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: key.count)
        var index = 0
        while index &+ 8 <= key.count {
            let word = UnsafeRawPointer(key.baseAddress.unsafelyUnwrapped + index).loadUnaligned(as: UInt64.self)
            state = (state ^ word) &* 0x9FB2_1C65_1E98_DF25
            state ^= state >> 32
            index &+= 8
        }
        var last: UInt64 = 0
        while index < key.count {
            last = last << 8 | UInt64(key[index])
            index &+= 1
        }
        state = (state ^ last) &* 0x9FB2_1C65_1E98_DF25
        return UInt32(truncatingIfNeeded: state >> 32) ^ UInt32(truncatingIfNeeded: state)
    }

    /// The number of a key; negative if it is not there.
    @inline(__always)
    func find(_ key: Bytes, hash: UInt32) -> Int {
        var slot = Int(hash) & mask
        while true {
            let entry = slots[slot]
            if entry == 0 { return -1 }
            if UInt32(truncatingIfNeeded: entry >> 32) == hash {
                let number = Int(UInt32(truncatingIfNeeded: entry)) &- 1
                if isKey(number, equalTo: key) { return number }
            }
            slot = (slot &+ 1) & mask
        }
    }

    func find(_ key: Bytes) -> Int { find(key, hash: Self.hash(key)) }

    @inline(__always)
    private func isKey(_ number: Int, equalTo key: Bytes) -> Bool {
        let start = starts[number]
        guard starts[number &+ 1] &- start == key.count else { return false }
        var index = 0
        while index < key.count {
            if arena[start &+ index] != key[index] { return false }
            index &+= 1
        }
        return true
    }

    /// Adds a key that is not there yet and returns its number. At most 2³¹ keys, which no memory holds.
    @discardableResult
    mutating func insert(_ key: Bytes, hash: UInt32) -> Int {
        if (count + 1) * 2 > slots.count { grow() }
        let number = count
        arena.append(contentsOf: key)
        starts.append(arena.count)
        place(UInt64(hash) << 32 | UInt64(UInt32(truncatingIfNeeded: number + 1)))
        return number
    }

    private mutating func place(_ entry: UInt64) {
        var slot = Int(entry >> 32) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = entry
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt64](repeating: 0, count: old.count * 2)
        mask = slots.count - 1
        for entry in old where entry != 0 { place(entry) }
    }

    /// The bytes of key `number`, which is in range.
    func key(_ number: Int) -> ArraySlice<UInt8> { arena[starts[number]..<starts[number + 1]] }

    /// Forgets every key, keeping the memory.
    mutating func removeAll() {
        arena.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
        starts.append(0)
        for index in slots.indices { slots[index] = 0 }
    }
}
