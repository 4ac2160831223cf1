// Precompiled: SentencePiece's own normalization, compiled into a trie of byte strings and a pool of replacements.
// As in the reference, a grapheme of up to five bytes is replaced as a whole if any beginning of it is in the trie (by
// the replacement of the shortest such beginning); any other grapheme goes scalar by scalar.
// It refuses maps that are cut off, that are not base64, or whose replacements are not UTF-8.
import LensFiles

struct PrecompiledNormalizer: Sendable {
    /// A double array: a unit's offset leads to its children; children lie at offset ^ label.
    private let units: [UInt32]
    /// Replacements, each ended by a zero byte.
    private let pool: [UInt8]

    init(_ fields: Fields) throws {
        let place = fields.place("precompiled_charsmap")
        guard let blob = decodeBase64(Array(try fields.requiredString("precompiled_charsmap").utf8)) else {
            throw LensError(.format, "not base64", at: place)
        }
        func word(_ index: Int) -> UInt32 {
            UInt32(blob[index]) | UInt32(blob[index + 1]) << 8 | UInt32(blob[index + 2]) << 16 | UInt32(blob[index + 3]) << 24
        }
        guard blob.count >= 4, word(0) / 4 <= (blob.count - 4) / 4 else {
            throw LensError(.format, "character map cut off", at: place, found: "\(blob.count) bytes")
        }
        let count = Int(word(0) / 4)
        units = (0..<count).map { word(4 + 4 * $0) }
        pool = Array(blob[(4 + 4 * count)...])
        guard String(validating: pool, as: UTF8.self) != nil else {
            throw LensError(.format, "character map whose replacements are not UTF-8", at: place)
        }
        guard pool.split(separator: 0).allSatisfy({ $0.count <= 1 << 14 }) else {
            throw LensError(.format, "character map with an overlong replacement", at: place, expected: "at most \(1 << 14) bytes")
        }
    }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        var changes: [(value: UInt32, change: Int)] = []
        var isModified = false
        var index = piece.start
        while index < piece.end {
            let end = Graphemes.end(of: bytes, from: index, to: piece.end)
            if end - index < 6, let norm = replacement(bytes, index, end) {
                isModified = true
                replace(bytes, index..<end, by: norm, &changes)
            } else {
                var place = index
                while place < end {
                    let next = scalar(bytes, at: place)
                    if let norm = replacement(bytes, place, place + next.length) {
                        isModified = true
                        replace(bytes, place..<place + next.length, by: norm, &changes)
                    } else {
                        changes.append((next.value, 0))
                    }
                    place += next.length
                }
            }
            index = end
        }
        guard isModified else { return out.keep(piece.start..<piece.end) }
        for (value, change) in changes { out.put(value, change) }
    }

    /// The replacement of the shortest beginning of a stretch that has one.
    private func replacement(_ bytes: Bytes, _ start: Int, _ end: Int) -> Range<Int>? {
        guard !units.isEmpty else { return nil }
        var node = Self.offset(units[0])
        for index in start..<end {
            let byte = UInt32(bytes[index])
            if byte == 0 { return nil }
            node ^= Int(byte)
            guard node < units.count, units[node] & (1 << 31 | 0xFF) == byte else { return nil }
            let unit = units[node]
            node ^= Self.offset(unit)
            if unit >> 8 & 1 == 1 {
                guard node < units.count else { return nil }
                let first = Int(units[node] & ~(1 << 31))
                guard first <= pool.count else { return nil }
                return first..<(pool[first...].firstIndex(of: 0) ?? pool.count)
            }
        }
        return nil
    }

    private static func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & (1 << 9)) >> 6) }

    /// The scalars of a replacement. Those beyond the number of the scalars replaced are new; if there are fewer, the
    /// last one written takes the place of the rest.
    private func replace(_ bytes: Bytes, _ old: Range<Int>, by new: Range<Int>, _ changes: inout [(value: UInt32, change: Int)]) {
        var oldCount = 0, newCount = 0
        for index in old where bytes[index] & 0xC0 != 0x80 { oldCount += 1 }
        pool.withUnsafeBufferPointer { pool in
            let text = Bytes(rebasing: pool[new])
            var index = 0
            while index < text.count {
                let next = scalar(text, at: index)
                changes.append((next.value, 0))
                newCount += 1
                index += next.length
            }
        }
        if newCount > oldCount {
            for index in (changes.count - (newCount - oldCount))..<changes.count { changes[index].change = 1 }
        } else if newCount < oldCount, !changes.isEmpty {
            changes[changes.count - 1].change += newCount - oldCount
        }
    }
}

/// The bytes written in base64 with its padding; nil if it is not that.
func decodeBase64(_ text: [UInt8]) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    let padding = text.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3)
    var bits: UInt32 = 0, count = 0
    for character in text.dropLast(padding) {
        let value: UInt8
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        default: return nil
        }
        bits = bits << 6 | UInt32(value)
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return bits & (1 << UInt32(count) - 1) == 0 ? bytes : nil
}
