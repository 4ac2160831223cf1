// CRC-32 as zip files use it (polynomial 0xEDB88320, reflected), eight bytes a step.

/// A running CRC-32.
struct CRC32 {
    private var state: UInt32 = 0xFFFF_FFFF

    /// The checksum of all bytes so far.
    var value: UInt32 { ~state }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        state = Self.tables.withUnsafeBufferPointer { Self.advance(state, bytes, $0) }
    }

    mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// `tables[256 · k + b]` is the effect of byte b with k zero bytes after it.
    private static func advance(_ start: UInt32, _ bytes: UnsafeRawBufferPointer, _ tables: UnsafeBufferPointer<UInt32>) -> UInt32 {
        var crc = start
        var at = 0
        while bytes.count - at >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) ^ UInt64(crc)
            crc = 0
            for k in 0..<8 {
                let byte = Int(truncatingIfNeeded: (word >> (8 * UInt64(truncatingIfNeeded: k))) & 0xFF)
                crc ^= tables[256 * (7 - k) + byte]
            }
            at += 8
        }
        while at < bytes.count {
            crc = tables[Int(truncatingIfNeeded: (crc ^ UInt32(bytes[at])) & 0xFF)] ^ (crc >> 8)
            at += 1
        }
        return crc
    }

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(truncatingIfNeeded: byte)
            for _ in 0..<8 { crc = (crc & 1 != 0 ? 0xEDB8_8320 : 0) ^ (crc >> 1) }
            tables[byte] = crc
        }
        for k in 1..<8 {
            for byte in 0..<256 {
                let previous = tables[256 * (k - 1) + byte]
                tables[256 * k + byte] = tables[Int(previous & 0xFF)] ^ (previous >> 8)
            }
        }
        return tables
    }()
}
