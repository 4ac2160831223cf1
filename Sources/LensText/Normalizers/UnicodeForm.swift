// NFD, NFC, NFKD and NFKC (Unicode Standard Annex 15), over the tables of the library this follows, which are older
// than the standard library's. Each scalar that is written says which scalars of the text it takes the place of.

struct UnicodeForm: Sendable {
    let isCompatible: Bool
    let composes: Bool

    private struct Part {
        var value: UInt32
        var change: Int
        var combiningClass: UInt16
    }

    func write(_ bytes: Bytes, _ piece: Piece, into out: inout PieceWriter) {
        var parts: [Part] = [], pending: [Part] = []
        var index = piece.start
        while index < piece.end {
            // ASCII before ASCII stays, and nothing composes across the beginning of an ASCII character.
            if bytes[index] < 0x80 {
                let start = index
                while index < piece.end, bytes[index] < 0x80 { index += 1 }
                if index < piece.end { index -= 1 }
                out.keep(start..<index)
                if index == piece.end { break }
            }
            parts.removeAll(keepingCapacity: true)
            var isFirst = true
            while index < piece.end, isFirst || bytes[index] >= 0x80 {
                isFirst = false
                let next = scalar(bytes, at: index)
                decompose(next.value, &parts, &pending)
                index = min(index + next.length, piece.end)
            }
            flush(&parts, &pending)
            if composes { compose(&parts) }
            for part in parts { out.put(part.value, part.change) }
        }
    }

    private func decompose(_ value: UInt32, _ parts: inout [Part], _ pending: inout [Part]) {
        if value >= 0xAC00, value < 0xD7A4 {
            let syllable = value - 0xAC00, last = syllable % 28
            append(0x1100 + syllable / 588, 0, &parts, &pending)
            append(0x1161 + syllable % 588 / 28, 1, &parts, &pending)
            if last > 0 { append(0x11A7 + last, 1, &parts, &pending) }
            return
        }
        let expansion = (isCompatible ? NormalizationData.compatible[value] : nil) ?? NormalizationData.canonical[value]
        guard let expansion else { return append(value, 0, &parts, &pending) }
        for (number, part) in expansion.enumerated() { append(part, number == 0 ? 0 : 1, &parts, &pending) }
    }

    /// Marks wait until a scalar of class 0 comes, and are then put in order.
    private func append(_ value: UInt32, _ change: Int, _ parts: inout [Part], _ pending: inout [Part]) {
        let combiningClass = value < 0x300 ? 0 : NormalizationData.combiningClasses[value]
        if combiningClass == 0 { flush(&parts, &pending) }
        let part = Part(value: value, change: change, combiningClass: combiningClass)
        if combiningClass == 0 { parts.append(part) } else { pending.append(part) }
    }

    private func flush(_ parts: inout [Part], _ pending: inout [Part]) {
        guard !pending.isEmpty else { return }
        if pending.count > 1 {
            // Swift's sort keeps the order of equals today but does not promise it: the place decides.
            let order = pending.indices.sorted { (pending[$0].combiningClass, $0) < (pending[$1].combiningClass, $1) }
            parts.append(contentsOf: order.map { pending[$0] })
        } else {
            parts.append(pending[0])
        }
        pending.removeAll(keepingCapacity: true)
    }

    /// Composes in place. A part may be composed with the starter before it unless a mark between them is of its class
    /// or a higher one.
    private func compose(_ parts: inout [Part]) {
        var starter = -1, lastClass: UInt16 = 0, isAdjacent = true
        var kept = 0
        for index in parts.indices {
            let part = parts[index]
            if starter >= 0, isAdjacent || lastClass < part.combiningClass,
               let whole = composition(parts[starter].value, part.value) {
                parts[starter].value = whole
                parts[starter].change += part.change - 1
                continue
            }
            if part.combiningClass == 0 {
                starter = kept
                isAdjacent = true
            } else if starter >= 0 {
                isAdjacent = false
                lastClass = part.combiningClass
            }
            parts[kept] = part
            kept += 1
        }
        parts.removeLast(parts.count - kept)
    }

    private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if first >= 0x1100, first < 0x1113, second >= 0x1161, second < 0x1176 {
            return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
        }
        if first >= 0xAC00, first < 0xD7A4, (first - 0xAC00) % 28 == 0, second > 0x11A7, second < 0x11C3 {
            return first + second - 0x11A7
        }
        guard NormalizationData.seconds.has(second) else { return nil }
        return NormalizationData.compositions[UInt64(first) << 32 | UInt64(second)]
    }
}
