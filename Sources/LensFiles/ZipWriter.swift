// Writes a zip file of stored entries, streaming, with ZIP64 records where a number needs them and nowhere else.
// Times are 1980-01-01, so the same entries always give the same bytes.

/// Writes entries one after another, then the directory.
struct ZipWriter {
    private let file: AtomicFileWriter
    /// Sizes, offsets and counts from here on are written as ZIP64. Only tests set it.
    private let wideFrom: (size: Int, count: Int)
    private var directory: [UInt8] = []
    private var count = 0

    init(path: String, wideFrom: (size: Int, count: Int) = (Int(UInt32.max), Int(UInt16.max))) throws {
        self.file = try AtomicFileWriter(path: path)
        self.wideFrom = wideFrom
    }

    /// Adds an entry of exactly `size` bytes, which `produce` hands over in pieces.
    mutating func add(_ name: String, size: Int,
                      produce: (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws {
        let nameBytes = Array(name.utf8)
        guard nameBytes.count < Int(UInt16.max), !nameBytes.contains(0) else {
            throw LensError(.usage, "impossible name in a zip file", at: file.path, found: "\(name.prefix(100))")
        }
        let offset = file.bytesWritten
        let isWide = size >= wideFrom.size
        var local = [UInt8]()
        local.append(littleEndian: UInt32(0x0403_4B50))
        appendCommon(&local, name: nameBytes, isWide: isWide, crc: 0, size: size)
        var extra = [UInt8]()
        if isWide { appendWide(&extra, [size, size]) }
        local.append(littleEndian: UInt16(nameBytes.count))
        local.append(littleEndian: UInt16(extra.count))
        try file.write(local + nameBytes + extra)

        var crc = CRC32()
        let start = file.bytesWritten
        let file = self.file
        try produce { bytes in
            crc.update(bytes)
            try file.write(bytes)
        }
        guard file.bytesWritten - start == size else {
            throw LensError(.usage, "zip entry of another size than announced", at: "\(file.path): \(name)",
                            expected: "\(size) bytes", found: "\(file.bytesWritten - start)")
        }
        var sum = [UInt8]()
        sum.append(littleEndian: crc.value)
        try file.overwrite(at: offset + 14, with: sum)
        addToDirectory(nameBytes, offset: offset, size: size, crc: crc.value)
        count += 1
    }

    private mutating func addToDirectory(_ name: [UInt8], offset: Int, size: Int, crc: UInt32) {
        let (wideSize, wideOffset) = (size >= wideFrom.size, offset >= wideFrom.size)
        var extra = [UInt8]()
        if wideSize || wideOffset { appendWide(&extra, (wideSize ? [size, size] : []) + (wideOffset ? [offset] : [])) }
        var record = [UInt8]()
        record.append(littleEndian: UInt32(0x0201_4B50))
        record.append(littleEndian: UInt16(3 << 8 | 45))  // made by: Unix, 4.5
        appendCommon(&record, name: name, isWide: wideSize || wideOffset, crc: crc, size: size, hidesSize: wideSize)
        record.append(littleEndian: UInt16(name.count))
        record.append(littleEndian: UInt16(extra.count))
        record.append(littleEndian: UInt16(0))  // comment
        record.append(littleEndian: UInt16(0))  // disk
        record.append(littleEndian: UInt16(0))  // internal attributes
        record.append(littleEndian: UInt32(0o100644) << 16)
        record.append(littleEndian: wideOffset ? UInt32.max : UInt32(truncatingIfNeeded: offset))
        directory.append(contentsOf: record + name + extra)
    }

    /// The fields that an entry's own header and the directory share: version to sizes.
    private func appendCommon(_ bytes: inout [UInt8], name: [UInt8], isWide: Bool, crc: UInt32, size: Int, hidesSize: Bool? = nil) {
        bytes.append(littleEndian: UInt16(isWide ? 45 : 20))
        bytes.append(littleEndian: UInt16(name.allSatisfy { $0 < 0x80 } ? 0 : 1 << 11))  // names are UTF-8
        bytes.append(littleEndian: UInt16(0))  // stored
        bytes.append(littleEndian: UInt16(0))
        bytes.append(littleEndian: UInt16(1 << 5 | 1))  // 1980-01-01 00:00
        bytes.append(littleEndian: crc)
        let size = hidesSize ?? isWide ? UInt32.max : UInt32(truncatingIfNeeded: size)
        bytes.append(littleEndian: size)
        bytes.append(littleEndian: size)
    }

    private func appendWide(_ bytes: inout [UInt8], _ values: [Int]) {
        bytes.append(littleEndian: UInt16(1))
        bytes.append(littleEndian: UInt16(8 * values.count))
        for value in values { bytes.append(littleEndian: UInt64(value)) }
    }

    /// Writes the directory and puts the file in its place.
    func finish() throws {
        let start = file.bytesWritten
        try file.write(directory)
        let isWide = count >= wideFrom.count || start >= wideFrom.size || directory.count >= wideFrom.size
        var end = [UInt8]()
        if isWide {
            let record = file.bytesWritten
            end.append(littleEndian: UInt32(0x0606_4B50))
            end.append(littleEndian: UInt64(44))
            end.append(littleEndian: UInt16(3 << 8 | 45))
            end.append(littleEndian: UInt16(45))
            end.append(littleEndian: UInt64(0))  // disks
            for value in [count, count, directory.count, start] { end.append(littleEndian: UInt64(value)) }
            end.append(littleEndian: UInt32(0x0706_4B50))
            end.append(littleEndian: UInt32(0))
            end.append(littleEndian: UInt64(record))
            end.append(littleEndian: UInt32(1))
        }
        end.append(littleEndian: UInt32(0x0605_4B50))
        end.append(littleEndian: UInt32(0))  // disks
        for _ in 0..<2 { end.append(littleEndian: isWide ? UInt16.max : UInt16(truncatingIfNeeded: count)) }
        end.append(littleEndian: isWide ? UInt32.max : UInt32(truncatingIfNeeded: directory.count))
        end.append(littleEndian: isWide ? UInt32.max : UInt32(truncatingIfNeeded: start))
        end.append(littleEndian: UInt16(0))
        try file.write(end)
        try file.commit()
    }
}
