// Reading scalars out of valid UTF-8, forwards and backwards. Everything here leans on the text having been a Swift
// String (which is always valid), or pieces of one cut at scalar boundaries.

/// UTF-8 bytes on their way through the tokenizer.
typealias Bytes = UnsafeBufferPointer<UInt8>

/// A scalar's value and how many bytes it takes.
struct DecodedScalar {
    var value: UInt32
    var length: Int
}

/// The scalar that begins at `index`, which is in range. A stray or cut-off sequence reads as one byte U+FFFD.
@inline(__always)
func scalar(_ bytes: Bytes, at index: Int) -> DecodedScalar {
    let first = UInt32(bytes[index])
    if first < 0x80 { return DecodedScalar(value: first, length: 1) }
    return multibyteScalar(bytes, at: index, first: first)
}

@inline(never)
private func multibyteScalar(_ bytes: Bytes, at index: Int, first: UInt32) -> DecodedScalar {
    let left = bytes.count - index
    func rest(_ offset: Int) -> UInt32 { UInt32(bytes[index + offset]) & 0x3F }
    if first >= 0xF0, left >= 4 {
        return DecodedScalar(value: (first & 7) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3), length: 4)
    }
    if first >= 0xE0, first < 0xF0, left >= 3 {
        return DecodedScalar(value: (first & 15) << 12 | rest(1) << 6 | rest(2), length: 3)
    }
    if first >= 0xC0, first < 0xE0, left >= 2 {
        return DecodedScalar(value: (first & 31) << 6 | rest(1), length: 2)
    }
    return DecodedScalar(value: 0xFFFD, length: 1)
}

/// The scalar that ends before `end`, which is greater than zero.
func scalar(_ bytes: Bytes, before end: Int) -> DecodedScalar {
    var start = end - 1
    while start > 0, end - start < 4, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return DecodedScalar(value: scalar(bytes, at: start).value, length: end - start)
}

/// How many bytes the scalar with this first byte takes.
@inline(__always)
func scalarLength(_ first: UInt8) -> Int {
    first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
}

/// Where the white space that begins at `index` ends.
func endOfSpace(_ bytes: Bytes, from index: Int, to end: Int) -> Int {
    var index = index
    while index < end {
        let next = scalar(bytes, at: index)
        guard ScalarClasses.of(next.value).has(ScalarClass.space) else { break }
        index += next.length
    }
    return min(index, end)
}

/// Where the white space that ends at `index` begins.
func startOfSpace(_ bytes: Bytes, before index: Int, downTo start: Int) -> Int {
    var index = index
    while index > start {
        let previous = scalar(bytes, before: index)
        guard ScalarClasses.of(previous.value).has(ScalarClass.space) else { break }
        index -= previous.length
    }
    return max(index, start)
}

/// Places where `needle` (not empty) is found in `bytes[start..<end]`, from left to right without overlap.
func occurrences(of needle: [UInt8], in bytes: Bytes, from start: Int, to end: Int) -> [Range<Int>] {
    guard let first = needle.first, needle.count <= end - start else { return [] }
    var found: [Range<Int>] = []
    var index = start
    while index <= end - needle.count {
        if bytes[index] == first && needle.indices.allSatisfy({ bytes[index + $0] == needle[$0] }) {
            found.append(index..<index + needle.count)
            index += needle.count
        } else {
            index += 1
        }
    }
    return found
}
