// ByteFallback: each run of tokens like `<0x0A>` becomes the text its bytes are, or as many U+FFFD as it has bytes.

func decodeByteFallback(_ tokens: TokenTexts) -> TokenTexts {
    var result = TokenTexts()
    var run: [UInt8] = []
    func flush() {
        guard !run.isEmpty else { return }
        if String(validating: run, as: UTF8.self) != nil {
            result.append(run)
        } else {
            for _ in run { result.append([0xEF, 0xBF, 0xBD]) }
        }
        run.removeAll(keepingCapacity: true)
    }
    tokens.forEach { text in
        if let byte = fallbackByte(text) {
            run.append(byte)
        } else {
            flush()
            result.append(text)
        }
    }
    flush()
    return result
}

/// The byte a token like `<0x0A>` stands for. The reference reads the digits as Rust does, which takes `+A` for ten.
private func fallbackByte(_ text: Bytes) -> UInt8? {
    guard text.count == 6, text.starts(with: "<0x".utf8), text[5] == UInt8(ascii: ">") else { return nil }
    func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): return character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): return character - UInt8(ascii: "A") + 10
        default: return nil
        }
    }
    guard let low = digit(text[4]) else { return nil }
    if text[3] == UInt8(ascii: "+") { return low }
    return digit(text[3]).map { $0 << 4 | low }
}
