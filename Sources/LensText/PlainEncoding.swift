// From pieces to an encoding with offsets: where each token lies in the text that was given, counted in scalars.

extension Tokenizer {
    /// The encoding of a text before anything is added to it.
    func plainEncoding(of text: String, type: Int) throws -> Encoding {
        var pieces = try self.pieces(of: text, keepsSpans: true)
        pieces.spellOut()
        let original = Array(text.utf8), places = ScalarPlaces(original)
        var encoding = Encoding()
        var found = ModelTokens()
        try pieces.bytes.withUnsafeBufferPointer { bytes in
            for (word, piece) in pieces.pieces.enumerated() {
                let whole = Bytes(rebasing: bytes[piece.start..<piece.end])
                found.tokens.removeAll(keepingCapacity: true)
                if piece.token >= 0 {
                    found.append(piece.token, 0, whole.count, isText: true)
                } else {
                    try model.encode(piece: whole, into: &found)
                }
                for token in found.tokens {
                    let place = places.scalars(Self.source(of: token, in: piece, pieces.spans))
                    let spelling = token.isText ? String(decoding: whole[token.start..<token.end], as: UTF8.self)
                        : model.vocabulary.token(Int(token.id)).map { String(decoding: $0, as: UTF8.self) } ?? ""
                    encoding.append(Int(token.id), spelling, place, type: type, word: word, isSpecial: false)
                }
            }
        }
        return encoding
    }

    /// The bytes of the given text that a token covers. A token that covers nothing is where it is in its piece, and
    /// one that the model takes to reach beyond its piece (bytes of a decorated character) is left as it is, both as
    /// in the reference.
    private static func source(of token: ModelTokens.Token, in piece: Piece, _ spans: [SourceSpan]) -> (Int, Int) {
        let origin = Int(piece.origin), start = piece.start + token.start, end = piece.start + token.end
        if start == end { return (origin + token.start, origin + token.end) }
        guard end <= piece.end else { return (token.start, token.end) }
        return (Int(spans[start].start), Int(spans[end - 1].end))
    }
}

/// Which scalar each byte of a text belongs to.
struct ScalarPlaces {
    private var scalarOf: [Int32] = []

    init(_ bytes: [UInt8]) {
        scalarOf.reserveCapacity(bytes.count)
        var number: Int32 = -1
        for byte in bytes {
            if byte & 0xC0 != 0x80 { number += 1 }
            scalarOf.append(number)
        }
    }

    /// A stretch of bytes as a stretch of scalars. One that begins at or after the end of the text stays in bytes, as
    /// in the reference.
    func scalars(_ place: (start: Int, end: Int)) -> Range<Int> {
        guard scalarOf.indices.contains(place.start) else { return place.start..<max(place.end, place.start) }
        let start = Int(scalarOf[place.start])
        if scalarOf.indices.contains(place.end) { return start..<max(Int(scalarOf[place.end]), start) }
        let last = place.end > 0 && place.end <= scalarOf.count ? Int(scalarOf[place.end - 1]) : start + 1
        return start..<max(last + 1, start)
    }
}
