// ByteLevel, backwards: the characters of each token become the bytes they stand for (a token with any other character
// stands for itself), and all of it one text, in which what is not UTF-8 becomes U+FFFD, one for each maximal part.

func decodeByteLevel(_ tokens: TokenTexts) -> TokenTexts {
    var raw: [UInt8] = []
    raw.reserveCapacity(tokens.bytes.count)
    tokens.forEach { text in
        if let bytes = ByteAlphabet.bytes(spelledBy: text) {
            raw.append(contentsOf: bytes)
        } else {
            raw.append(contentsOf: text)
        }
    }
    var result = TokenTexts()
    result.append(String(decoding: raw, as: UTF8.self).utf8)
    return result
}
