// A weight matrix W[rows, columns] packed once, at load, into the panels that the product kernel reads, in one of the
// formats of WeightFormat. Packed weights are the one copy kept: parameters are unpacked on demand, embeddings gathered from
// them, and the blocks of a quantised format come in and go out bit for bit.

import CLensKernels
import LensFiles

/// A weight matrix in the kernel's panels; immutable once made (processing rewrites one that nobody else holds).
public final class PackedMatrix: Sendable {
    /// Rows: the input width, k.
    public let rows: Int
    /// Columns: the output width, n.
    public let columns: Int
    /// How its weights are kept.
    public let format: WeightFormat
    /// What activations are in its products.
    public let activations: ActivationFormat
    private let storage: FloatStorage
    /// Set where gradients with respect to the weights are asked for: of shape `[rows, columns]`.
    package let graph: GraphValue?

    /// The same weights, tracked: products with them are recorded, and `gradients(of:to:)` may be asked for `graph`.
    package func tracked() -> PackedMatrix {
        PackedMatrix(sharing: self, GraphValue(GraphNode("weights", inputs: [], outputShapes: [[rows, columns]]) { _ in [] }), activations)
    }

    /// The same weights as constants.
    package func detached() -> PackedMatrix { graph == nil ? self : PackedMatrix(sharing: self, nil, activations) }

    init(sharing other: PackedMatrix, _ graph: GraphValue?, _ activations: ActivationFormat) {
        rows = other.rows
        columns = other.columns
        format = other.format
        storage = other.storage
        self.activations = activations
        self.graph = graph
    }

    /// Bytes held.
    public var byteCount: Int { Int(lens_packed_bytes(format.kernel, Int64(rows), Int64(columns))) }

    /// Precision of elements that are packed.
    public enum Element: Sendable, Hashable {
        case float32, float16, bfloat16, float64

        var dtype: lens_dtype {
            switch self {
            case .float32: return LENS_F32
            case .float16: return LENS_F16
            case .bfloat16: return LENS_BF16
            case .float64: return LENS_F64
            }
        }

        /// Bytes of one element.
        public var byteCount: Int {
            switch self {
            case .float32: return 4
            case .float16, .bfloat16: return 2
            case .float64: return 8
            }
        }
    }

    /// Writes blocks into a matrix while it is being made.
    public struct Writer {
        fileprivate let matrix: lens_matrix
        fileprivate let format: WeightFormat

        /// Packs the block W[rows, columns]: its element (i, j) is at `source + (i * rowStride + j * columnStride)`
        /// elements. The caller answers for the source being large enough. Numbers are rounded to the nearest, ties to even,
        /// or quantised as ggml does, in which case `rows` are whole blocks of the format.
        /// - Throws: `LensError(.shape)` out of range or inside a block; `LensError(.usage)` for a format that numbers are
        ///   not packed into.
        public func pack(rows: Range<Int>, columns: Range<Int>, from source: UnsafeRawPointer, _ element: Element,
                         rowStride: Int, columnStride: Int) throws {
            try check(rows, columns)
            guard format.packsNumbers else {
                throw LensError(.usage, "numbers are not packed into this format", expected: WeightFormat.loadable.map(\.rawValue).joined(separator: ", "),
                                found: format.rawValue)
            }
            guard rows.lowerBound % format.blockRows == 0, rows.count % format.blockRows == 0 else {
                throw LensError(.shape, "rows that end inside a block", expected: "multiples of \(format.blockRows) for \(format)", found: "\(rows)")
            }
            withUnsafePointer(to: matrix) { matrix in
                lens_pack(matrix, Int64(rows.lowerBound), Int64(rows.count), Int64(columns.lowerBound), Int64(columns.count),
                          source, element.dtype, Int64(rowStride), Int64(columnStride))
            }
        }

        /// Packs whole columns from blocks as a GGUF file has them: those of one column after another, `blockBytes` each.
        /// - Throws: `LensError(.shape)` out of range or for a buffer of another size; `LensError(.usage)` if the format has
        ///   no blocks.
        public func packBlocks(columns: Range<Int>, from source: UnsafeRawBufferPointer) throws {
            try check(0..<Int(matrix.k), columns)
            guard format.isQuantized else { throw LensError(.usage, "a format without blocks", expected: "a quantised one", found: format.rawValue) }
            let bytes = Int(matrix.k) / format.blockRows * format.blockBytes * columns.count
            guard source.count == bytes else {
                throw LensError(.shape, "blocks of columns", expected: "\(bytes) bytes", found: "\(source.count)")
            }
            guard let base = source.baseAddress, bytes > 0 else { return }
            withUnsafePointer(to: matrix) { lens_pack_blocks($0, Int64(columns.lowerBound), Int64(columns.count), base) }
        }

        /// Calls `body` with the matrix as the kernels take it.
        func withKernelMatrix<R>(_ body: (UnsafePointer<lens_matrix>) throws -> R) rethrows -> R { try withUnsafePointer(to: matrix, body) }

        private func check(_ rows: Range<Int>, _ columns: Range<Int>) throws {
            guard rows.lowerBound >= 0, rows.upperBound <= matrix.k, columns.lowerBound >= 0, columns.upperBound <= matrix.n else {
                throw LensError(.shape, "block outside the matrix", expected: "within [\(matrix.k), \(matrix.n)]",
                                found: "rows \(rows), columns \(columns)")
            }
        }
    }

    /// Makes a matrix whose every block `fill` packs (what it leaves out is zero).
    /// - Throws: what `fill` throws; `LensError(.machine)` without memory; `LensError(.shape)` for rows that do not fill the
    ///   format's blocks.
    public init(rows: Int, columns: Int, format: WeightFormat = .float32, fill: (Writer) throws -> Void) throws {
        let bytes = try format.byteCount(rows: rows, columns: columns)
        guard format.fits(rows: rows) else {
            throw LensError(.shape, "rows that do not fill the blocks of \(format)", expected: "a multiple of \(format.blockRows)", found: "\(rows)")
        }
        self.rows = rows
        self.columns = columns
        self.format = format
        activations = .float32
        graph = nil
        storage = try FloatStorage(zeros: (bytes + 3) / 4, recycled: false)
        try fill(Writer(matrix: lens_matrix(format: format.kernel, k: Int64(rows), n: Int64(columns), data: storage.pointer), format: format))
    }

    /// Calls `body` with the matrix as the kernels take it.
    func withKernelMatrix<R>(_ body: (UnsafePointer<lens_matrix>) throws -> R) rethrows -> R {
        var matrix = lens_matrix(format: format.kernel, k: Int64(rows), n: Int64(columns), data: storage.pointer)
        return try withExtendedLifetime(self) { try withUnsafePointer(to: &matrix, body) }
    }

    /// Packs a tensor of shape `[rows, columns]`.
    /// - Throws: `LensError(.shape)`; `LensError(.usage)` if it is tracked, as panels are not part of the graph.
    public convenience init(_ tensor: Tensor, format: WeightFormat = .float32) throws {
        guard tensor.rank == 2 else {
            throw LensError(.shape, "not a matrix", expected: "[rows, columns]", found: "\(tensor.shape)")
        }
        try tensor.refuseTracked("packing", advice: "multiply with matmul(_:), or pack a constant and call tracked() on that")
        let (rows, columns) = (tensor.shape[0], tensor.shape[1])
        try self.init(rows: rows, columns: columns, format: format) { writer in
            try withExtendedLifetime(tensor.storage) {
                try writer.pack(rows: 0..<rows, columns: 0..<columns, from: tensor.storage.pointer + tensor.layout.offset,
                                .float32, rowStride: tensor.layout.strides[0], columnStride: tensor.layout.strides[1])
            }
        }
    }

    /// The block W[rows, columns] as a tensor of that shape.
    /// - Throws: `LensError(.shape)` out of range.
    public func unpacked(rows block: Range<Int>? = nil, columns range: Range<Int>? = nil) throws -> Tensor {
        let block = block ?? 0..<rows, range = range ?? 0..<columns
        guard block.lowerBound >= 0, block.upperBound <= rows, range.lowerBound >= 0, range.upperBound <= columns else {
            throw LensError(.shape, "block outside the matrix", expected: "within [\(rows), \(columns)]",
                            found: "rows \(block), columns \(range)")
        }
        let isa = try Kernels.isa(), result = try Tensor(uninitialized: [block.count, range.count])
        withKernelMatrix { matrix in
            lens_unpack(isa, matrix, Int64(block.lowerBound), Int64(block.count), Int64(range.lowerBound), Int64(range.count),
                        result.storage.pointer, Int64(range.count), 1)
        }
        let whole = [rows, columns]
        return result.recorded("unpacked", from: [graph]) { request in
            let gradient = try request.first()
            guard gradient.shape != whole else { return [gradient] }
            var all = Tensor(zeros: whole)
            try all.assign(gradient, at: [.range(block), .range(range)])
            return [all]
        }
    }

    /// The blocks of whole columns, as a GGUF file has them: those of one column after another. The bytes that
    /// `Writer.packBlocks` was given come out as they went in.
    /// - Throws: `LensError(.usage)` if the format has no blocks, `LensError(.shape)` out of range.
    public func blocks(columns range: Range<Int>) throws -> [UInt8] {
        guard format.isQuantized else { throw LensError(.usage, "a format without blocks", expected: "a quantised one", found: format.rawValue) }
        guard range.lowerBound >= 0, range.upperBound <= columns else {
            throw LensError(.shape, "columns outside the matrix", expected: "within \(columns)", found: "\(range)")
        }
        let count = rows / format.blockRows * format.blockBytes * range.count
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            if let base = buffer.baseAddress, count > 0 {
                withKernelMatrix { lens_unpack_blocks($0, Int64(range.lowerBound), Int64(range.count), base) }
            }
            filled = count
        }
    }

    /// Columns `ids` as rows: `[ids.count, rows]`. How embeddings are looked up: in W_U where they are tied to it.
    /// - Throws: `LensError(.shape)` for an id outside the columns.
    public func gatherColumns(_ ids: [Int]) throws -> Tensor {
        let ids = try checkedIDs(ids, below: columns), isa = try Kernels.isa()
        let result = try Tensor(uninitialized: [ids.count, rows])
        withKernelMatrix { lens_gather_columns(isa, $0, Int64(ids.count), ids, result.storage.pointer) }
        let (rows, columns) = (rows, columns)
        return result.recorded("columns", from: [graph]) { request in
            let gradient = try request.first().contiguous(), whole = Tensor(zeros: [rows, columns])
            withExtendedLifetime(gradient) {
                lens_add_columns(Int64(ids.count), Int64(rows), Int64(columns), ids, gradient.elements, whole.storage.pointer)
            }
            return [whole]
        }
    }
}

extension WeightFormat {
    /// Rows of numbers in this format as files have them: `[rows, width]`, blocks along a row. Element (i, j) is at
    /// `source + (i * rowStride + j * columnStride)` elements; the caller answers for it.
    /// - Throws: as `PackedMatrix.Writer.pack`.
    public func encoded(_ source: UnsafeRawPointer, _ element: PackedMatrix.Element, rows: Int, width: Int, rowStride: Int, columnStride: Int) throws -> [UInt8] {
        if isQuantized {
            return try PackedMatrix(rows: width, columns: rows, format: self) { writer in
                try writer.pack(rows: 0..<width, columns: 0..<rows, from: source, element, rowStride: columnStride, columnStride: rowStride)
            }.blocks(columns: 0..<rows)
        }
        // A matrix of one row is its elements side by side.
        let line = try PackedMatrix(rows: 1, columns: rows * width, format: self) { writer in
            for row in 0..<rows {
                try writer.pack(rows: 0..<1, columns: row * width..<(row + 1) * width, from: source + row * rowStride * element.byteCount, element,
                                rowStride: 0, columnStride: columnStride)
            }
        }
        return line.withKernelMatrix { matrix in
            matrix.pointee.data.map { Array(UnsafeRawBufferPointer(start: $0, count: rows * width * blockBytes)) } ?? []
        }
    }
}

/// Ids as the kernels take them.
/// - Throws: `LensError(.shape)` for one outside `0..<bound`.
func checkedIDs(_ ids: [Int], below bound: Int) throws -> [Int32] {
    try ids.map { id in
        guard id >= 0, id < bound, let small = Int32(exactly: id) else {
            throw LensError(.shape, "id out of range", expected: "0..<\(bound)", found: "\(id)")
        }
        return small
    }
}

/// The same of targets of a loss, of which those below 0 do not count: -1.
func checkedTargets(_ targets: [Int], below bound: Int) throws -> [Int32] {
    try targets.map { target in
        guard target < bound, let small = Int32(exactly: max(target, -1)) else {
            throw LensError(.shape, "target out of range", expected: "0..<\(bound)", found: "\(target)")
        }
        return small
    }
}

/// Converts `count` elements at any alignment to float32. The caller answers for both buffers.
public func convert(_ source: UnsafeRawPointer, _ element: PackedMatrix.Element, count: Int, to destination: UnsafeMutablePointer<Float>) {
    lens_convert(source, element.dtype, Int64(count), destination)
}
