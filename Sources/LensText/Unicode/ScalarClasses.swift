// Which class a Unicode scalar belongs to, as Hugging Face tokenizers sees it (see make_tables.py): a flat table
// made once from the committed runs, one 16-bit word per code point.

/// The general category of a scalar, in the order of the committed table.
enum GeneralCategory: UInt8, CaseIterable {
    case Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po, Sm, Sc, Sk, So, Zs, Zl, Zp, Cc, Cf, Co, Cn, Cs
}

/// The classes of one scalar.
struct ScalarClass {
    /// Low five bits: the general category; above them, one bit per class.
    var bits: UInt16

    static let letter: UInt16 = 1 << 5
    static let number: UInt16 = 1 << 6
    static let space: UInt16 = 1 << 7
    static let word: UInt16 = 1 << 8
    static let numeric: UInt16 = 1 << 9
    static let punctuation: UInt16 = 1 << 10

    /// Letter, number or space: what the split patterns ask for, in three bits of their own (none of them: 0).
    @inline(__always) var splitClass: UInt16 { bits & (Self.letter | Self.number | Self.space) }
    @inline(__always) func has(_ mask: UInt16) -> Bool { bits & mask != 0 }
    var category: GeneralCategory { GeneralCategory(rawValue: UInt8(truncatingIfNeeded: bits & 31)) ?? .Cn }
}

/// The table of every scalar's classes.
enum ScalarClasses {
    /// One entry per code point.
    static let table: [UInt16] = makeTable()

    /// The classes of a code point; those of an unassigned one if it is out of range.
    @inline(__always)
    static func of(_ codePoint: UInt32) -> ScalarClass {
        codePoint < 0x110000 ? ScalarClass(bits: table[Int(codePoint)])
            : ScalarClass(bits: UInt16(GeneralCategory.Cn.rawValue))
    }

    private static func makeTable() -> [UInt16] {
        var table = [UInt16](repeating: UInt16(GeneralCategory.Cn.rawValue), count: 0x110000)
        fillCategories(&table)
        fill(&table, ScalarClass.space, from: UnicodeTables.spaces)
        fill(&table, ScalarClass.word, from: UnicodeTables.words)
        fill(&table, ScalarClass.numeric, from: UnicodeTables.numerics)
        fill(&table, ScalarClass.punctuation, from: UnicodeTables.punctuation)
        return table
    }

    /// Reads `A3B…`: a letter names the category (A–Z, then a–d), the decimal number after it the length (1 if absent).
    private static func fillCategories(_ table: inout [UInt16]) {
        var start = 0, length = 0, category: UInt8 = 0
        func flush() {
            var bits = UInt16(category)
            if category <= GeneralCategory.Lo.rawValue { bits |= ScalarClass.letter }
            if (GeneralCategory.Nd.rawValue...GeneralCategory.No.rawValue).contains(category) { bits |= ScalarClass.number }
            let end = min(start + max(length, 1), table.count)
            for index in start..<end { table[index] = bits }
            start = end
            length = 0
        }
        for (index, character) in UnicodeTables.categories.utf8.enumerated() {
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): length = length * 10 + Int(character - UInt8(ascii: "0"))
            default:
                if index > 0 { flush() }
                category = character >= UInt8(ascii: "a") ? character - UInt8(ascii: "a") + 26 : character - UInt8(ascii: "A")
            }
        }
        flush()
    }

    /// Sets `bit` on the members of a set given as run lengths, out and in turn by turn.
    private static func fill(_ table: inout [UInt16], _ bit: UInt16, from runs: String) {
        var start = 0, isMember = false
        for run in runs.utf8.split(separator: UInt8(ascii: " ")) {
            let length = run.reduce(0) { $0 * 16 + Int($1 > 0x39 ? $1 - UInt8(ascii: "a") + 10 : $1 - UInt8(ascii: "0")) }
            let end = min(start + length, table.count)
            if isMember { for index in start..<end { table[index] |= bit } }
            start = end
            isMember.toggle()
        }
    }
}
