// Reads the directory of a zip file (with ZIP64) and the bytes of entries that are stored as they are.
// It refuses what a bomb is made of: entries that overlap one another or the directory, ranges past the end of the
// file, a name given twice, a directory that disagrees with an entry's own header; also encryption and several disks.

/// One entry of a zip file.
struct ZipEntry: Sendable {
    let name: String
    /// 0 if the bytes are stored as they are; 8 for deflate.
    let method: UInt16
    let crc: UInt32
    /// Where in the file its (maybe compressed) bytes lie.
    let range: Range<Int>
    /// Its length once decompressed.
    let size: Int

    var isStored: Bool { method == 0 }
}

/// The directory of an open zip file.
struct ZipArchive: Sendable {
    let file: DataFile
    /// In the order of the directory.
    let entries: [ZipEntry]

    init(path: String) throws {
        let file = try DataFile(path: path)
        let directory = try ZipDirectoryEnd.find(in: file)
        var reader = ByteReader(try file.read(directory.range))
        var found: [(header: CentralHeader, range: Range<Int>)] = []
        var seen: Set<ExactString> = []
        for _ in 0..<directory.count {
            let header = try CentralHeader(&reader, path)
            guard seen.insert(ExactString(header.name)).inserted else {
                throw LensError(.format, "name given twice in a zip file", at: path, found: header.name)
            }
            found.append((header, try Self.locate(header, in: file, before: directory.range.lowerBound)))
        }
        guard reader.remaining == 0 else { throw LensError(.format, "damaged directory of a zip file", at: path) }
        try Self.checkOverlap(found, path)
        self.file = file
        self.entries = found.map {
            ZipEntry(name: $0.header.name, method: $0.header.method, crc: $0.header.crc, range: $0.range, size: $0.header.size)
        }
    }

    /// Finds the bytes behind the entry's own header, which must agree with the directory.
    private static func locate(_ header: CentralHeader, in file: DataFile, before limit: Int) throws -> Range<Int> {
        let damaged = LensError(.format, "damaged entry of a zip file", at: "\(file.path): \(header.name)")
        guard limit >= 30, header.offset <= limit - 30 else { throw damaged }
        let bytes = try file.read(header.offset..<(header.offset + 30))
        var reader = ByteReader(bytes)
        guard reader.next(UInt32.self) == 0x0403_4B50, reader.take(4) != nil,
              let method = reader.next(UInt16.self), reader.take(16) != nil,
              let nameLength = reader.next(UInt16.self), let extraLength = reader.next(UInt16.self),
              method == header.method, nameLength == UInt16(header.nameBytes.count) else { throw damaged }
        let nameStart = header.offset + 30
        let start = nameStart + Int(nameLength) + Int(extraLength)
        guard start <= limit, header.compressedSize <= limit - start else { throw damaged }
        guard try file.read(nameStart..<(nameStart + Int(nameLength))) == header.nameBytes else { throw damaged }
        return start..<(start + header.compressedSize)
    }

    private static func checkOverlap(_ found: [(header: CentralHeader, range: Range<Int>)], _ path: String) throws {
        let sorted = found.sorted { $0.header.offset < $1.header.offset }
        for (a, b) in zip(sorted, sorted.dropFirst()) where b.header.offset < a.range.upperBound {
            throw LensError(.format, "entries of a zip file overlap", at: path, found: "\(a.header.name), \(b.header.name)")
        }
    }
}

/// An entry as the directory describes it.
private struct CentralHeader {
    let nameBytes: [UInt8]
    let name: String
    let method: UInt16
    let crc: UInt32
    let compressedSize: Int
    let size: Int
    let offset: Int

    init(_ reader: inout ByteReader, _ path: String) throws {
        let damaged = LensError(.format, "damaged directory of a zip file", at: path)
        guard reader.next(UInt32.self) == 0x0201_4B50, reader.take(4) != nil,
              let flags = reader.next(UInt16.self), let method = reader.next(UInt16.self), reader.take(4) != nil,
              let crc = reader.next(UInt32.self), let compressed = reader.next(UInt32.self), let size = reader.next(UInt32.self),
              let nameLength = reader.next(UInt16.self), let extraLength = reader.next(UInt16.self),
              let commentLength = reader.next(UInt16.self), let disk = reader.next(UInt16.self), reader.take(6) != nil,
              let offset = reader.next(UInt32.self), let name = reader.take(Int(nameLength)),
              let extra = reader.take(Int(extraLength)), reader.take(Int(commentLength)) != nil,
              disk == 0 || disk == 0xFFFF else { throw damaged }
        guard let text = String(validating: name, as: UTF8.self), !text.utf8.contains(0) else { throw damaged }
        guard flags & 0x2041 == 0 else { throw LensError(.format, "encrypted zip file", at: "\(path): \(text)") }
        // A field of all ones stands, in this order, in the ZIP64 extra field.
        var wide = Self.zip64(extra)
        func widened(_ value: UInt32) throws -> Int {
            if value != UInt32.max { return Int(value) }
            guard let value = wide?.next(UInt64.self), let count = Int(exactly: value) else { throw damaged }
            return count
        }
        self.size = try widened(size)
        self.compressedSize = try widened(compressed)
        self.offset = try widened(offset)
        self.nameBytes = Array(name)
        self.name = text
        self.method = method
        self.crc = crc
        guard method != 0 || self.size == self.compressedSize else { throw damaged }
    }

    private static func zip64(_ extra: ArraySlice<UInt8>) -> ByteReader? {
        var reader = ByteReader(extra)
        while let tag = reader.next(UInt16.self), let length = reader.next(UInt16.self), let field = reader.take(Int(length)) {
            if tag == 1 { return ByteReader(field) }
        }
        return nil
    }
}

/// The end record: where the directory is and how many entries it has.
private struct ZipDirectoryEnd {
    let range: Range<Int>
    let count: Int

    static func find(in file: DataFile) throws -> ZipDirectoryEnd {
        let tailStart = max(0, file.size - 22 - 0xFFFF)
        let tail = try file.read(tailStart..<file.size)
        var at = tail.count - 22
        while at >= 0 {
            var reader = ByteReader(tail[at...])
            if reader.next(UInt32.self) == 0x0605_4B50, reader.take(6) != nil,
               let count = reader.next(UInt16.self), let length = reader.next(UInt32.self), let offset = reader.next(UInt32.self),
               let comment = reader.next(UInt16.self), Int(comment) == reader.remaining {
                let end = tailStart + at
                if count == UInt16.max || length == UInt32.max || offset == UInt32.max,
                   let wide = try findWide(in: file, before: end) {
                    return wide
                }
                return try ZipDirectoryEnd(offset: UInt64(offset), length: UInt64(length), count: UInt64(count), limit: end, file)
            }
            at -= 1
        }
        throw LensError(.format, "not a zip file", at: file.path, expected: "a zip directory at its end",
                        advice: "the file may be cut short")
    }

    /// The ZIP64 record that the locator before `end` points to; nil if there is no locator.
    private static func findWide(in file: DataFile, before end: Int) throws -> ZipDirectoryEnd? {
        guard end >= 20 else { return nil }
        var locator = ByteReader(try file.read((end - 20)..<end))
        guard locator.next(UInt32.self) == 0x0706_4B50, locator.take(4) != nil,
              let place = locator.next(UInt64.self) else { return nil }
        let damaged = LensError(.format, "damaged directory of a zip file", at: file.path)
        guard end >= 76, let start = Int(exactly: place), start <= end - 76 else { throw damaged }
        var record = ByteReader(try file.read(start..<(start + 56)))
        guard record.next(UInt32.self) == 0x0606_4B50, record.take(28) != nil, let count = record.next(UInt64.self),
              let length = record.next(UInt64.self), let offset = record.next(UInt64.self) else { throw damaged }
        return try ZipDirectoryEnd(offset: offset, length: length, count: count, limit: start, file)
    }

    private init(offset: UInt64, length: UInt64, count: UInt64, limit: Int, _ file: DataFile) throws {
        // An entry of the directory takes 46 bytes at least.
        guard let start = Int(exactly: offset), let length = Int(exactly: length), start <= limit, length <= limit - start,
              let count = Int(exactly: count), count <= length / 46 else {
            throw LensError(.format, "damaged directory of a zip file", at: file.path)
        }
        self.range = start..<(start + length)
        self.count = count
    }
}
