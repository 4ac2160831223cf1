// The split patterns that came after GPT-2's, alternative by alternative: those of cl100k, Llama 3 and Qwen, o200k, and
// DeepSeek V3. They differ in what words and numbers are, and share what becomes of symbols and white space.

/// One text being scanned by one of the patterns.
struct ClauseScanner {
    let bytes: Bytes
    let end: Int
    let classes: ScalarClassTable
    let style: Style

    /// What sets the patterns apart.
    struct Style: Sendable, Equatable {
        enum Words: Sendable { case letters, lettersAndMarks, cased, deepSeek }
        var words = Words.letters
        var mostDigits = 3
        /// A slash may follow symbols, as line ends may.
        var takesSlashes = false
    }

    private static let marks: UInt32 = bits([.Mn, .Mc, .Me])
    private static let letters: UInt32 = bits([.Lu, .Ll, .Lt, .Lm, .Lo])
    private static let notLower: UInt32 = bits([.Lu, .Lt, .Lm, .Lo]) | marks
    private static let notUpper: UInt32 = bits([.Ll, .Lm, .Lo]) | marks
    private static let caseless: UInt32 = notLower & notUpper
    private static let symbols: UInt32 = bits([.Pc, .Pd, .Ps, .Pe, .Pi, .Pf, .Po, .Sm, .Sc, .Sk, .So])

    private static func bits(_ categories: [GeneralCategory]) -> UInt32 {
        categories.reduce(0) { $0 | 1 << UInt32($1.rawValue) }
    }

    /// Where the match that begins at `start`, which is before the end, ends; nil if none begins there.
    func endOfMatch(from start: Int) -> Int? {
        let first = scalar(bytes, at: start)
        if style.words == .letters || style.words == .lettersAndMarks, first.value == 0x27 {
            let length = contraction(at: start)
            if length > 0 { return start + length }
        }
        if let end = endOfWord(from: start, first) { return end }
        if style.words != .deepSeek, isIn(first.value, ScalarClass.number) { return endOfNumber(from: start) }
        if let end = endOfSymbols(from: start, first) { return end }
        return isIn(first.value, ScalarClass.space) ? endOfSpaces(from: start) : nil
    }

    // Classes.

    @inline(__always) private func isIn(_ value: UInt32, _ mask: UInt16) -> Bool { classes[Int(value)] & mask != 0 }
    @inline(__always) private func isIn(_ value: UInt32, _ categories: UInt32) -> Bool {
        categories >> UInt32(classes[Int(value)] & 31) & 1 == 1
    }
    @inline(__always) private static func isLineEnd(_ value: UInt32) -> Bool { value == 0x0A || value == 0x0D }

    /// Where the run of scalars of some categories that begins at `start` ends.
    @inline(__always)
    private func run(from start: Int, _ categories: UInt32) -> Int {
        var index = start
        while index < end {
            let next = scalar(bytes, at: index)
            guard isIn(next.value, categories) else { break }
            index += next.length
        }
        return index
    }

    // The alternatives.

    private func endOfWord(from start: Int, _ first: DecodedScalar) -> Int? {
        let next = start + first.length
        switch style.words {
        case .letters, .lettersAndMarks:
            let wanted = style.words == .letters ? Self.letters : Self.letters | Self.marks
            if isIn(first.value, wanted) { return run(from: next, wanted) }
            guard !Self.isLineEnd(first.value), !isIn(first.value, ScalarClass.number), next < end,
                  isIn(scalar(bytes, at: next).value, wanted) else { return nil }
            return run(from: next, wanted)
        case .cased:
            let canLead = !Self.isLineEnd(first.value) && !isIn(first.value, ScalarClass.letter | ScalarClass.number)
            let found = (canLead ? endOfLowerWord(from: next) : nil) ?? endOfLowerWord(from: start)
                ?? (canLead ? endOfUpperWord(from: next) : nil) ?? endOfUpperWord(from: start)
            return found.map { $0 + contraction(at: $0) }
        case .deepSeek:
            if isASCIIPunctuation(first.value), next < end, isASCIILetter(bytes[next]) {
                var index = next
                while index < end, isASCIILetter(bytes[index]) { index += 1 }
                return index
            }
            let wanted = Self.letters | Self.marks
            if isIn(first.value, wanted) { return run(from: next, wanted) }
            guard !Self.isLineEnd(first.value), !isIn(first.value, Self.symbols), next < end,
                  isIn(scalar(bytes, at: next).value, wanted) else { return nil }
            return run(from: next, wanted)
        }
    }

    /// Letters that are not lower case, as many as there are, then at least one that is not upper case. If only upper
    /// case follows, what comes first gives back down to its last letter without case, which is then the end.
    private func endOfLowerWord(from start: Int) -> Int? {
        let middle = run(from: start, Self.notLower)
        if middle < end, isIn(scalar(bytes, at: middle).value, Self.notUpper) { return run(from: middle, Self.notUpper) }
        var index = middle
        while index > start {
            let previous = scalar(bytes, before: index)
            if isIn(previous.value, Self.caseless) { return index }
            index -= previous.length
        }
        return nil
    }

    /// At least one letter that is not lower case, then those that are not upper case.
    private func endOfUpperWord(from start: Int) -> Int? {
        let middle = run(from: start, Self.notLower)
        return middle > start ? run(from: middle, Self.notUpper) : nil
    }

    private func endOfNumber(from start: Int) -> Int {
        var index = start, count = 0
        while index < end, count < style.mostDigits {
            let next = scalar(bytes, at: index)
            guard isIn(next.value, ScalarClass.number) else { break }
            index += next.length
            count += 1
        }
        return index
    }

    /// Symbols, after a space if there is one, with the line ends after them.
    private func endOfSymbols(from start: Int, _ first: DecodedScalar) -> Int? {
        var index = first.value == 0x20 ? start + 1 : start
        let begin = index
        while index < end {
            let next = scalar(bytes, at: index)
            guard isSymbol(next.value) else { break }
            index += next.length
        }
        guard index > begin else { return nil }
        while index < end, Self.isLineEnd(UInt32(bytes[index])) || style.takesSlashes && bytes[index] == 0x2F { index += 1 }
        return index
    }

    @inline(__always)
    private func isSymbol(_ value: UInt32) -> Bool {
        switch style.words {
        case .deepSeek: return isIn(value, Self.symbols)
        case .lettersAndMarks where isIn(value, Self.marks): return false
        default: return !isIn(value, ScalarClass.letter | ScalarClass.number | ScalarClass.space)
        }
    }

    /// White space up to its last line end; without one, all of it but the last, which goes with what follows.
    private func endOfSpaces(from start: Int) -> Int {
        var index = start, last = start, lineEnd = -1
        while index < end {
            let next = scalar(bytes, at: index)
            guard isIn(next.value, ScalarClass.space) else { break }
            last = index
            index += next.length
            if Self.isLineEnd(next.value) { lineEnd = index }
        }
        if lineEnd >= 0 { return lineEnd }
        return index < end && last > start ? last : index
    }

    private func isASCIILetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }
    private func isASCIIPunctuation(_ value: UInt32) -> Bool {
        value > 0x20 && value < 0x7F && !isASCIILetter(UInt8(value)) && !(0x30...0x39).contains(value)
    }

    /// The length of an English contraction in any case, 0 if there is none. (The long s is an s but for case.)
    private func contraction(at start: Int) -> Int {
        guard start + 1 < end, bytes[start] == 0x27 else { return 0 }
        switch bytes[start + 1] | 0x20 {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return bytes[start + 1] < 0x80 ? 2 : 0
        default: break
        }
        guard start + 2 < end else { return 0 }
        let pair = (bytes[start + 1], bytes[start + 2])
        if pair == (0xC5, 0xBF) { return 3 }
        guard isASCIILetter(pair.0), isASCIILetter(pair.1) else { return 0 }
        let lower = (pair.0 | 0x20, pair.1 | 0x20), e = UInt8(ascii: "e"), l = UInt8(ascii: "l")
        return lower == (UInt8(ascii: "r"), e) || lower == (UInt8(ascii: "v"), e) || lower == (l, l) ? 3 : 0
    }
}
