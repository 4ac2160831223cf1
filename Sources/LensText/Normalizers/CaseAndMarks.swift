// The normalizers that go from scalar to scalar: Lowercase, StripAccents, Nmt, ByteLevel, and BertNormalizer, which is
// four of them in a row. (Lower case is scalar by scalar as in the reference: a final sigma is like any other.)

enum ScalarNormalizer {
    static func lowercase(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        forEachScalar(bytes, piece) { value, isASCII in
            if isASCII { return out.put(value &- 0x41 < 26 ? value | 0x20 : value, 0) }
            guard let lower = NormalizationData.lowercase[value] else { return out.put(value, 0) }
            for (number, part) in lower.enumerated() { out.put(part, number == 0 ? 0 : 1) }
        }
    }

    static func dropping(_ members: ScalarMap, _ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        forEachScalar(bytes, piece) { value, _ in
            if members.has(value) { out.drop() } else { out.put(value, 0) }
        }
    }

    /// SentencePiece's clean-up: some control characters go, other kinds of white space become spaces.
    static func nmt(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        forEachScalar(bytes, piece) { value, _ in
            switch value {
            case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: out.drop()
            case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: out.put(0x20, 0)
            default: out.put(value, 0)
            }
        }
    }

    static func forEachScalar(_ bytes: Bytes, _ piece: Piece, _ body: (_ value: UInt32, _ isASCII: Bool) -> Void) {
        var index = piece.start
        while index < piece.end {
            let next = scalar(bytes, at: index)
            body(next.value, next.length == 1 && next.value < 0x80)
            index += next.length
        }
    }
}

/// BERT's normalizer: control characters go and white space becomes spaces; spaces around ideographs; accents go; lower
/// case. Each can be left out.
struct BertNormalizer: Sendable {
    let cleansText: Bool
    let separatesIdeographs: Bool
    let stripsAccents: Bool
    let lowercases: Bool

    init(_ fields: Fields) throws {
        cleansText = try fields.requiredBool("clean_text")
        separatesIdeographs = try fields.requiredBool("handle_chinese_chars")
        lowercases = try fields.requiredBool("lowercase")
        stripsAccents = try fields.bool("strip_accents") ?? lowercases
    }

    func apply(to text: inout PieceText) {
        if isAllASCII(text) { return text.rewrite(writeASCII) }
        if cleansText { text.rewrite(clean) }
        if separatesIdeographs { text.rewrite(separate) }
        if stripsAccents {
            text.rewrite { UnicodeForm(isCompatible: false, composes: false).write($0, $1, into: &$2) }
            text.rewrite { ScalarNormalizer.dropping(NormalizationData.nonspacing, $0, $1, into: &$2) }
        }
        if lowercases { text.rewrite { ScalarNormalizer.lowercase($0, $1, into: &$2) } }
    }

    private func isAllASCII(_ text: PieceText) -> Bool { text.bytes.allSatisfy { $0 < 0x80 } }

    /// All of it at once, which it is for ASCII.
    private func writeASCII(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        for index in piece.start..<piece.end {
            var byte = bytes[index]
            if cleansText, byte < 0x20 || byte == 0x7F {
                guard (0x09...0x0D).contains(byte), byte != 0x0B, byte != 0x0C else {
                    out.drop()
                    continue
                }
                byte = 0x20
            }
            out.put(UInt32(lowercases && byte &- 0x41 < 26 ? byte | 0x20 : byte), 0)
        }
    }

    private func clean(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        ScalarNormalizer.forEachScalar(bytes, piece) { value, _ in
            if NormalizationData.controls.has(value) {
                out.drop()
            } else {
                out.put(ScalarClasses.of(value).has(ScalarClass.space) ? 0x20 : value, 0)
            }
        }
    }

    private func separate(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        ScalarNormalizer.forEachScalar(bytes, piece) { value, isASCII in
            guard !isASCII, NormalizationData.ideographs.has(value) else { return out.put(value, 0) }
            out.put(0x20, 0)
            out.put(value, 1)
            out.put(0x20, 1)
        }
    }
}
