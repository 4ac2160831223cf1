// Writes GGUF version 3, streaming: metadata and the tensors' descriptions first, then each tensor's bytes as they come, in the
// order given. The file appears whole or not at all.

/// One tensor for a GGUF file. Its bytes are asked for once, when it is written, and may come in pieces.
public struct GGUFContent {
    public let name: String
    public let type: GGMLType
    /// Row-major, the slowest axis first; rows are whole blocks of the type.
    public let shape: [Int]
    public let byteCount: Int
    let produce: (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    /// - Throws: `LensError(.format)` for what a GGUF file cannot hold: names of 64 bytes or more, more than four axes, rows that
    ///   end inside a block.
    public init(_ name: String, _ type: GGMLType, shape: [Int],
                produce: @escaping (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws {
        guard !name.isEmpty, name.utf8.count < 64, shape.count <= 4 else {
            throw LensError(.format, "tensor that GGUF has no place for", at: name, expected: "a name of 1 to 63 bytes and at most 4 axes",
                            found: "\(name.utf8.count) bytes, \(shape.count) axes")
        }
        var count = 1
        for axis in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: axis)
            guard axis >= 0, !overflow else { throw LensError(.format, "impossible shape of a tensor", at: name, found: TensorEntry.text(of: shape)) }
            count = product
        }
        let block = type.block
        let (bytes, overflow) = (count / block.elements).multipliedReportingOverflow(by: block.bytes)
        guard (shape.last ?? 1) % block.elements == 0, !overflow else {
            throw LensError(.format, "rows that end inside a block", at: name, expected: "a multiple of \(block.elements) for \(type)",
                            found: TensorEntry.text(of: shape))
        }
        self.name = name
        self.type = type
        self.shape = shape
        self.byteCount = bytes
        self.produce = produce
    }

    /// A tensor of a plain type.
    /// - Throws: `LensError(.format)` for a type or a shape that a GGUF file cannot hold.
    public init(_ tensor: TensorContent) throws {
        guard let type = GGMLType.allCases.first(where: { $0.plain == tensor.entry.dtype }) else {
            throw LensError(.format, "tensor of a type that GGUF has not", at: tensor.entry.name, found: tensor.entry.dtype.rawValue)
        }
        try self.init(tensor.entry.name, type, shape: tensor.entry.shape, produce: tensor.produce)
    }
}

/// Writes GGUF files.
public enum GGUFWriter {
    /// Writes `metadata` and `tensors`, both in order, to the file at `path`, replacing it. Integers and numbers take 32 bits
    /// where they fit, else 64. `general.alignment` is not to be given: it is 32.
    /// - Throws: `LensError`: `.file` if it cannot be written, `.usage` for a key or a name given twice, `.shape` for bytes that do
    ///   not fit a shape.
    public static func write(_ tensors: [GGUFContent], metadata: [(key: String, value: GGUFValue)], to path: String) throws {
        let header = try header(tensors, metadata)
        let file = try AtomicFileWriter(path: path)
        try file.write(header)
        for (index, tensor) in tensors.enumerated() {
            var count = 0
            try tensor.produce { bytes in
                count += bytes.count
                guard count <= tensor.byteCount else { throw wrongSize(tensor, count) }
                try file.write(bytes)
            }
            guard count == tensor.byteCount else { throw wrongSize(tensor, count) }
            if index + 1 < tensors.count { try file.write([UInt8](repeating: 0, count: padding(count))) }
        }
        try file.commit()
    }

    private static let alignment = 32

    private static func padding(_ count: Int) -> Int { (alignment - count % alignment) % alignment }

    private static func wrongSize(_ tensor: GGUFContent, _ count: Int) -> LensError {
        LensError(.shape, "tensor to write has another size than its shape", at: tensor.name,
                  expected: "\(tensor.byteCount) bytes for \(TensorEntry.text(of: tensor.shape)) of \(tensor.type)", found: "\(count)")
    }

    private static func header(_ tensors: [GGUFContent], _ metadata: [(key: String, value: GGUFValue)]) throws -> [UInt8] {
        var bytes = Array("GGUF".utf8)
        bytes.append(littleEndian: UInt32(3))
        bytes.append(littleEndian: UInt64(tensors.count))
        bytes.append(littleEndian: UInt64(metadata.count))
        var keys: Set<ExactString> = [], names: Set<ExactString> = []
        for (key, value) in metadata {
            guard !key.isEmpty, key.utf8.count <= 65_535, key != "general.alignment", keys.insert(ExactString(key)).inserted else {
                throw LensError(.usage, "metadata key that cannot be written", found: key, advice: "each key once, and not general.alignment")
            }
            bytes.append(text: key)
            bytes.append(value)
        }
        var offset = 0
        for tensor in tensors {
            guard names.insert(ExactString(tensor.name)).inserted else { throw LensError(.usage, "two tensors of one name to write", found: tensor.name) }
            bytes.append(text: tensor.name)
            bytes.append(littleEndian: UInt32(tensor.shape.count))
            for axis in tensor.shape.reversed() { bytes.append(littleEndian: UInt64(axis)) }
            bytes.append(littleEndian: tensor.type.rawValue)
            bytes.append(littleEndian: UInt64(offset))
            let (end, overflow) = offset.addingReportingOverflow(tensor.byteCount + padding(tensor.byteCount))
            guard !overflow else { throw LensError(.usage, "more bytes than a file can hold", at: tensor.name) }
            offset = end
        }
        bytes.append(contentsOf: repeatElement(0, count: padding(bytes.count)))
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func append(text: String) {
        append(littleEndian: UInt64(text.utf8.count))
        append(contentsOf: text.utf8)
    }

    /// A value with its type before it.
    fileprivate mutating func append(_ value: GGUFValue) {
        switch value {
        case .bool(let flag):
            append(littleEndian: UInt32(7))
            append(flag ? 1 : 0)
        case .string(let text):
            append(littleEndian: UInt32(8))
            append(text: text)
        case .int(let number): append(items: .ints([number]), isArray: false)
        case .uint(let number): append(items: .uints([number]), isArray: false)
        case .float(let number): append(items: .floats([number]), isArray: false)
        case .array(let array):
            append(littleEndian: UInt32(9))
            append(items: array, isArray: true)
        }
    }

    /// The type of the items, their number if they are an array's, and the items.
    private mutating func append(items: GGUFArray, isArray: Bool) {
        func begin(_ type: UInt32) -> [UInt8] {
            var start: [UInt8] = []
            start.append(littleEndian: type)
            if isArray { start.append(littleEndian: UInt64(items.count)) }
            return start
        }
        switch items {
        case .bytes(let list, let isSigned): self += begin(isSigned ? 1 : 0) + list
        case .bools(let list): self += begin(7) + list.map { $0 ? 1 : 0 }
        case .ints(let list):
            let fit = list.allSatisfy { Int32(exactly: $0) != nil }
            self += begin(fit ? 5 : 11)
            for number in list { fit ? append(littleEndian: Int32(truncatingIfNeeded: number)) : append(littleEndian: number) }
        case .uints(let list):
            let fit = list.allSatisfy { UInt32(exactly: $0) != nil }
            self += begin(fit ? 4 : 10)
            for number in list { fit ? append(littleEndian: UInt32(truncatingIfNeeded: number)) : append(littleEndian: number) }
        case .floats(let list):
            let fit = list.allSatisfy { Double(Float($0)) == $0 || $0.isNaN }
            self += begin(fit ? 6 : 12)
            for number in list { fit ? append(littleEndian: Float(number).bitPattern) : append(littleEndian: number.bitPattern) }
        case .strings(let list):
            self += begin(8)
            for text in list { append(text: text) }
        case .arrays(let list):
            self += begin(9)
            for item in list { append(items: item, isArray: true) }
        }
    }
}
