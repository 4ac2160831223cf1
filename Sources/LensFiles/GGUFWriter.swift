// Writes GGUF, version 3: metadata in the order given, tensors aligned to 32 bytes, streaming. The file appears whole or not
// at all. Values are written with the types ggml's own tools use for such keys: integers as INT32 or UINT32 where they fit.

/// Writes GGUF files.
public enum GGUFWriter {
    static let alignment = 32

    /// Writes metadata and tensors to the file at `path`, replacing it. Shapes are given outermost first, as everywhere
    /// here; the file holds them innermost first.
    /// - Throws: `LensError`: `.file` if it cannot be written, `.usage` for a key or a name given twice, a type GGUF does not
    ///   hold, or more than four axes.
    public static func write(_ metadata: [(key: String, value: GGUFValue)], _ tensors: [TensorContent], to path: String) throws {
        for (what, names) in [("keys", metadata.map(\.key)), ("tensors", tensors.map(\.entry.name))] where Set(names.map(ExactString.init)).count != names.count {
            throw LensError(.usage, "two \(what) of one name to write", at: path)
        }
        var header = Array("GGUF".utf8)
        append(UInt32(3), to: &header)
        append(UInt64(tensors.count), to: &header)
        append(UInt64(metadata.count), to: &header)
        for (key, value) in metadata {
            append(key, to: &header)
            try append(value, to: &header)
        }
        var offset = 0
        for tensor in tensors.map(\.entry) {
            guard let type = GGMLType.allCases.first(where: { $0.plain == tensor.dtype }), tensor.shape.count <= 4 else {
                throw LensError(.usage, "GGUF cannot hold this tensor", at: tensor.name, expected: "a plain type, at most four axes",
                                found: "\(tensor.dtype) \(TensorEntry.text(of: tensor.shape))")
            }
            append(tensor.name, to: &header)
            append(UInt32(tensor.shape.count), to: &header)
            for size in tensor.shape.reversed() { append(UInt64(size), to: &header) }
            append(type.rawValue, to: &header)
            append(UInt64(offset), to: &header)
            offset += padded(tensor.byteCount)
        }
        header += Array(repeating: 0, count: padded(header.count) - header.count)
        let file = try AtomicFileWriter(path: path)
        try file.write(header)
        for tensor in tensors {
            try tensor.write(file.write)
            try file.write(Array(repeating: 0, count: padded(tensor.entry.byteCount) - tensor.entry.byteCount))
        }
        try file.commit()
    }

    private static func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

    // MARK: Values

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        append(UInt64(text.utf8.count), to: &bytes)
        bytes += Array(text.utf8)
    }

    private static func append(_ value: GGUFValue, to bytes: inout [UInt8]) throws {
        func tagged(_ type: UInt32, _ write: () -> Void) {
            append(type, to: &bytes)
            write()
        }
        switch value {
        case .uint(let number):
            if let small = UInt32(exactly: number) { tagged(4) { append(small, to: &bytes) } } else { tagged(10) { append(number, to: &bytes) } }
        case .int(let number):
            if let small = Int32(exactly: number) { tagged(5) { append(small, to: &bytes) } } else { tagged(11) { append(number, to: &bytes) } }
        case .float(let number): tagged(12) { append(number.bitPattern, to: &bytes) }
        case .bool(let flag): tagged(7) { bytes.append(flag ? 1 : 0) }
        case .string(let text): tagged(8) { append(text, to: &bytes) }
        case .array(let array): try append(array, to: &bytes)
        }
    }

    private static func append(_ array: GGUFArray, to bytes: inout [UInt8]) throws {
        append(UInt32(9), to: &bytes)
        func elements<T>(_ type: UInt32, _ list: [T], _ write: (T) -> Void) {
            append(type, to: &bytes)
            append(UInt64(list.count), to: &bytes)
            list.forEach(write)
        }
        switch array {
        case .bytes(let list, let isSigned): elements(isSigned ? 1 : 0, list) { bytes.append($0) }
        case .ints(let list): elements(11, list) { append($0, to: &bytes) }
        case .uints(let list): elements(10, list) { append($0, to: &bytes) }
        case .floats(let list): elements(12, list) { append($0.bitPattern, to: &bytes) }
        case .bools(let list): elements(7, list) { bytes.append($0 ? 1 : 0) }
        case .strings(let list): elements(8, list) { append($0, to: &bytes) }
        case .arrays: throw LensError(.usage, "nested arrays are not written to GGUF")
        }
    }
}
