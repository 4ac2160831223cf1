// Text on its way through the pipeline: one buffer of UTF-8 bytes and the pieces it has been cut into.
// Stages either cut pieces (`split`) or write the buffer anew (`rewrite`); nothing else changes it, so offsets into the
// text that was given can be kept here, beside the bytes, when they are wanted.

/// A stretch of a `PieceText`'s bytes, cut at scalar boundaries.
struct Piece {
    /// Where it begins and ends in the buffer.
    var start: Int
    var end: Int
    /// The id of the added token it was recognised as; negative if it is plain text.
    var token: Int32 = -1
    /// Whether it begins where the text given to the tokenizer begins.
    var startsText = false
}

/// The text of one encoding, cut into pieces. No piece is empty.
struct PieceText {
    /// Valid UTF-8, except in the byte-level spelling, where one byte stands for one byte-level character.
    private(set) var bytes: [UInt8]
    private(set) var pieces: [Piece]
    /// Whether `bytes` are the raw bytes that the characters of the byte-level alphabet stand for. Keeping them raw
    /// is what the byte-level stage does; a later stage that looks at characters first calls `spellOut`.
    private(set) var isByteLevel = false

    /// The whole text as one piece; none if it is empty.
    init(_ text: String) {
        bytes = Array(text.utf8)
        pieces = bytes.isEmpty ? [] : [Piece(start: 0, end: bytes.count, startsText: true)]
    }

    /// Cuts every piece that is no added token: `cut` appends the parts to keep, in order, with `add`.
    /// Empty parts are dropped; a part that begins where its piece does begins the text if the piece did.
    mutating func split(_ cut: (Bytes, Piece, (_ start: Int, _ end: Int, _ token: Int32) -> Void) throws -> Void) rethrows {
        var parts: [Piece] = []
        parts.reserveCapacity(pieces.count)
        try bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces {
                guard piece.token < 0 else {
                    parts.append(piece)
                    continue
                }
                try cut(bytes, piece) { start, end, token in
                    guard start < end else { return }
                    parts.append(Piece(start: start, end: end, token: token,
                                       startsText: piece.startsText && start == piece.start))
                }
            }
        }
        pieces = parts
    }

    /// Writes every piece that is no added token anew: `edit` appends its new bytes, which are valid UTF-8, and says
    /// whether the piece still begins where it did (not if its beginning was dropped). Bytes of no piece are dropped.
    mutating func rewrite(_ edit: (Bytes, Piece, inout [UInt8]) throws -> Bool) rethrows {
        var written: [UInt8] = []
        written.reserveCapacity(bytes.count + 8)
        var kept: [Piece] = []
        kept.reserveCapacity(pieces.count)
        try bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces {
                let start = written.count
                var startsText = piece.startsText
                if piece.token >= 0 {
                    written.append(contentsOf: bytes[piece.start..<piece.end])
                } else {
                    let keepsStart = try edit(bytes, piece, &written)
                    startsText = startsText && keepsStart
                }
                guard written.count > start else { continue }
                kept.append(Piece(start: start, end: written.count, token: piece.token, startsText: startsText))
            }
        }
        bytes = written
        pieces = kept
    }

    /// From now on the bytes stand for characters of the byte-level alphabet.
    mutating func becomeByteLevel() { isByteLevel = true }

    /// Writes the byte-level characters out, if the bytes stand for them.
    mutating func spellOut() {
        guard isByteLevel else { return }
        isByteLevel = false
        rewrite { bytes, piece, out in
            ByteAlphabet.spell(Bytes(rebasing: bytes[piece.start..<piece.end]), into: &out)
            return true
        }
    }
}
