// Writes safetensors, streaming: the header first, then each tensor's bytes as they come; the same tensors always as
// the same bytes. The order is the reference writer's (types by falling alignment, then names), the header is padded
// with spaces to eight bytes. The file appears whole or not at all.

/// Writes safetensors files.
public enum SafetensorsWriter {
    /// Writes `tensors` and `metadata` to the file at `path`, replacing it.
    /// - Throws: `LensError`: `.file` if it cannot be written, `.usage` for a name given twice or reserved, `.shape` for
    ///   bytes that do not fit a shape.
    public static func write(_ tensors: [TensorContent], metadata: [String: String] = [:], to path: String) throws {
        let ordered = try order(tensors)
        let header = try header(ordered, metadata)
        let file = try AtomicFileWriter(path: path)
        try file.write((0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) })
        try file.write(header)
        for tensor in ordered { try tensor.write(file.write) }
        try file.commit()
    }

    private static func order(_ tensors: [TensorContent]) throws -> [TensorContent] {
        var seen: Set<ExactString> = []
        for tensor in tensors {
            let name = tensor.entry.name
            if name == "__metadata__" { throw LensError(.usage, "reserved name for a tensor", found: name) }
            if !seen.insert(ExactString(name)).inserted { throw LensError(.usage, "two tensors of one name to write", found: name) }
        }
        return tensors.sorted { a, b in
            let (x, y) = (a.entry.dtype.alignmentRank, b.entry.dtype.alignmentRank)
            return x != y ? x > y : a.entry.name.utf8.lexicographicallyPrecedes(b.entry.name.utf8)
        }
    }

    private static func header(_ tensors: [TensorContent], _ metadata: [String: String]) throws -> [UInt8] {
        var fields = JSONObject()
        if !metadata.isEmpty {
            let sorted = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            fields["__metadata__"] = .object(JSONObject(sorted.map { ($0.key, .string($0.value)) }))
        }
        var offset = 0
        for entry in tensors.map(\.entry) {
            let (end, overflow) = offset.addingReportingOverflow(entry.byteCount)
            if overflow { throw LensError(.usage, "more bytes than a file can hold", at: entry.name) }
            fields[entry.name] = [
                "dtype": .string(entry.dtype.rawValue), "shape": .array(entry.shape.map { .int($0) }),
                "data_offsets": [.int(offset), .int(end)],
            ]
            offset = end
        }
        var bytes = try JSON.object(fields).utf8()
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - bytes.count % 8) % 8))
        guard bytes.count <= SafetensorsFile.longestHeader else {
            throw LensError(.usage, "too many tensors for one safetensors file", expected: "a header of at most "
                            + "\(SafetensorsFile.longestHeader) bytes", found: "\(bytes.count)", advice: "write several files")
        }
        return bytes
    }
}
