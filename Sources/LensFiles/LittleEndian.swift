// Little-endian integers in bytes. Reading past the end gives nil, never a trap.

/// Reads integers one after another.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var at: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        self.at = bytes.startIndex
    }

    init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    var remaining: Int { bytes.endIndex - at }

    /// The next integer.
    mutating func next<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type) -> T? {
        guard let part = take(T.bitWidth / 8) else { return nil }
        return part.reversed().reduce(T(0)) { $0 << 8 | T($1) }
    }

    /// The next `count` bytes.
    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= remaining else { return nil }
        defer { at += count }
        return bytes[at..<(at + count)]
    }
}

extension [UInt8] {
    mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
