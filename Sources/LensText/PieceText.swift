// Text on its way through the pipeline: one buffer of UTF-8 bytes and the pieces it has been cut into.
// Stages either cut pieces (`split`) or write the buffer anew (`rewrite`); nothing else changes it. Where each byte came
// from is kept beside the bytes when somebody wants it. As in Hugging Face tokenizers, it is kept piece by piece: what is
// inserted before anything else of a piece has no width, and what is inserted elsewhere the place of what precedes it.

/// A stretch of a `PieceText`'s bytes, cut at scalar boundaries.
struct Piece {
    /// Where it begins and ends in the buffer.
    var start: Int
    var end: Int
    /// The id of the added token it was recognised as; negative if it is plain text.
    var token: Int32 = -1
    /// Where it began, in bytes of the text that was given, when it was cut; -1 if nobody kept count.
    var origin: Int32 = 0
}

/// Where a byte comes from: a stretch of bytes of the text that was given.
struct SourceSpan: Equatable {
    var start: Int32
    var end: Int32
}

/// The text of one encoding, cut into pieces.
struct PieceText {
    /// Valid UTF-8, except in the byte-level spelling, where one byte stands for one byte-level character.
    private(set) var bytes: [UInt8]
    private(set) var pieces: [Piece]
    /// Whether `bytes` are the raw bytes that the characters of the byte-level alphabet stand for. Keeping them raw
    /// is what the byte-level stage does; a later stage that looks at characters first calls `spellOut`.
    private(set) var isByteLevel = false
    /// Where each byte comes from; empty unless it is kept.
    private(set) var spans: [SourceSpan] = []
    let keepsSpans: Bool
    private var isRewritten = false

    /// The whole text as one piece; none if it is empty.
    init(_ text: String, keepsSpans: Bool = false) { self.init(Array(text.utf8), keepsSpans: keepsSpans) }

    /// The same, from UTF-8 that is valid and shorter than 2³¹ bytes.
    init(_ utf8: [UInt8], keepsSpans: Bool = false) {
        bytes = utf8
        self.keepsSpans = keepsSpans
        pieces = bytes.isEmpty ? [] : [Piece(start: 0, end: bytes.count)]
        guard keepsSpans else { return }
        spans.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let end = min(index + scalarLength(bytes[index]), bytes.count)
            let span = SourceSpan(start: Int32(truncatingIfNeeded: index), end: Int32(truncatingIfNeeded: end))
            for _ in index..<end { spans.append(span) }
            index = end
        }
    }

    /// Where the piece cut out of `piece` at `start` began in the text that was given.
    private func origin(of piece: Piece, at start: Int) -> Int32 {
        if keepsSpans { return spans[start].start }
        if !isRewritten { return Int32(truncatingIfNeeded: start) }
        return start == piece.start ? piece.origin : -1
    }

    /// Cuts every piece that is no added token: `cut` appends the parts to keep, in order, with `add`.
    /// Empty parts are dropped.
    mutating func split(_ cut: (Bytes, Piece, (_ start: Int, _ end: Int, _ token: Int32) -> Void) throws -> Void) rethrows {
        var parts: [Piece] = []
        parts.reserveCapacity(pieces.count)
        try bytes.withUnsafeBufferPointer { bytes in
            for piece in pieces {
                guard piece.token < 0 else {
                    parts.append(piece)
                    continue
                }
                guard piece.start < piece.end else { continue }
                try cut(bytes, piece) { start, end, token in
                    guard start < end else { return }
                    parts.append(Piece(start: start, end: end, token: token, origin: origin(of: piece, at: start)))
                }
            }
        }
        pieces = parts
    }

    /// Drops empty pieces, and takes the others to have begun where they begin now.
    mutating func cutNothing() { split { _, piece, add in add(piece.start, piece.end, -1) } }

    /// Writes every piece that is no added token anew, with what `edit` writes. Bytes of no piece are dropped; pieces
    /// may become empty.
    mutating func rewrite(_ edit: (Bytes, Piece, inout PieceWriter) throws -> Void) rethrows {
        var kept: [Piece] = []
        kept.reserveCapacity(pieces.count)
        var result = PieceWriter(keepsSpans: keepsSpans, capacity: bytes.count + 8)
        try bytes.withUnsafeBufferPointer { bytes in
            try spans.withUnsafeBufferPointer { spans in
                result.source = bytes
                result.sourceSpans = spans
                for piece in pieces {
                    let start = result.bytes.count
                    result.begin(piece)
                    if piece.token >= 0 {
                        result.keep(piece.start..<piece.end)
                    } else {
                        try edit(bytes, piece, &result)
                    }
                    kept.append(Piece(start: start, end: result.bytes.count, token: piece.token, origin: piece.origin))
                }
            }
        }
        bytes = result.bytes
        spans = result.spans
        pieces = kept
        isRewritten = true
    }

    /// From now on the bytes stand for characters of the byte-level alphabet.
    mutating func becomeByteLevel() { isByteLevel = true }

    /// Writes the byte-level characters out, if the bytes stand for them.
    mutating func spellOut() {
        guard isByteLevel else { return }
        isByteLevel = false
        rewrite { bytes, piece, out in out.spell(piece.start..<piece.end) }
    }
}
