// The header of .npy files: magic, version, length, and a Python dict of element type, order and shape.
// It refuses headers longer than NumPy itself reads (10,000 bytes), Python objects, structured and big-endian types,
// and column-major arrays of more than one axis.

/// What a .npy header says.
struct NpyHeader {
    let dtype: ElementType
    let shape: [Int]
    /// The header's length, magic included; the values follow.
    let byteCount: Int

    static let longest = 10_000
    private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    /// Reads the header of the array that fills `range` of `file`.
    init(in file: DataFile, _ range: Range<Int>, at location: String) throws {
        let start = try file.read(range.lowerBound..<(range.lowerBound + min(12, range.count)))
        guard start.starts(with: Self.magic), start.count >= 10 else {
            throw LensError(.format, "not a NumPy array", at: location, expected: "the bytes \\x93NUMPY")
        }
        let version = start[6]
        guard (1...3).contains(version), version == 1 || start.count == 12 else {
            throw LensError(.format, "unknown version of a NumPy array", at: location, expected: "1, 2 or 3", found: "\(version)")
        }
        let prefix = version == 1 ? 10 : 12
        let length = start[8..<prefix].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.longest, length <= range.count - prefix else {
            throw LensError(.format, "NumPy header too long", at: location,
                            expected: "at most \(min(Self.longest, range.count - prefix)) bytes", found: "\(length)")
        }
        let first = range.lowerBound + prefix
        var parser = NpyHeaderParser(bytes: try file.read(first..<(first + length)), location: location)
        (dtype, shape) = try parser.parse()
        byteCount = prefix + length
    }

    /// The bytes of the header (version 1, padded to a multiple of 64) for an array of `entry`'s type and shape.
    static func bytes(for entry: TensorEntry) throws -> [UInt8] {
        guard let name = names.first(where: { $0.dtype == entry.dtype })?.name else {
            throw LensError(.usage, "NumPy has no such element type", at: entry.name, found: entry.dtype.rawValue,
                            advice: "write it as F32, or to a safetensors file")
        }
        let shape = entry.shape.map(String.init).joined(separator: ", ") + (entry.shape.count == 1 ? "," : "")
        let text = "{'descr': '\(name)', 'fortran_order': False, 'shape': (\(shape)), }"
        let padding = (64 - (10 + text.utf8.count + 1) % 64) % 64
        let length = text.utf8.count + padding + 1
        guard length <= longest else {
            throw LensError(.usage, "too many axes for a NumPy array", at: entry.name, found: "\(entry.shape.count)")
        }
        var bytes = magic + [1, 0]
        bytes.append(littleEndian: UInt16(length))
        return bytes + Array(text.utf8) + [UInt8](repeating: UInt8(ascii: " "), count: padding) + [UInt8(ascii: "\n")]
    }

    /// NumPy's names; the first of a type is the one written.
    static let names: [(name: String, dtype: ElementType)] = [
        ("<f4", .f32), ("<f8", .f64), ("<f2", .f16), ("<c8", .c64), ("<i8", .i64), ("<i4", .i32), ("<i2", .i16), ("|i1", .i8),
        ("<u8", .u64), ("<u4", .u32), ("<u2", .u16), ("|u1", .u8), ("|b1", .bool), ("<i1", .i8), ("<u1", .u8), ("<b1", .bool),
    ]
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`: of Python's literals, just these.
private struct NpyHeaderParser {
    let bytes: [UInt8]
    let location: String
    var at = 0

    init(bytes: [UInt8], location: String) {
        self.bytes = bytes
        self.location = location
    }

    mutating func parse() throws -> (ElementType, [Int]) {
        var descr: String?, isFortran: Bool?, shape: [Int]?
        guard take("{") else { throw damaged() }
        while !take("}") {
            let key = try parseString()
            guard take(":") else { throw damaged() }
            switch key {
            case "descr" where descr == nil: descr = try parseDescr()
            case "fortran_order" where isFortran == nil: isFortran = try parseBool()
            case "shape" where shape == nil: shape = try parseShape()
            default: throw damaged()
            }
            if !take(",") {
                guard take("}") else { throw damaged() }
                break
            }
        }
        skipSpace()
        guard at == bytes.count, let descr, let isFortran, let shape else { throw damaged() }
        guard let dtype = NpyHeader.names.first(where: { $0.name == descr })?.dtype else {
            throw LensError(.format, "NumPy array of a type that cannot be read", at: location,
                            expected: NpyHeader.names.map(\.name).joined(separator: ", "), found: descr)
        }
        guard !isFortran || shape.count < 2 else {
            throw LensError(.format, "NumPy array in column-major (Fortran) order", at: location,
                            advice: "save numpy.ascontiguousarray(array) instead")
        }
        return (dtype, shape)
    }

    private mutating func parseDescr() throws -> String {
        skipSpace()
        if at < bytes.count, bytes[at] == UInt8(ascii: "[") {
            throw LensError(.format, "NumPy array of a structured type", at: location, expected: "a plain number type")
        }
        return try parseString()
    }

    private mutating func parseString() throws -> String {
        skipSpace()
        guard at < bytes.count, case let quote = bytes[at], quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\""),
              let end = bytes[(at + 1)...].firstIndex(of: quote) else { throw damaged() }
        defer { at = end + 1 }
        return String(decoding: bytes[(at + 1)..<end], as: UTF8.self)
    }

    private mutating func parseBool() throws -> Bool {
        if take("True") { return true }
        if take("False") { return false }
        throw damaged()
    }

    private mutating func parseShape() throws -> [Int] {
        guard take("(") else { throw damaged() }
        var shape: [Int] = []
        while !take(")") {
            skipSpace()
            var axis = 0
            let first = at
            while at < bytes.count, case let digit = bytes[at] &- UInt8(ascii: "0"), digit < 10 {
                let (tenfold, over) = axis.multipliedReportingOverflow(by: 10)
                let (sum, carried) = tenfold.addingReportingOverflow(Int(digit))
                if over || carried { throw damaged() }
                axis = sum
                at += 1
            }
            if at == first { throw damaged() }
            _ = take("L")  // Python 2 wrote long integers so
            shape.append(axis)
            if !take(",") {
                // `(3)` is no tuple.
                guard shape.count > 1, take(")") else { throw damaged() }
                break
            }
        }
        return shape
    }

    private mutating func skipSpace() {
        while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x0A || bytes[at] == 0x0D || bytes[at] == 0x09 { at += 1 }
    }

    private mutating func take(_ word: String) -> Bool {
        skipSpace()
        guard bytes[at...].starts(with: word.utf8) else { return false }
        at += word.utf8.count
        return true
    }

    private func damaged() -> LensError {
        LensError(.format, "damaged NumPy header", at: location, expected: "{'descr': …, 'fortran_order': …, 'shape': (…), }",
                  found: String(decoding: bytes.prefix(120), as: UTF8.self))
    }
}
