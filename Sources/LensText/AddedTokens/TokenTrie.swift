// Finding added tokens in text: at each place, from left to right, the longest one that begins there.

/// A set of byte strings with values.
struct TokenTrie: Sendable {
    private struct Node {
        var children: [UInt8: Int32] = [:]
        var value: Int32 = -1
    }

    private var nodes = [Node()]
    private var begins = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { nodes.count == 1 }

    /// Adds a string that is not empty. A later value replaces an earlier one.
    mutating func insert(_ text: [UInt8], value: Int32) {
        guard let first = text.first else { return }
        begins[Int(first)] = true
        var node = 0
        for byte in text {
            if let child = nodes[node].children[byte] {
                node = Int(child)
            } else {
                nodes[node].children[byte] = Int32(truncatingIfNeeded: nodes.count)
                node = nodes.count
                nodes.append(Node())
            }
        }
        nodes[node].value = value
    }

    /// The first match in `bytes[start..<end]` and the longest one there: where it is and its value.
    func firstMatch(in bytes: Bytes, from start: Int, to end: Int) -> (start: Int, end: Int, value: Int32)? {
        var place = start
        while place < end {
            if begins[Int(bytes[place])], let (length, value) = longestMatch(in: bytes, at: place, to: end) {
                return (place, place + length, value)
            }
            place += 1
        }
        return nil
    }

    private func longestMatch(in bytes: Bytes, at place: Int, to end: Int) -> (length: Int, value: Int32)? {
        var best: (length: Int, value: Int32)?
        var node = 0, index = place
        while index < end, let child = nodes[node].children[bytes[index]] {
            node = Int(child)
            index += 1
            if nodes[node].value >= 0 { best = (index - place, nodes[node].value) }
        }
        return best
    }
}
