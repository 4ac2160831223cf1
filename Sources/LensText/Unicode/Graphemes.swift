// Where grapheme clusters end (Unicode Standard Annex 29, extended), with the tables of the library this follows.

enum Graphemes {
    // The low four bits of a class: Grapheme_Cluster_Break, in the order of make_tables.py; above them flags.
    private static let cr: UInt16 = 1, lf: UInt16 = 2, control: UInt16 = 3, extend: UInt16 = 4, zwj: UInt16 = 5
    private static let regional: UInt16 = 6, prepend: UInt16 = 7, spacing: UInt16 = 8
    private static let l: UInt16 = 9, v: UInt16 = 10, t: UInt16 = 11, lv: UInt16 = 12, lvt: UInt16 = 13
    private static let pictographic: UInt16 = 16, consonant: UInt16 = 32, conjunctExtend: UInt16 = 64, linker: UInt16 = 128

    static let classes = ScalarMap(runs: NormalizationTables.graphemes)

    /// Where the cluster that begins at `start`, before `limit`, ends.
    static func end(of bytes: Bytes, from start: Int, to limit: Int) -> Int {
        // Two ASCII characters in a row: only CR and LF stay together.
        if start + 1 < limit, bytes[start] < 0x80, bytes[start + 1] < 0x80 {
            return start + (bytes[start] == 0x0D && bytes[start + 1] == 0x0A ? 2 : 1)
        }
        let first = scalar(bytes, at: start)
        var index = min(start + first.length, limit)
        var state = State(classes[first.value])
        while index < limit {
            let next = scalar(bytes, at: index)
            guard !state.breaks(before: classes[next.value]) else { break }
            index = min(index + next.length, limit)
        }
        return index
    }

    /// What the rules need to know of the scalars before a place.
    private struct State {
        var last: UInt16
        /// How many regional indicators end the cluster.
        var regionals = 0
        /// An emoji and any extenders end the cluster.
        var afterPictograph = false
        /// A consonant and any linkers and extenders end it (and a linker was among them).
        var afterConsonant = false
        var hasLinker = false

        init(_ first: UInt16) {
            last = first
            note(first)
        }

        private mutating func note(_ found: UInt16) {
            regionals = found & 15 == regional ? regionals + 1 : 0
            if found & pictographic != 0 {
                afterPictograph = true
            } else if found & 15 != extend && (found & 15 != zwj || last & 15 == zwj) {
                // One joiner, with nothing but extenders before it.
                afterPictograph = false
            }
            if found & consonant != 0 {
                afterConsonant = true
                hasLinker = false
            } else if found & linker != 0 {
                hasLinker = true
            } else if found & conjunctExtend == 0 {
                afterConsonant = false
            }
        }

        mutating func breaks(before next: UInt16) -> Bool {
            let result = decide(last & 15, next & 15, next)
            if !result {
                // An emoji continues a sequence only right after a joiner, which `decide` has seen to.
                note(next)
                last = next
            }
            return result
        }

        private func decide(_ a: UInt16, _ b: UInt16, _ next: UInt16) -> Bool {
            if a == cr && b == lf { return false }
            if a == cr || a == lf || a == control || b == cr || b == lf || b == control { return true }
            if a == l && (b == l || b == v || b == lv || b == lvt) { return false }
            if (a == lv || a == v) && (b == v || b == t) { return false }
            if (a == lvt || a == t) && b == t { return false }
            if b == extend || b == zwj || b == spacing || a == prepend { return false }
            if afterConsonant && hasLinker && next & consonant != 0 { return false }
            if afterPictograph && a == zwj && next & pictographic != 0 { return false }
            if b == regional && regionals % 2 == 1 { return false }
            return true
        }
    }
}
