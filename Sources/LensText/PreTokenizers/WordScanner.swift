// The split patterns of well-known models, run by scanners written out by hand. They are recognised by their very text;
// any other pattern goes through the regular-expression engine, which says the same, only slower. (StarCoder's words
// are GPT-2's, after a stage that isolates digits.)

/// One 16-bit word of classes per code point.
typealias ScalarClassTable = UnsafeBufferPointer<UInt16>

enum WordScanner: Sendable, Equatable {
    case gpt2
    case clauses(ClauseScanner.Style)

    init?(pattern: String) {
        guard let found = Self.patterns.first(where: { $0.text.utf8.elementsEqual(pattern.utf8) }) else { return nil }
        self = found.scanner
    }

    static let patterns: [(text: String, scanner: WordScanner)] = {
        let contractions = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#, spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
        let words = #"[^\r\n\p{L}\p{N}]?\p{L}+"#, symbols = #" ?[^\s\p{L}\p{N}]+[\r\n]*"#
        let notLower = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, notUpper = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        let lead = #"[^\r\n\p{L}\p{N}]?"#
        typealias Style = ClauseScanner.Style
        return [
            (GPT2Scanner.pattern, .gpt2),
            // cl100k, with its possessive quantifiers, and Llama 3, which writes them as plain ones.
            (contractions + #"|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#,
             .clauses(Style())),
            ("\(contractions)|\(words)|\\p{N}{1,3}|\(symbols)|\(spaces)", .clauses(Style())),
            // Qwen 2 and 3; Qwen 3.5.
            ("\(contractions)|\(words)|\\p{N}|\(symbols)|\(spaces)", .clauses(Style(mostDigits: 1))),
            ("\(contractions)|" + #"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"# + spaces,
             .clauses(Style(words: .lettersAndMarks, mostDigits: 1))),
            // o200k.
            ("\(lead)\(notLower)*\(notUpper)+\(contractions)?|\(lead)\(notLower)+\(notUpper)*\(contractions)?|"
             + #"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces, .clauses(Style(words: .cased, takesSlashes: true))),
            // DeepSeek V3, after its stages for numbers and ideographs.
            (##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"##
             + spaces, .clauses(Style(words: .deepSeek))),
        ]
    }()

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
        case .clauses(let style):
            let scanner = ClauseScanner(bytes: bytes, end: end, classes: classes, style: style)
            var covered = first
            while start < end {
                guard let next = scanner.endOfMatch(from: start) else {
                    start += scalarLength(bytes[start])
                    continue
                }
                if covered < start { add(covered, start, false) }
                add(start, next, true)
                start = next
                covered = next
            }
            if covered < end { add(covered, end, false) }
        }
    }
}
