// Replace: writes one text for every match of a pattern. As a normalizer and as a decoder.

struct ReplaceNormalizer: Sendable {
    let pattern: TextPattern
    let content: [UInt8]

    init(_ fields: Fields) throws {
        pattern = try TextPattern(fields, "pattern")
        content = Array(try fields.requiredString("content").utf8)
    }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) throws {
        let whole = Bytes(rebasing: bytes[piece.start..<piece.end])
        var written = 0
        for match in try pattern.matches(in: whole) where match.isMatch {
            out.keep(piece.start + written..<piece.start + match.start)
            out.replace(upTo: piece.start + match.end, with: content)
            written = match.end
        }
        out.keep(piece.start + written..<piece.end)
    }

    func write(_ text: Bytes, into out: inout [UInt8]) throws {
        if case .literal(let literal) = pattern, literal.count == 1 {
            for byte in text { if byte == literal[0] { out.append(contentsOf: content) } else { out.append(byte) } }
            return
        }
        for match in try pattern.matches(in: text) {
            out.append(contentsOf: match.isMatch ? content[...] : Array(text[match.start..<match.end])[...])
        }
    }
}
