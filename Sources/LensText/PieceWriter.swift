// What normalizers write with: the new bytes of a piece and, if it is kept, where each of them comes from. A writer has a
// place in the text it reads; what is written either takes the place of the scalar there or is inserted before it.

struct PieceWriter {
    var bytes: [UInt8] = []
    var spans: [SourceSpan] = []
    var source = Bytes(start: nil, count: 0)
    var sourceSpans = UnsafeBufferPointer<SourceSpan>(start: nil, count: 0)
    private let keepsSpans: Bool
    /// The piece being written, and the next byte of it to be replaced.
    private var piece = Piece(start: 0, end: 0)
    private var place = 0

    init(keepsSpans: Bool, capacity: Int) {
        self.keepsSpans = keepsSpans
        bytes.reserveCapacity(capacity)
        if keepsSpans { spans.reserveCapacity(capacity) }
    }

    mutating func begin(_ piece: Piece) {
        self.piece = piece
        place = piece.start
    }

    /// Copies a stretch of the text that is read. The writer's place is its end.
    mutating func keep(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        bytes.append(contentsOf: source[range])
        if keepsSpans { spans.append(contentsOf: sourceSpans[range]) }
        place = range.upperBound
    }

    /// Writes a scalar. `change` is 1 for one that is inserted, 0 for one that takes the place of the next scalar, and
    /// −n for one that takes the place of the next n + 1.
    mutating func put(_ value: UInt32, _ change: Int) {
        let count = bytes.count
        appendUTF8(value, to: &bytes)
        guard keepsSpans else { return }
        let span = change > 0 ? spanBefore(place) : place < piece.end ? sourceSpans[place] : spanBefore(piece.end)
        for _ in count..<bytes.count { spans.append(span) }
        if change <= 0 { drop(1 - change) }
    }

    /// Passes over scalars of the text that is read.
    mutating func drop(_ count: Int = 1) {
        guard keepsSpans else { return }
        for _ in 0..<count where place < piece.end { place = min(place + scalarLength(source[place]), piece.end) }
    }

    /// Writes a text in the place of a stretch of the text that is read: all of it has the place of what ends there.
    mutating func replace(upTo end: Int, with text: [UInt8]) {
        bytes.append(contentsOf: text)
        guard keepsSpans else { return }
        let span = spanBefore(end)
        for _ in text { spans.append(span) }
        place = end
    }

    /// Writes a text before the piece, in the place of its first scalar.
    mutating func prepend(_ text: [UInt8]) {
        bytes.append(contentsOf: text)
        guard keepsSpans, piece.start < piece.end, !text.isEmpty else { return }
        let span = sourceSpans[piece.start]
        for _ in text { spans.append(span) }
    }

    /// Writes the byte-level characters that stand for a stretch of bytes.
    mutating func spell(_ range: Range<Int>) {
        guard keepsSpans else { return ByteAlphabet.spell(Bytes(rebasing: source[range]), into: &bytes) }
        for index in range {
            let count = bytes.count
            appendUTF8(ByteAlphabet.scalars[Int(source[index])], to: &bytes)
            for _ in count..<bytes.count { spans.append(sourceSpans[index]) }
        }
    }

    private func spanBefore(_ place: Int) -> SourceSpan {
        place > piece.start ? sourceSpans[place - 1] : SourceSpan(start: piece.origin, end: piece.origin)
    }
}

/// Appends a scalar's UTF-8.
@inline(__always)
func appendUTF8(_ value: UInt32, to bytes: inout [UInt8]) {
    func byte(_ bits: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: bits) }
    if value < 0x80 {
        bytes.append(byte(value))
    } else if value < 0x800 {
        bytes.append(byte(0xC0 | value >> 6))
        bytes.append(byte(0x80 | value & 0x3F))
    } else if value < 0x1_0000 {
        bytes.append(byte(0xE0 | value >> 12))
        bytes.append(byte(0x80 | value >> 6 & 0x3F))
        bytes.append(byte(0x80 | value & 0x3F))
    } else {
        bytes.append(byte(0xF0 | value >> 18))
        bytes.append(byte(0x80 | value >> 12 & 0x3F))
        bytes.append(byte(0x80 | value >> 6 & 0x3F))
        bytes.append(byte(0x80 | value & 0x3F))
    }
}
