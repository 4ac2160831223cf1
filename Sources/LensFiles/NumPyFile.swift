// Reads NumPy files: .npy, one array, and .npz as numpy.savez writes it, a zip file of stored .npy entries.
// It refuses compressed entries (numpy.savez_compressed), entries that are no .npy, and what Npy.swift and
// ZipArchive.swift refuse. An array's checksum is checked when the array is read whole.

/// An open .npz or .npy file. The one array of a .npy file is called `arr_0`, as NumPy calls an array without a name.
public struct NumPyFile: TensorSource {
    public let location: String
    private let file: DataFile
    private let table: TensorTable<Place>

    /// Where an array is in the file: its header, then its values.
    private struct Place {
        let headerStart: Int
        let valueStart: Int
        /// Over header and values; nil in a .npy file.
        let crc: UInt32?
    }

    /// Opens the .npz file at `path` and reads every array's header.
    /// - Throws: `LensError`: `.file` if it cannot be read, `.format` if it is damaged or of a kind that is refused.
    public init(npz path: String) throws {
        let archive = try ZipArchive(path: path)
        var table = TensorTable<Place>()
        for entry in archive.entries {
            let location = "\(path): \(entry.name)"
            guard entry.name.utf8.count >= 4, entry.name.hasSuffix(".npy") else {
                throw LensError(.format, "entry of an npz file that is no .npy", at: location)
            }
            guard entry.isStored else {
                throw LensError(.format, "compressed array", at: location, expected: "an array stored as it is",
                                found: entry.method == 8 ? "deflate" : "method \(entry.method)",
                                advice: "save it with numpy.savez, not numpy.savez_compressed")
            }
            try Self.add(String(entry.name.dropLast(4)), in: archive.file, entry.range, crc: entry.crc, to: &table)
        }
        self.file = archive.file
        self.location = path
        self.table = table
    }

    /// Opens the .npy file at `path`; errors as for .npz.
    public init(npy path: String) throws {
        let file = try DataFile(path: path)
        var table = TensorTable<Place>()
        try Self.add("arr_0", in: file, 0..<file.size, crc: nil, to: &table)
        self.file = file
        self.location = path
        self.table = table
    }

    private static func add(_ name: String, in file: DataFile, _ range: Range<Int>, crc: UInt32?,
                            to table: inout TensorTable<Place>) throws {
        let location = "\(file.path): \(name)"
        let header = try NpyHeader(in: file, range, at: location)
        let entry = try TensorEntry(name: name, dtype: header.dtype, shape: header.shape, at: file.path)
        guard entry.byteCount == range.count - header.byteCount else {
            throw LensError(.format, "NumPy array of another size than its shape", at: location,
                            expected: "\(entry.byteCount) bytes for \(TensorEntry.text(of: entry.shape)) of \(entry.dtype)",
                            found: "\(range.count - header.byteCount)")
        }
        let place = Place(headerStart: range.lowerBound, valueStart: range.lowerBound + header.byteCount, crc: crc)
        guard table.insert(entry, place) else { throw LensError(.format, "array named twice", at: location) }
    }

    public var names: [String] { table.names }

    public func entry(_ name: String) -> TensorEntry? { table.find(name)?.entry }

    public func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let (entry, place) = table.find(name) else {
            _ = try requireEntry(name)
            return
        }
        let range = try entry.byteRange(elementOffset: elementOffset, elementCount: elementCount,
                                        bufferCount: buffer.count, at: location)
        try file.read(at: place.valueStart + range.lowerBound, into: buffer)
        if let expected = place.crc, range.count == entry.byteCount {
            var crc = CRC32()
            crc.update(try file.read(place.headerStart..<place.valueStart))
            crc.update(UnsafeRawBufferPointer(buffer))
            guard crc.value == expected else {
                throw LensError(.format, "damaged array (its checksum is wrong)", at: "\(location): \(name)")
            }
        }
    }
}
