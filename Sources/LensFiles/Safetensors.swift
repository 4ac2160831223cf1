// Reads safetensors: u64 little-endian header length, a JSON header, the tensors' bytes.
// The header is checked as the format's own implementation does, before any tensor is read: it is at most 100,000,000
// bytes, starts with '{' and is padded with spaces only, names no key twice, and its tensors' byte ranges follow one
// another from 0 to the end of the file with no hole and no overlap, each as long as its shape and type say.
// Values are not looked at: NaN is allowed. No alignment is assumed.

/// An open safetensors file.
public struct SafetensorsFile: TensorSource {
    /// The longest header allowed, in bytes.
    public static let longestHeader = 100_000_000

    public let location: String
    /// `__metadata__`: free text under free names; often `format: pt`.
    public let metadata: [String: String]
    private let file: DataFile
    /// In the order of the bytes; the place is where in the file the tensor starts.
    private let table: TensorTable<Int>

    /// Opens the file at `path` and checks its header.
    /// - Throws: `LensError`: `.file` if it cannot be read, `.format` if it is no valid safetensors file.
    public init(path: String) throws {
        let file = try DataFile(path: path)
        guard file.size >= 8 else {
            throw LensError(.format, "not a safetensors file", at: path, expected: "at least 8 bytes", found: "\(file.size)")
        }
        let length = try file.read(0..<8).enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * UInt64($1.offset)) }
        guard length <= UInt64(Self.longestHeader), let headerLength = Int(exactly: length) else {
            throw LensError(.format, "not a safetensors file: its header would be too long", at: path,
                            expected: "at most \(Self.longestHeader) bytes", found: "\(length)")
        }
        guard headerLength <= file.size - 8 else {
            throw LensError(.format, "safetensors header past the end of the file", at: path,
                            expected: "\(headerLength) bytes", found: "\(file.size - 8)", advice: "the file may be cut short")
        }
        let header = try Self.parseHeader(try file.read(8..<(8 + headerLength)), path)
        let fields = try header.asObject(at: path)
        let dataStart = 8 + headerLength
        self.table = try Self.parseTensors(fields, dataStart: dataStart, dataLength: file.size - dataStart, path)
        self.metadata = try Self.parseMetadata(fields["__metadata__"], path)
        self.file = file
        self.location = path
    }

    public var names: [String] { table.names }

    public func entry(_ name: String) -> TensorEntry? { table.find(name)?.entry }

    /// Where in the file the tensor's bytes lie; nil if there is no such tensor.
    public func byteRange(of name: String) -> Range<Int>? {
        table.find(name).map { $0.place..<($0.place + $0.entry.byteCount) }
    }

    public func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let (entry, start) = table.find(name) else {
            _ = try requireEntry(name)
            return
        }
        let range = try entry.byteRange(elementOffset: elementOffset, elementCount: elementCount,
                                        bufferCount: buffer.count, at: location)
        try file.read(at: start + range.lowerBound, into: buffer)
    }

    // MARK: The header

    private static func parseHeader(_ bytes: [UInt8], _ path: String) throws -> JSON {
        guard bytes.first == UInt8(ascii: "{") else {
            throw LensError(.format, "not a safetensors file", at: path, expected: "a header that starts with '{'",
                            found: bytes.first.map { "the byte \($0)" } ?? "an empty header")
        }
        let end = (bytes.lastIndex { $0 != UInt8(ascii: " ") } ?? 0) + 1
        guard bytes[end - 1] == UInt8(ascii: "}") else {
            throw LensError(.format, "safetensors header with a wrong end", at: path,
                            expected: "'}' and then spaces only", found: "the byte \(bytes[end - 1])")
        }
        return try bytes[..<end].withUnsafeBytes { try JSON.parse($0, at: "\(path), header") }
    }

    private static func parseMetadata(_ value: JSON?, _ path: String) throws -> [String: String] {
        guard let value, !value.isNull else { return [:] }
        var metadata: [String: String] = [:]
        for (key, text) in try value.asObject(at: "\(path): __metadata__").pairs {
            metadata[key] = try text.asString(at: "\(path): __metadata__.\(key)")
        }
        return metadata
    }

    private static func parseTensors(_ fields: JSONObject, dataStart: Int, dataLength: Int,
                                     _ path: String) throws -> TensorTable<Int> {
        var found: [(entry: TensorEntry, begin: Int, end: Int)] = []
        found.reserveCapacity(fields.count)
        for (name, value) in fields.pairs where name != "__metadata__" {
            found.append(try parseTensor(name, value, path))
        }
        // Stable, so that tensors without bytes keep the header's order.
        let order = found.indices.sorted { a, b in
            (found[a].begin, found[a].end, a) < (found[b].begin, found[b].end, b)
        }
        var table = TensorTable<Int>()
        var offset = 0
        for index in order {
            let (entry, begin, end) = found[index]
            guard begin == offset else {
                let what = begin < offset ? "tensors overlap in a safetensors file" : "hole in a safetensors file"
                throw LensError(.format, what, at: "\(path): \(entry.name)", expected: "bytes from \(offset) on", found: "\(begin)")
            }
            guard end <= dataLength else {
                throw LensError(.format, "tensor past the end of a safetensors file", at: "\(path): \(entry.name)",
                                expected: "at most \(dataLength) bytes of data", found: "\(end)",
                                advice: "the file may be cut short")
            }
            guard table.insert(entry, dataStart + begin) else {
                throw LensError(.format, "tensor named twice in a safetensors file", at: "\(path): \(entry.name)")
            }
            offset = end
        }
        guard offset == dataLength else {
            throw LensError(.format, "bytes that belong to no tensor in a safetensors file", at: path,
                            expected: "\(offset) bytes of data", found: "\(dataLength)")
        }
        return table
    }

    /// `{"dtype": …, "shape": […], "data_offsets": [begin, end]}`; other keys are ignored, as the reference does.
    private static func parseTensor(_ name: String, _ value: JSON,
                                    _ path: String) throws -> (entry: TensorEntry, begin: Int, end: Int) {
        let location = "\(path): \(name)"
        let fields = try value.asObject(at: location)
        guard let typeName = fields["dtype"], let shape = fields["shape"], let offsets = fields["data_offsets"] else {
            throw LensError(.format, "incomplete description of a tensor", at: location,
                            expected: "dtype, shape and data_offsets", found: fields.keys.prefix(8).joined(separator: ", "))
        }
        guard let dtype = ElementType(rawValue: try typeName.asString(at: "\(location), dtype")) else {
            throw LensError(.format, "unknown type of a tensor", at: location,
                            expected: ElementType.allCases.map(\.rawValue).joined(separator: ", "), found: typeName.summary)
        }
        let entry = try TensorEntry(name: name, dtype: dtype, shape: try counts(shape, "\(location), shape"), at: path)
        let range = try counts(offsets, "\(location), data_offsets")
        guard range.count == 2, range[0] <= range[1] else {
            throw LensError(.format, "impossible data_offsets", at: location, expected: "a begin and an end after it",
                            found: TensorEntry.text(of: range))
        }
        guard range[1] - range[0] == entry.byteCount else {
            throw LensError(.format, "data_offsets that do not fit the shape", at: location,
                            expected: "\(entry.byteCount) bytes for \(TensorEntry.text(of: entry.shape)) of \(dtype)",
                            found: "\(range[1] - range[0])")
        }
        return (entry, range[0], range[1])
    }

    /// An array of whole numbers, none negative and none written as a fraction.
    private static func counts(_ value: JSON, _ location: String) throws -> [Int] {
        try value.asArray(at: location).map {
            guard case .int(let count) = $0, count >= 0 else {
                throw LensError(.format, "wrong number", at: location, expected: "an integer from 0 to 2^63 − 1",
                                found: $0.summary)
            }
            return count
        }
    }
}
