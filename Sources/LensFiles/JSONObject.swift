// A JSON object: an ordered list of members with a hash table over the keys' bytes.
// Keys are compared by their UTF-8 bytes, not by Swift's canonical equivalence: a vocabulary holds both the
// precomposed and the decomposed "é", and they are two tokens.

/// A JSON object: keys in the order they were written, each once, found by hash.
///
/// Keys are the same only if their UTF-8 bytes are. Two objects are equal if they hold equal members in the same order.
public struct JSONObject: Sendable, Hashable {
    /// The keys, in order.
    public private(set) var keys: [String] = []
    /// The values, in the order of `keys`.
    public private(set) var values: [JSON] = []
    /// Open addressing with linear probing: positions in `keys`, −1 where free. Empty while a scan is faster.
    private var slots: [Int32] = []

    private static let scanned = 8

    /// An object without members.
    public init() {}

    /// An object of `pairs`; of a key given twice, the last value holds.
    public init(_ pairs: [(String, JSON)]) {
        for (key, value) in pairs { self[key] = value }
    }

    /// The value of `key`, nil if there is none. Setting nil removes the member.
    public subscript(key: String) -> JSON? {
        get { find(key).map { values[$0] } }
        set {
            if let newValue {
                if let position = find(key) {
                    values[position] = newValue
                } else {
                    appendAbsent(key, newValue)
                }
            } else if let position = find(key) {
                keys.remove(at: position)
                values.remove(at: position)
                rebuild()
            }
        }
    }

    /// How many members there are.
    public var count: Int { keys.count }
    /// Whether there are none.
    public var isEmpty: Bool { keys.isEmpty }

    /// Key and value, in order.
    public var pairs: [(key: String, value: JSON)] { zip(keys, values).map { (key: $0, value: $1) } }

    /// Adds a member; false, and no change, if there is one of that name already.
    public mutating func insert(_ key: String, _ value: JSON) -> Bool {
        if find(key) != nil { return false }
        appendAbsent(key, value)
        return true
    }

    public static func == (a: JSONObject, b: JSONObject) -> Bool {
        a.count == b.count && zip(a.keys, b.keys).allSatisfy { sameBytes($0, $1) } && a.values == b.values
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(keys)
        hasher.combine(values)
    }

    // MARK: The table

    private mutating func appendAbsent(_ key: String, _ value: JSON) {
        keys.append(key)
        values.append(value)
        if keys.count <= Self.scanned { return }
        if keys.count * 2 > slots.count { rebuild() } else { occupy(keys.count - 1) }
    }

    private mutating func rebuild() {
        slots = []
        if keys.count <= Self.scanned { return }
        var size = 32
        while size < keys.count * 4 { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
        for position in keys.indices { occupy(position) }
    }

    private mutating func occupy(_ position: Int) {
        let mask = slots.count - 1
        var slot = byteHash(keys[position]) & mask
        while slots[slot] >= 0 { slot = (slot + 1) & mask }
        slots[slot] = Int32(truncatingIfNeeded: position)
    }

    private func find(_ key: String) -> Int? {
        if slots.isEmpty { return keys.firstIndex { sameBytes($0, key) } }
        let mask = slots.count - 1
        var slot = byteHash(key) & mask
        while slots[slot] >= 0 {
            let position = Int(slots[slot])
            if sameBytes(keys[position], key) { return position }
            slot = (slot + 1) & mask
        }
        return nil
    }
}

/// A hash of the bytes of `text`.
@inline(__always)
private func byteHash(_ text: String) -> Int {
    var hasher = Hasher()
    hashBytes(of: text, into: &hasher)
    return hasher.finalize()
}
