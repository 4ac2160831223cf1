// Prepend: writes a text before every piece that is not empty.

struct PrependNormalizer: Sendable {
    let prefix: [UInt8]

    init(_ fields: Fields) throws { prefix = Array(try fields.requiredString("prepend").utf8) }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        guard piece.start < piece.end else { return }
        out.prepend(prefix)
        out.keep(piece.start..<piece.end)
    }
}
