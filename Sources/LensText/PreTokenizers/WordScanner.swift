// The split patterns of well-known models, run by scanners written out by hand. They are recognised by their very text;
// any other pattern goes through the regular-expression engine, which says the same, only slower.

/// One 16-bit word of classes per code point.
typealias ScalarClassTable = UnsafeBufferPointer<UInt16>

enum WordScanner: Sendable, Equatable {
    case gpt2

    init?(pattern: String) {
        guard let found = Self.patterns.first(where: { $0.text.utf8.elementsEqual(pattern.utf8) }) else { return nil }
        self = found.scanner
    }

    static let patterns: [(text: String, scanner: WordScanner)] = [(GPT2Scanner.pattern, .gpt2)]

    /// Cuts every piece at each match, and between matches.
    func split(_ text: inout PieceText) {
        ScalarClasses.table.withUnsafeBufferPointer { classes in
            text.split { bytes, piece, add in
                scan(bytes, from: piece.start, to: piece.end, classes) { start, end, _ in add(start, end, -1) }
            }
        }
    }

    /// The matches in a text and what lies between them, covering it.
    func scan(_ text: Bytes, _ add: (_ start: Int, _ end: Int, _ isMatch: Bool) -> Void) {
        ScalarClasses.table.withUnsafeBufferPointer { scan(text, from: 0, to: text.count, $0, add) }
    }

    @inline(__always)
    private func scan(_ bytes: Bytes, from first: Int, to end: Int, _ classes: ScalarClassTable,
                      _ add: (_ start: Int, _ end: Int, _ isMatch: Bool) -> Void) {
        var start = first
        switch self {
        case .gpt2:
            while start < end {
                let next = GPT2Scanner.endOfWord(bytes, from: start, to: end, classes)
                add(start, next, true)
                start = next
            }
        }
    }
}
