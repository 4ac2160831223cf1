// Reads a GGUF file's header piece by piece through a buffer, never past the file's end.

/// A place in a GGUF file, and the reading of what follows it.
struct GGUFCursor {
    /// ggml's own limit on the length of strings and arrays.
    private static let longest = 1 << 30
    /// The deepest nesting of arrays.
    private static let deepest = 8
    private static let chunk = 1 << 20

    private let file: DataFile
    private var buffer: [UInt8] = []
    private var bufferStart = 0
    /// Where in the file the next byte is.
    private(set) var at = 0

    init(_ file: DataFile) { self.file = file }

    var remaining: Int { file.size - at }

    /// The next `count` bytes. `what` names them in errors.
    mutating func bytes(_ count: Int, _ what: String) throws -> ArraySlice<UInt8> {
        guard count <= remaining else {
            throw LensError(.format, "GGUF file ends too early", at: "\(file.path): \(what)", expected: "\(count) bytes",
                            found: "\(remaining)", advice: "the file may be cut short")
        }
        if at + count > bufferStart + buffer.count {
            buffer = try file.read(at..<(at + max(count, min(Self.chunk, remaining))))
            bufferStart = at
        }
        defer { at += count }
        return buffer[(at - bufferStart)..<(at - bufferStart + count)]
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type, _ what: String) throws -> T {
        try bytes(T.bitWidth / 8, what).withUnsafeBytes { T(littleEndian: $0.loadUnaligned(as: T.self)) }
    }

    mutating func string(_ what: String, limit: Int = longest) throws -> String {
        let length = try integer(UInt64.self, what)
        guard length <= UInt64(limit) else {
            throw LensError(.format, "string too long", at: "\(file.path): \(what)", expected: "at most \(limit) bytes",
                            found: "\(length)")
        }
        guard let text = String(validating: try bytes(Int(length), what), as: UTF8.self) else {
            throw LensError(.format, "string that is no UTF-8", at: "\(file.path): \(what)")
        }
        return text
    }

    /// A value, its type before it.
    mutating func value(at key: String) throws -> GGUFValue {
        switch try integer(UInt32.self, key) {
        case 0: return .uint(UInt64(try integer(UInt8.self, key)))
        case 1: return .int(Int64(try integer(Int8.self, key)))
        case 2: return .uint(UInt64(try integer(UInt16.self, key)))
        case 3: return .int(Int64(try integer(Int16.self, key)))
        case 4: return .uint(UInt64(try integer(UInt32.self, key)))
        case 5: return .int(Int64(try integer(Int32.self, key)))
        case 6: return .float(Double(Float(bitPattern: try integer(UInt32.self, key))))
        case 7: return .bool(try flag(try integer(UInt8.self, key), key))
        case 8: return .string(try string(key))
        case 9: return .array(try array(at: key, depth: 1))
        case 10: return .uint(try integer(UInt64.self, key))
        case 11: return .int(try integer(Int64.self, key))
        case 12: return .float(Double(bitPattern: try integer(UInt64.self, key)))
        case let type: throw unknown(type, key)
        }
    }

    private func flag(_ byte: UInt8, _ key: String) throws -> Bool {
        guard byte <= 1 else {
            throw LensError(.format, "boolean that is neither 0 nor 1", at: "\(file.path): \(key)", found: "\(byte)")
        }
        return byte == 1
    }

    private func unknown(_ type: UInt32, _ key: String) -> LensError {
        LensError(.format, "unknown type of a metadata value", at: "\(file.path): \(key)", expected: "0 to 12", found: "\(type)")
    }

    private mutating func array(at key: String, depth: Int) throws -> GGUFArray {
        guard depth <= Self.deepest else {
            throw LensError(.format, "arrays nested too deeply", at: "\(file.path): \(key)", expected: "at most \(Self.deepest) levels")
        }
        let type = try integer(UInt32.self, key), length = try integer(UInt64.self, key)
        let sizes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]
        guard type < 13 else { throw unknown(type, key) }
        // The least that many elements take: strings their lengths, arrays their types and lengths.
        guard length <= UInt64(Self.longest), length <= UInt64(remaining / sizes[Int(type)]) else {
            throw LensError(.format, "array longer than the file", at: "\(file.path): \(key)",
                            expected: "at most \(min(Self.longest, remaining / sizes[Int(type)])) elements", found: "\(length)")
        }
        let count = Int(length)
        switch type {
        case 0: return .bytes(Array(try bytes(count, key)), isSigned: false)
        case 1: return .bytes(Array(try bytes(count, key)), isSigned: true)
        case 2: return .uints(try list(UInt16.self, count, key) { UInt64($0) })
        case 3: return .ints(try list(Int16.self, count, key) { Int64($0) })
        case 4: return .uints(try list(UInt32.self, count, key) { UInt64($0) })
        case 5: return .ints(try list(Int32.self, count, key) { Int64($0) })
        case 6: return .floats(try list(UInt32.self, count, key) { Double(Float(bitPattern: $0)) })
        case 7: return .bools(try bytes(count, key).map { try flag($0, key) })
        case 8:
            var strings: [String] = []
            strings.reserveCapacity(count)
            for _ in 0..<count { strings.append(try string(key)) }
            return .strings(strings)
        case 9: return .arrays(try (0..<count).map { _ in try array(at: key, depth: depth + 1) })
        case 10: return .uints(try list(UInt64.self, count, key) { $0 })
        case 11: return .ints(try list(Int64.self, count, key) { $0 })
        default: return .floats(try list(UInt64.self, count, key) { Double(bitPattern: $0) })
        }
    }

    /// Numbers one after another, in pieces, so that what is read at once stays small.
    private mutating func list<T: FixedWidthInteger, U>(_ type: T.Type, _ count: Int, _ key: String,
                                                        _ convert: (T) -> U) throws -> [U] {
        var result: [U] = []
        result.reserveCapacity(count)
        let size = T.bitWidth / 8
        while result.count < count {
            let part = min(count - result.count, Self.chunk / size)
            try bytes(part * size, key).withUnsafeBytes { raw in
                for index in 0..<part {
                    result.append(convert(T(littleEndian: raw.loadUnaligned(fromByteOffset: index * size, as: T.self))))
                }
            }
        }
        return result
    }
}
