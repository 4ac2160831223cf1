// Tensors quantised in blocks, as a source offers them: row by row, blocks as they lie in the file. Formats that have none
// need not say so.

/// What a file says of a tensor quantised in blocks of a ggml type.
public struct BlockTensor: Sendable, Hashable {
    public let name: String
    public let type: GGMLType
    /// Row-major, the slowest axis first; blocks run along the last one.
    public let shape: [Int]

    /// - Throws: `LensError(.format)` for rows that end inside a block.
    public init(name: String, type: GGMLType, shape: [Int], at location: String) throws {
        guard type.plain == nil, let width = shape.last, width > 0, width % type.block.elements == 0 else {
            throw LensError(.format, "not a tensor of whole blocks", at: "\(location): \(name)",
                            expected: "rows of a multiple of \(type.block.elements) for \(type)", found: TensorEntry.text(of: shape))
        }
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// Bytes of one row.
    public var rowBytes: Int { (shape.last ?? 0) / type.block.elements * type.block.bytes }
    /// Rows, over all axes but the last.
    public var rows: Int { shape.dropLast().reduce(1, *) }
}

extension TensorSource {
    public func blockTensor(_ name: String) -> BlockTensor? { nil }

    public func readBlocks(_ name: String, rows: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws {
        throw LensError(.weights, "no such tensor quantised in blocks", at: location, found: name)
    }
}

extension GGUFFile {
    public func blockTensor(_ name: String) -> BlockTensor? {
        guard let tensor = tensor(name), tensor.type.plain == nil else { return nil }
        return try? BlockTensor(name: name, type: tensor.type, shape: tensor.shape, at: location)
    }

    public func readBlocks(_ name: String, rows: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let tensor = tensor(name), let blocks = blockTensor(name) else {
            throw LensError(.weights, "no such tensor quantised in blocks", at: location, found: name)
        }
        guard rows.lowerBound >= 0, rows.upperBound <= blocks.rows, buffer.count == rows.count * blocks.rowBytes else {
            throw LensError(.shape, "rows a tensor does not have, or a buffer of another size", at: "\(location): \(name)",
                            expected: "within \(blocks.rows) rows of \(blocks.rowBytes) bytes", found: "\(rows) into \(buffer.count) bytes")
        }
        try readBytes(at: tensor.byteRange.lowerBound + rows.lowerBound * blocks.rowBytes, into: buffer)
    }
}
