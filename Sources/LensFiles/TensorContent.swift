// What is to be written: a tensor's name, type and shape, and where its bytes come from.

/// One tensor for a writer. Its bytes are asked for once, when it is written, and may come in pieces.
public struct TensorContent {
    public let entry: TensorEntry
    /// Hands the tensor's bytes, little-endian and row-major, to `write`, in order, in pieces of any size.
    let produce: (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    /// A tensor whose bytes `produce` hands over while the file is written: `entry.byteCount` of them in all.
    /// - Throws: `LensError` (`.format`) for an impossible shape.
    public init(_ name: String, _ dtype: ElementType, shape: [Int],
                produce: @escaping (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws {
        self.entry = try TensorEntry(name: name, dtype: dtype, shape: shape, at: "tensor to write")
        self.produce = produce
    }

    /// A tensor of `bytes`, little-endian and row-major.
    public init(_ name: String, _ dtype: ElementType, shape: [Int], bytes: [UInt8]) throws {
        try self.init(name, dtype, shape: shape) { write in try bytes.withUnsafeBytes { try write($0) } }
        try check(bytes.count)
    }

    /// A tensor of F32, row-major.
    public init(_ name: String, shape: [Int], _ values: [Float]) throws {
        try self.init(name, .f32, shape: shape) { write in try values.withUnsafeBytes { try write($0) } }
        try check(values.count * 4)
    }

    /// A tensor of F64, row-major.
    public init(_ name: String, shape: [Int], _ values: [Double]) throws {
        try self.init(name, .f64, shape: shape) { write in try values.withUnsafeBytes { try write($0) } }
        try check(values.count * 8)
    }

    /// A tensor of I64, row-major.
    public init(_ name: String, shape: [Int], _ values: [Int64]) throws {
        try self.init(name, .i64, shape: shape) { write in try values.withUnsafeBytes { try write($0) } }
        try check(values.count * 8)
    }

    /// Hands the bytes to `body` and throws if there are more or fewer than the shape says.
    func write(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var count = 0
        try produce { bytes in
            count += bytes.count
            if count > entry.byteCount { try check(count) }
            try body(bytes)
        }
        try check(count)
    }

    private func check(_ count: Int) throws {
        guard count == entry.byteCount else {
            throw LensError(.shape, "tensor to write has another size than its shape", at: entry.name,
                            expected: "\(entry.byteCount) bytes for \(TensorEntry.text(of: entry.shape)) of \(entry.dtype)",
                            found: "\(count)")
        }
    }
}

#if _endian(big)
#error("values are written as they lie in memory, which must be little-endian")
#endif
