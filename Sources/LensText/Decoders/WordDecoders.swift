// The decoders that put words together: WordPiece, BPEDecoder and CTC.

/// WordPiece: continuations are joined to what precedes them, other tokens get a space.
struct WordPieceDecoder: Sendable {
    let prefix: [UInt8]
    let cleansUp: Bool

    init(_ fields: Fields) throws {
        prefix = Array(try fields.requiredString("prefix").utf8)
        cleansUp = try fields.requiredBool("cleanup")
    }

    func apply(to tokens: TokenTexts) -> TokenTexts {
        tokens.map { text, isFirst, out in
            var token = Array(text)
            if !isFirst { token = text.starts(with: prefix) ? Array(text.dropFirst(prefix.count)) : [0x20] + token }
            out += cleansUp ? cleanedUp(token) : token
        }
    }
}

/// BPEDecoder: the suffix that ends words becomes a space, but nothing in the last token.
func decodeBPE(_ tokens: TokenTexts, _ suffix: [UInt8]) -> TokenTexts {
    var index = 0
    return tokens.map { text, _, out in
        index += 1
        out += replacing(suffix, by: index == tokens.count ? [] : [0x20], in: Array(text))
    }
}

/// CTC: of equal tokens in a row one stays, padding goes, and what marks the end of a word becomes a space.
struct CTCDecoder: Sendable {
    let padToken: [UInt8]
    let wordDelimiter: [UInt8]
    let cleansUp: Bool

    init(_ fields: Fields) throws {
        padToken = Array(try fields.requiredString("pad_token").utf8)
        wordDelimiter = Array(try fields.requiredString("word_delimiter_token").utf8)
        cleansUp = try fields.requiredBool("cleanup")
    }

    func apply(to tokens: TokenTexts) -> TokenTexts {
        var result = TokenTexts()
        var previous: [UInt8]?
        tokens.forEach { text in
            let token = Array(text)
            if token == previous { return }
            previous = token
            var kept = replacing(padToken, by: [], in: token)
            if cleansUp { kept = replacing(wordDelimiter, by: [0x20], in: cleanedUp(kept)) }
            if !kept.isEmpty { result.append(kept) }
        }
        return result
    }
}

/// English written without the spaces that cutting it into words put there.
private func cleanedUp(_ text: [UInt8]) -> [UInt8] {
    guard text.contains(0x20) else { return text }
    return cleanUps.reduce(text) { replacing($1.0, by: $1.1, in: $0) }
}

private let cleanUps: [([UInt8], [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
].map { (Array($0.0.utf8), Array($0.1.utf8)) }

/// A text with `new` for every `old`. An empty `old` is found between all scalars and at both ends.
private func replacing(_ old: [UInt8], by new: [UInt8], in text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    if old.isEmpty {
        for byte in text {
            if byte & 0xC0 != 0x80 { result += new }
            result.append(byte)
        }
        return result + new
    }
    return text.withUnsafeBufferPointer { bytes in
        var written = 0
        for place in occurrences(of: old, in: bytes, from: 0, to: bytes.count) {
            result += bytes[written..<place.lowerBound]
            result += new
            written = place.upperBound
        }
        return result + bytes[written...]
    }
}
