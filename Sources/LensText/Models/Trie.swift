// Strings of bytes, or of a word's first symbols, by their beginnings: which tokens a text begins with. One flat hash
// table of edges.

typealias ByteTrie = Trie<UInt8>

/// Strings of symbols, which are not negative and below 2³².
struct Trie<Symbol: FixedWidthInteger & Sendable>: Sendable {
    /// Node and symbol of an edge, plus one so that zero is free; and where it leads.
    private var keys: [UInt64]
    private var children: [Int32]
    private var mask: Int
    private var edgeCount = 0
    /// The value of each node; negative if no string ends there.
    private(set) var values: [Int32] = [-1]
    static var root: Int32 { 0 }

    init(minimumCapacity: Int = 8) {
        var capacity = 16
        while capacity < minimumCapacity &* 2 { capacity *= 2 }
        keys = Array(repeating: 0, count: capacity)
        children = Array(repeating: 0, count: capacity)
        mask = capacity - 1
    }

    @inline(__always)
    private static func key(_ node: Int32, _ symbol: Symbol) -> UInt64 {
        (UInt64(UInt32(bitPattern: node)) << 32 | UInt64(UInt32(truncatingIfNeeded: symbol))) &+ 1
    }

    @inline(__always)
    private func slot(_ key: UInt64) -> Int { Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask }

    /// Where the edge for a byte leads; negative if there is none.
    @inline(__always)
    func child(_ node: Int32, _ symbol: Symbol) -> Int32 {
        let key = Self.key(node, symbol)
        return keys.withUnsafeBufferPointer { keys in
            var index = slot(key)
            while keys[index] != key {
                if keys[index] == 0 { return -1 }
                index = (index &+ 1) & mask
            }
            return children[index]
        }
    }

    /// The node a string leads to; negative if there is none.
    func node(_ text: some Sequence<Symbol>) -> Int32 {
        var node = Self.root
        for symbol in text {
            node = child(node, symbol)
            if node < 0 { break }
        }
        return node
    }

    /// Sets the value of a string; a later one replaces an earlier one.
    mutating func insert(_ text: some Sequence<Symbol>, value: Int32) {
        var node = Self.root
        for symbol in text {
            var next = child(node, symbol)
            if next < 0 {
                next = Int32(truncatingIfNeeded: values.count)
                values.append(-1)
                addEdge(Self.key(node, symbol), next)
            }
            node = next
        }
        values[Int(node)] = value
    }

    private mutating func addEdge(_ key: UInt64, _ child: Int32) {
        edgeCount += 1
        if edgeCount * 2 > keys.count { grow() }
        var index = slot(key)
        while keys[index] != 0 { index = (index + 1) & mask }
        keys[index] = key
        children[index] = child
    }

    private mutating func grow() {
        let oldKeys = keys, oldChildren = children
        keys = Array(repeating: 0, count: oldKeys.count * 2)
        children = Array(repeating: 0, count: keys.count)
        mask = keys.count - 1
        for (old, key) in oldKeys.enumerated() where key != 0 {
            var index = slot(key)
            while keys[index] != 0 { index = (index + 1) & mask }
            keys[index] = key
            children[index] = oldChildren[old]
        }
    }
}
