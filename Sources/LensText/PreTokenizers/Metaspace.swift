// Metaspace: spaces become a visible mark (SentencePiece's `▁`), which also begins the text, and words begin at it.
// As a pre-tokenizer and as a decoder.
import LensFiles

struct Metaspace: Sendable {
    enum PrependScheme: String, Sendable, CaseIterable {
        case first, never, always
    }

    /// One character, as UTF-8.
    let mark: [UInt8]
    let scheme: PrependScheme
    let splits: Bool

    init(_ fields: Fields) throws {
        mark = try fields.requiredScalar("replacement")
        let name = try fields.string("prepend_scheme") ?? "always"
        guard let scheme = PrependScheme(rawValue: name) else {
            throw LensError(.format, "unknown prepend_scheme", at: fields.place("prepend_scheme"),
                            expected: PrependScheme.allCases.map(\.rawValue).joined(separator: ", "), found: name)
        }
        let addsPrefix = try fields.bool("add_prefix_space") ?? true
        if !addsPrefix && scheme != .never {
            throw LensError(.format, "add_prefix_space does not go with prepend_scheme", at: fields.place("prepend_scheme"),
                            expected: "never", found: name)
        }
        self.scheme = scheme
        splits = try fields.bool("split") ?? true
    }

    func apply(to text: inout PieceText) {
        text.rewrite { bytes, piece, out in
            let isMarked = bytes[piece.start] == 0x20 || Bytes(rebasing: bytes[piece.start..<piece.end]).starts(with: mark)
            if !isMarked && (scheme == .always || scheme == .first && piece.origin == 0) { out.prepend(mark) }
            var kept = piece.start
            for index in piece.start..<piece.end where bytes[index] == 0x20 {
                out.keep(kept..<index)
                kept = index + 1
                out.replace(upTo: kept, with: mark)
            }
            out.keep(kept..<piece.end)
        }
        guard splits else { return }
        SplitBehavior.mergedWithNext.split(&text) { text in
            TextPattern.covering(text, occurrences(of: mark, in: text, from: 0, to: text.count))
        }
    }

    /// The decoder: marks become spaces, those of the first token nothing (unless the mark is never prepended).
    func decode(_ tokens: TokenTexts) -> TokenTexts {
        tokens.map { text, isFirst, out in
            var written = 0
            for place in occurrences(of: mark, in: text, from: 0, to: text.count) {
                out.append(contentsOf: text[written..<place.lowerBound])
                if !isFirst || scheme == .never { out.append(0x20) }
                written = place.upperBound
            }
            out.append(contentsOf: text[written..<text.count])
        }
    }
}
