// The texts of tokens on their way through the decoders: one buffer, cut by where each text ends.

struct TokenTexts {
    private(set) var bytes: [UInt8] = []
    private var ends: [Int] = []

    var count: Int { ends.count }

    mutating func append(_ text: some Collection<UInt8>) {
        bytes.append(contentsOf: text)
        ends.append(bytes.count)
    }

    func forEach(_ body: (Bytes) throws -> Void) rethrows {
        try bytes.withUnsafeBufferPointer { bytes in
            var start = 0
            for end in ends {
                try body(Bytes(rebasing: bytes[start..<end]))
                start = end
            }
        }
    }

    /// Every text written anew: `edit` appends what becomes of it.
    func map(_ edit: (_ text: Bytes, _ isFirst: Bool, _ out: inout [UInt8]) throws -> Void) rethrows -> TokenTexts {
        var result = TokenTexts()
        result.bytes.reserveCapacity(bytes.count)
        result.ends.reserveCapacity(ends.count)
        try forEach { text in
            try edit(text, result.ends.isEmpty, &result.bytes)
            result.ends.append(result.bytes.count)
        }
        return result
    }

    /// All of them as one text.
    var fused: TokenTexts {
        var result = TokenTexts()
        result.append(bytes)
        return result
    }

    /// All of them with a space between each two.
    var spaced: [UInt8] {
        var result: [UInt8] = []
        var isFirst = true
        forEach { text in
            if !isFirst { result.append(0x20) }
            isFirst = false
            result.append(contentsOf: text)
        }
        return result
    }
}
