// Bytes of a pickle inside a larger file, read through a buffer, never past their end or the reader's own limit.

/// A place in a file from which pickles are read one after another.
struct PickleReader {
    /// More than the pickles of any checkpoint take; tensors' bytes are not among them.
    static let limit = 64 << 20
    private static let chunk = 1 << 16

    let location: String
    private let file: DataFile
    private let end: Int
    private var buffer: [UInt8] = []
    private var bufferStart: Int
    /// Where in the file the next byte is.
    private(set) var at: Int

    /// - Parameter range: the pickles' bytes, or where they begin and the file ends.
    init(_ file: DataFile, _ range: Range<Int>, at location: String) {
        self.file = file
        self.location = location
        (at, bufferStart) = (range.lowerBound, range.lowerBound)
        end = min(range.upperBound, range.lowerBound + min(Self.limit, Int.max - range.lowerBound))
    }

    mutating func byte() throws -> UInt8 {
        if at >= bufferStart + buffer.count { try fill(1) }
        defer { at += 1 }
        return buffer[at - bufferStart]
    }

    mutating func bytes(_ count: Int) throws -> ArraySlice<UInt8> {
        if at + count > bufferStart + buffer.count { try fill(count) }
        defer { at += count }
        return buffer[(at - bufferStart)..<(at - bufferStart + count)]
    }

    mutating func integer<T: FixedWidthInteger>(_: T.Type) throws -> T {
        try bytes(T.bitWidth / 8).withUnsafeBytes { T(littleEndian: $0.loadUnaligned(as: T.self)) }
    }

    /// Bytes whose number is written before them, as an integer of a type.
    mutating func counted<T: FixedWidthInteger>(_: T.Type) throws -> ArraySlice<UInt8> {
        let count = try integer(T.self)
        guard let length = Int(exactly: count), length >= 0, length <= end - at else { throw short() }
        return try bytes(length)
    }

    /// Bytes up to a line's end.
    mutating func line() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let byte = try byte()
            if byte == UInt8(ascii: "\n") { break }
            bytes.append(byte)
            if bytes.count > 1024 { throw LensError(.format, "overlong name in a pickle", at: location) }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "name in a pickle that is no UTF-8", at: location) }
        return text
    }

    private mutating func fill(_ count: Int) throws {
        guard count <= end - at else { throw short() }
        buffer = try file.read(at..<(at + max(count, min(Self.chunk, end - at))))
        bufferStart = at
    }

    private func short() -> LensError {
        LensError(.format, "pickle ends too early", at: location, expected: "a pickle of at most \(Self.limit) bytes", advice: "the file may be cut short")
    }
}
