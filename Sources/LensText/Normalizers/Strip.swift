// Strip: drops white space at the ends of every piece.

struct StripNormalizer: Sendable {
    let left: Bool
    let right: Bool

    init(_ fields: Fields) throws {
        left = try fields.requiredBool("strip_left")
        right = try fields.requiredBool("strip_right")
    }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        let start = left ? endOfSpace(bytes, from: piece.start, to: piece.end) : piece.start
        let end = right ? startOfSpace(bytes, before: piece.end, downTo: start) : piece.end
        out.keep(start..<end)
    }
}
