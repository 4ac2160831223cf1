// ByteLevel: GPT-2's split pattern, then every byte as a character of the byte-level alphabet. The bytes stay as they
// are; PieceText notes what they stand for. `trim_offsets` concerns the post-processor only.

struct ByteLevelPreTokenizer: Sendable {
    let addsPrefixSpace: Bool
    let usesPattern: Bool

    init(_ fields: Fields) throws {
        addsPrefixSpace = try fields.requiredBool("add_prefix_space")
        _ = try fields.requiredBool("trim_offsets")
        usesPattern = try fields.bool("use_regex") ?? true
    }

    func apply(to text: inout PieceText) {
        if addsPrefixSpace {
            text.rewrite { bytes, piece, out in
                if bytes[piece.start] != 0x20 { out.prepend([0x20]) }
                out.keep(piece.start..<piece.end)
            }
        }
        if usesPattern { WordScanner.gpt2.split(&text) } else { text.cutNothing() }
        text.becomeByteLevel()
    }
}
