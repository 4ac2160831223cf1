// The byte-level alphabet of GPT-2: a printable character for each of the 256 bytes, so that any bytes can be written
// as text. Printable Latin-1 stands for itself; the other 68 bytes are U+0100 and on, in order.

enum ByteAlphabet {
    /// The scalar that stands for each byte.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: Int) -> UInt32 in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte) {
                return UInt32(byte)
            }
            defer { next += 1 }
            return next
        }
    }()

    /// The byte each scalar below U+0144 stands for; -1 for the others.
    private static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    /// The byte a scalar stands for; nil if it is not in the alphabet.
    @inline(__always)
    static func byte(of scalar: UInt32) -> UInt8? {
        guard scalar < 0x144, bytes[Int(scalar)] >= 0 else { return nil }
        return UInt8(truncatingIfNeeded: bytes[Int(scalar)])
    }

    /// Appends the UTF-8 of the characters that stand for these bytes.
    static func spell(_ raw: Bytes, into out: inout [UInt8]) {
        for byte in raw {
            let scalar = scalars[Int(byte)]
            if scalar < 0x80 {
                out.append(UInt8(scalar))
            } else {
                out.append(UInt8(0xC0 | scalar >> 6))
                out.append(UInt8(0x80 | scalar & 0x3F))
            }
        }
    }

    /// The bytes a text stands for; nil if it has a character outside the alphabet.
    static func bytes(spelledBy text: Bytes) -> [UInt8]? {
        var raw: [UInt8] = []
        raw.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let next = scalar(text, at: index)
            guard let byte = byte(of: next.value) else { return nil }
            raw.append(byte)
            index += next.length
        }
        return raw
    }
}
