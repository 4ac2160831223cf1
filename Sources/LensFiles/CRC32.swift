// CRC-32 as zip files use it (polynomial 0xEDB88320, reflected), eight bytes a step.

/// A running CRC-32.
package struct CRC32 {
    private var state: UInt32 = 0xFFFF_FFFF

    /// The checksum of all bytes so far.
    package var value: UInt32 { ~state }

    package init() {}

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        state = Self.tables.withUnsafeBufferPointer { Self.advance(state, bytes, $0) }
    }

    package mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// `tables[256 · k + b]` is the effect of byte b with k zero bytes after it.
    private static func advance(_ start: UInt32, _ bytes: UnsafeRawBufferPointer, _ tables: UnsafeBufferPointer<UInt32>) -> UInt32 {
        var crc = start
        var at = 0
        while bytes.count - at >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) ^ UInt64(crc)
            // In pairs, so that no sum waits for more than two others.
            crc = ((tables[1_792 + byte(word, 0)] ^ tables[1_536 + byte(word, 1)])
                ^ (tables[1_280 + byte(word, 2)] ^ tables[1_024 + byte(word, 3)]))
                ^ ((tables[768 + byte(word, 4)] ^ tables[512 + byte(word, 5)])
                ^ (tables[256 + byte(word, 6)] ^ tables[byte(word, 7)]))
            at += 8
        }
        while at < bytes.count {
            crc = tables[Int(truncatingIfNeeded: (crc ^ UInt32(bytes[at])) & 0xFF)] ^ (crc >> 8)
            at += 1
        }
        return crc
    }

    /// Byte `k` of `word`, from the lowest.
    @inline(__always)
    private static func byte(_ word: UInt64, _ k: UInt64) -> Int { Int(truncatingIfNeeded: (word &>> (8 &* k)) & 0xFF) }

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
