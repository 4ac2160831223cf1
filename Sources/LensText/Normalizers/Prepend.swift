// Prepend: writes a text before every piece.

struct PrependNormalizer: Sendable {
    let prefix: [UInt8]

    init(_ fields: Fields) throws { prefix = Array(try fields.requiredString("prepend").utf8) }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout [UInt8]) -> Bool {
        out.append(contentsOf: prefix)
        out.append(contentsOf: bytes[piece.start..<piece.end])
        return true
    }
}
