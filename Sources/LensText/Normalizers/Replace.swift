// Replace: writes one text for every occurrence of another. As a normalizer and as a decoder.
// It refuses regular expressions, and the empty pattern, which would mean inserting the text between all characters.
import LensFiles

struct ReplaceNormalizer: Sendable {
    let pattern: [UInt8]
    let content: [UInt8]

    init(_ fields: Fields) throws {
        pattern = try fields.literalPattern("pattern")
        content = Array(try fields.requiredString("content").utf8)
        guard !pattern.isEmpty else {
            throw LensError(.format, "empty pattern", at: fields.place("pattern"), expected: "at least one character")
        }
    }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout [UInt8]) -> Bool {
        let whole = Bytes(rebasing: bytes[piece.start..<piece.end])
        write(whole, into: &out)
        // What is written for several characters has the place of the last of them.
        let keepsPlace = !content.isEmpty && pattern.count == scalarLength(pattern[0])
        return keepsPlace || !whole.starts(with: pattern)
    }

    func write(_ text: Bytes, into out: inout [UInt8]) {
        if pattern.count == 1 {
            for byte in text { if byte == pattern[0] { out.append(contentsOf: content) } else { out.append(byte) } }
            return
        }
        var written = 0
        for place in occurrences(of: pattern, in: text, from: 0, to: text.count) {
            out.append(contentsOf: text[written..<place.lowerBound])
            out.append(contentsOf: content)
            written = place.upperBound
        }
        out.append(contentsOf: text[written..<text.count])
    }
}
