// GPT-2's split pattern, written out as a scanner. Its alternatives cover every text, so the matches are the words.

enum GPT2Scanner {
    static let pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    private static let splitMask = ScalarClass.letter | ScalarClass.number | ScalarClass.space

    /// Where the word that begins at `start`, before `end`, ends.
    static func endOfWord(_ bytes: Bytes, from start: Int, to end: Int, _ classes: ScalarClassTable) -> Int {
        if bytes[start] == UInt8(ascii: "'") {
            let length = contraction(bytes, at: start, to: end)
            if length > 0 { return start + length }
        }
        var first = start
        if bytes[start] == 0x20, start + 1 < end { first += 1 }
        var next = scalar(bytes, at: first)
        var kind = classOf(next.value, classes)
        if kind == ScalarClass.space {
            first = start
            next = scalar(bytes, at: first)
            kind = classOf(next.value, classes)
        }
        var index = first + next.length, last = first
        while index < end {
            let following = scalar(bytes, at: index)
            guard classOf(following.value, classes) == kind else { break }
            last = index
            index += following.length
        }
        // White space before something else leaves its last character to that, unless it is the only one.
        if kind == ScalarClass.space, index < end, last > start { return last }
        return min(index, end)
    }

    @inline(__always)
    private static func classOf(_ value: UInt32, _ classes: ScalarClassTable) -> UInt16 { classes[Int(value)] & splitMask }

    /// The length of the contraction at an apostrophe, 0 if there is none.
    private static func contraction(_ bytes: Bytes, at start: Int, to end: Int) -> Int {
        guard start + 1 < end else { return 0 }
        switch bytes[start + 1] {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        case let first where start + 2 < end:
            let pair = (first, bytes[start + 2])
            let isLong = pair == (UInt8(ascii: "r"), UInt8(ascii: "e")) || pair == (UInt8(ascii: "v"), UInt8(ascii: "e"))
                || pair == (UInt8(ascii: "l"), UInt8(ascii: "l"))
            return isLong ? 3 : 0
        default: return 0
        }
    }
}
