// A number for every Unicode scalar, kept in pages of 256 of which equal ones are stored once.

struct ScalarMap: Sendable {
    private var pageOf: [UInt16] = []
    private var values: [UInt16] = []

    /// The number of a code point; 0 out of range.
    @inline(__always)
    subscript(_ codePoint: UInt32) -> UInt16 {
        let page = Int(codePoint >> 8)
        return page < pageOf.count ? values[Int(pageOf[page]) << 8 | Int(codePoint & 255)] : 0
    }

    /// From a value for each of the first code points; the rest are 0.
    init(_ all: [UInt16]) {
        var known: [[UInt16]: UInt16] = [:]
        for start in stride(from: 0, to: all.count, by: 256) {
            var page = Array(all[start..<min(start + 256, all.count)])
            page += Array(repeating: 0, count: 256 - page.count)
            if known[page] == nil {
                known[page] = UInt16(truncatingIfNeeded: known.count)
                values += page
            }
            pageOf.append(known[page] ?? 0)
        }
    }

    /// From runs of `value` or `value:length`, in hexadecimal.
    init(runs: String) {
        var all: [UInt16] = []
        for run in runs.utf8.split(separator: UInt8(ascii: " ")) {
            let parts = run.split(separator: UInt8(ascii: ":"))
            let value = UInt16(truncatingIfNeeded: hexadecimal(parts[0])), length = parts.count > 1 ? hexadecimal(parts[1]) : 1
            all.append(contentsOf: repeatElement(value, count: min(Int(length), 0x110000 - all.count)))
        }
        self.init(all)
    }

    /// The members of a set, given as run lengths out and in turn by turn, have 1.
    init(members runs: String) {
        var all: [UInt16] = [], isMember = false
        for run in runs.utf8.split(separator: UInt8(ascii: " ")) {
            let length = min(Int(hexadecimal(run)), 0x110000 - all.count)
            all.append(contentsOf: repeatElement(isMember ? 1 : 0, count: length))
            isMember.toggle()
        }
        self.init(all)
    }

    @inline(__always) func has(_ codePoint: UInt32) -> Bool { self[codePoint] != 0 }
}

/// The value of hexadecimal digits in lower case.
func hexadecimal(_ digits: some Sequence<UInt8>) -> UInt32 {
    digits.reduce(0) { $0 << 4 | UInt32($1 > 0x39 ? $1 - UInt8(ascii: "a") + 10 : $1 - UInt8(ascii: "0")) }
}
