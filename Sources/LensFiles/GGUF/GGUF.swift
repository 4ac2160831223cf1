// Reads GGUF (ggml's model files), versions 2 and 3, little-endian: metadata of all thirteen types, and tensors.
// Everything the file says of lengths is checked against its length before anything is allocated. It refuses what ggml
// refuses: duplicate keys and tensor names, strings and arrays past 2^30, more than four axes, names of 64 bytes or more,
// an alignment that is no power of two, tensors that do not follow one another at that alignment or end past the file.

/// What a GGUF file says of one tensor.
public struct GGUFTensor: Sendable, Hashable {
    public let name: String
    public let type: GGMLType
    /// Row-major, the slowest axis first (the file has the fastest first).
    public let shape: [Int]
    public let elementCount: Int
    /// Where in the file its bytes lie.
    public let byteRange: Range<Int>
}

/// An open GGUF file. As a `TensorSource` (GGUFTensors.swift) it gives the tensors of plain types as they are, and those
/// quantised in blocks as the float32 numbers they stand for.
public struct GGUFFile: Sendable {
    public let location: String
    public let version: Int
    /// The metadata's keys, in order.
    public let keys: [String]
    /// All tensors, in the order of the file.
    public let tensors: [GGUFTensor]
    /// `general.alignment`, 32 unless the file says otherwise.
    public let alignment: Int
    private let values: [ExactString: GGUFValue]
    private let positions: [ExactString: Int]
    /// What is read of each tensor.
    let entries: [TensorEntry]
    let file: DataFile

    /// Whether a file begins as GGUF does.
    public static func isGGUF(_ firstBytes: some Collection<UInt8>) -> Bool { firstBytes.prefix(4).elementsEqual("GGUF".utf8) }

    /// Opens the file at `path` and reads everything but the tensors' bytes.
    /// - Throws: `LensError`: `.file` if it cannot be read, `.format` if it is no valid GGUF file.
    public init(path: String) throws {
        let file = try DataFile(path: path)
        var cursor = GGUFCursor(file)
        let (version, tensorCount, valueCount) = try Self.readHeader(&cursor, path)
        var keys: [String] = [], values: [ExactString: GGUFValue] = [:]
        for _ in 0..<valueCount {
            let key = try cursor.string("a metadata key", limit: 65_535)
            guard !key.isEmpty else { throw LensError(.format, "empty metadata key", at: path) }
            let value = try cursor.value(at: key)
            guard values.updateValue(value, forKey: ExactString(key)) == nil else {
                throw LensError(.format, "metadata key given twice", at: "\(path): \(key)")
            }
            keys.append(key)
        }
        let alignment = try Self.readAlignment(values[ExactString("general.alignment")], path)
        var infos: [TensorInfo] = []
        for _ in 0..<tensorCount { infos.append(try TensorInfo(&cursor, path)) }
        self.location = path
        self.version = version
        self.keys = keys
        self.values = values
        self.alignment = alignment
        self.file = file
        (tensors, positions, entries) = try Self.place(infos, after: cursor.at, alignment, file.size, path)
    }

    /// The metadata value of `key`; nil if there is none.
    public subscript(_ key: String) -> GGUFValue? { values[ExactString(key)] }

    /// The tensor of that name, of whatever type.
    public func tensor(_ name: String) -> GGUFTensor? { position(name).map { tensors[$0] } }

    func position(_ name: String) -> Int? { positions[ExactString(name)] }

    /// A tensor's bytes as stored, of whatever type.
    public func rawBytes(of name: String) throws -> [UInt8] {
        guard let tensor = tensor(name) else { throw LensError(.weights, "no such tensor", at: location, found: name) }
        return try file.read(tensor.byteRange)
    }
}

extension GGUFFile {
    private static func readHeader(_ cursor: inout GGUFCursor, _ path: String) throws -> (version: Int, tensors: Int, values: Int) {
        guard isGGUF(try cursor.bytes(4, "the header")) else {
            throw LensError(.format, "not a GGUF file", at: path, expected: "\"GGUF\" at its beginning")
        }
        let version = try cursor.integer(UInt32.self, "the version")
        guard version == 2 || version == 3 else {
            let isSwapped = version.byteSwapped == 2 || version.byteSwapped == 3
            throw LensError(.format, isSwapped ? "big-endian GGUF file" : "GGUF file of an unknown version", at: path,
                            expected: "version 2 or 3, little-endian", found: "\(isSwapped ? version.byteSwapped : version)")
        }
        let tensors = try cursor.integer(UInt64.self, "the number of tensors")
        let values = try cursor.integer(UInt64.self, "the number of metadata values")
        // A value takes 8 + 4 + 1 bytes at least, a tensor's description 8 + 4 + 4 + 8.
        let left = UInt64(cursor.remaining)
        guard values <= left / 13, tensors <= left / 24 else {
            throw LensError(.format, "more metadata or tensors than the file has bytes for", at: path,
                            expected: "at most \(left) bytes", found: "\(values) values and \(tensors) tensors")
        }
        return (Int(version), Int(tensors), Int(values))
    }

    private static func readAlignment(_ value: GGUFValue?, _ path: String) throws -> Int {
        guard let value else { return 32 }
        guard case .uint(let number) = value, number > 0, number <= 1 << 30, number & (number - 1) == 0 else {
            throw LensError(.format, "impossible alignment", at: "\(path): general.alignment", expected: "a power of two",
                            found: value.intValue.map(String.init) ?? value.typeName)
        }
        return Int(number)
    }

    /// Where each tensor lies, from what the file says of them.
    private static func place(_ infos: [TensorInfo], after end: Int, _ alignment: Int, _ size: Int, _ path: String) throws
        -> ([GGUFTensor], [ExactString: Int], [TensorEntry]) {
        func aligned(_ offset: Int) throws -> Int {
            let (sum, overflow) = offset.addingReportingOverflow(alignment - 1)
            guard !overflow else { throw LensError(.format, "impossible sizes of tensors", at: path) }
            return sum & ~(alignment - 1)
        }
        // Without tensors a file may end right after its metadata.
        let start = infos.isEmpty ? end : try aligned(end)
        var tensors: [GGUFTensor] = [], positions: [ExactString: Int] = [:], entries: [TensorEntry] = []
        var offset = 0
        for info in infos {
            guard info.offset == UInt64(offset) else {
                throw LensError(.format, "tensor at another place than after the one before", at: "\(path): \(info.name)",
                                expected: "offset \(offset)", found: "\(info.offset)")
            }
            let (low, overflow) = start.addingReportingOverflow(offset)
            let (high, overflows) = low.addingReportingOverflow(info.byteCount)
            guard !overflow, !overflows, high <= size else {
                throw LensError(.format, "tensor past the end of the file", at: "\(path): \(info.name)",
                                expected: "\(info.byteCount) bytes", found: "\(max(0, size - low))",
                                advice: "the file may be cut short")
            }
            guard positions.updateValue(tensors.count, forKey: ExactString(info.name)) == nil else {
                throw LensError(.format, "tensor named twice", at: "\(path): \(info.name)")
            }
            entries.append(try TensorEntry(name: info.name, dtype: info.type.plain ?? .f32, shape: info.shape, at: path))
            tensors.append(GGUFTensor(name: info.name, type: info.type, shape: info.shape, elementCount: info.elementCount,
                                      byteRange: low..<high))
            offset = try aligned(offset + info.byteCount)
        }
        return (tensors, positions, entries)
    }
}

/// One tensor's description, its sizes checked.
private struct TensorInfo {
    let name: String
    let type: GGMLType
    let shape: [Int]
    let elementCount: Int
    let byteCount: Int
    let offset: UInt64

    init(_ cursor: inout GGUFCursor, _ path: String) throws {
        let name = try cursor.string("a tensor's name", limit: 63), location = "\(path): \(name)"
        let rank = try cursor.integer(UInt32.self, name)
        guard rank <= 4 else {
            throw LensError(.format, "tensor of too many axes", at: location, expected: "at most 4", found: "\(rank)")
        }
        var axes: [Int] = [], count = 1
        for _ in 0..<rank {
            let axis = try cursor.integer(UInt64.self, name)
            let (product, overflow) = count.multipliedReportingOverflow(by: Int(clamping: axis))
            guard axis <= UInt64(Int.max), !overflow else { throw LensError(.format, "impossible shape of a tensor", at: location) }
            axes.append(Int(axis))
            count = product
        }
        let number = try cursor.integer(UInt32.self, name)
        guard let type = GGMLType(rawValue: number) else {
            throw LensError(.format, "unknown type of a tensor", at: location, expected: "a ggml type of today", found: "\(number)")
        }
        let block = type.block
        guard (axes.first ?? 1) % block.elements == 0 else {
            throw LensError(.format, "rows that end inside a block", at: location,
                            expected: "a multiple of \(block.elements) for \(type)", found: "\(axes.first ?? 1)")
        }
        let (bytes, overflow) = (count / block.elements).multipliedReportingOverflow(by: block.bytes)
        guard !overflow, bytes <= Int.max / 2 else { throw LensError(.format, "impossible size of a tensor", at: location) }
        self.offset = try cursor.integer(UInt64.self, name)
        self.name = name
        self.type = type
        shape = axes.reversed()
        elementCount = count
        byteCount = bytes
    }
}
