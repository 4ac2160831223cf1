// Leaving white space at the ends of tokens out of their offsets: `trim_offsets` of ByteLevel and RobertaProcessing.

struct OffsetTrimmer: Sendable {
    private let addsPrefixSpace: Bool

    /// nil if nothing is to be trimmed.
    init?(_ fields: Fields) throws {
        addsPrefixSpace = try fields.requiredBool("add_prefix_space")
        guard try fields.requiredBool("trim_offsets") else { return nil }
    }

    func trimmed(_ encoding: Encoding) -> Encoding {
        var result = encoding
        for index in result.offsets.indices { trim(&result.offsets[index], result.tokens[index], isFirst: index == 0) }
        result.overflowing = encoding.overflowing.map(trimmed)
        return result
    }

    private func trim(_ place: inout Range<Int>, _ token: String, isFirst: Bool) {
        let scalars = token.unicodeScalars
        // A space is a space, or what stands for one in the byte-level alphabet.
        func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar.value == 0x120 || ScalarClasses.of(scalar.value).has(ScalarClass.space)
        }
        var leading = scalars.prefix(while: isSpace).count
        let trailing = scalars.reversed().prefix(while: isSpace).count
        var (start, end) = (place.lowerBound, place.upperBound)
        if leading > 0 {
            // One space at the beginning is the one that was added.
            if (isFirst || start == 0) && addsPrefixSpace && leading == 1 { leading = 0 }
            start = min(start + leading, end)
        }
        if trailing > 0 && end >= trailing { end = max(end - trailing, start) }
        place = start..<end
    }
}
