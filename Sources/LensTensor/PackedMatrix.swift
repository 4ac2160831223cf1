// A weight matrix W[rows, columns] packed once, at load, into the panels that the product kernel reads, and the products
// over it. Packed weights are the one copy kept: parameters are unpacked on demand, tied embeddings gathered from them.

import CLensKernels
import LensFiles

/// A weight matrix in the kernel's panels; immutable once made.
public final class PackedMatrix: Sendable {
    /// Rows: the input width, k.
    public let rows: Int
    /// Columns: the output width, n.
    public let columns: Int
    let storage: FloatStorage

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
        fileprivate let storage: FloatStorage
        fileprivate let rows: Int
        fileprivate let columns: Int

        /// Packs the block W[rows, columns]: its element (i, j) is at `source + (i * rowStride + j * columnStride)`
        /// elements. The caller answers for the source being large enough.
        public func pack(rows block: Range<Int>, columns: Range<Int>, from source: UnsafeRawPointer, _ element: Element,
                         rowStride: Int, columnStride: Int) throws {
            guard block.lowerBound >= 0, block.upperBound <= rows, columns.lowerBound >= 0,
                  columns.upperBound <= self.columns else {
                throw LensError(.shape, "block outside the matrix", expected: "within [\(rows), \(self.columns)]",
                                found: "rows \(block), columns \(columns)")
            }
            lens_pack(storage.pointer, Int64(rows), Int64(self.columns), Int64(block.lowerBound), Int64(block.count),
                      Int64(columns.lowerBound), Int64(columns.count), source, element.dtype, Int64(rowStride),
                      Int64(columnStride))
        }
    }

    /// Makes a matrix whose every block `fill` packs (what it leaves out is zero).
    /// - Throws: what `fill` throws; `LensError(.machine)` without memory.
    public init(rows: Int, columns: Int, fill: (Writer) throws -> Void) throws {
        _ = try checkedCount([rows, columns + Int(LENS_PANEL)])
        self.rows = rows
        self.columns = columns
        storage = try FloatStorage(uninitialized: Int(lens_packed_count(Int64(rows), Int64(columns))), recycled: false)
        storage.pointer.update(repeating: 0, count: storage.count)
        try fill(Writer(storage: storage, rows: rows, columns: columns))
    }

    /// Packs a tensor of shape `[rows, columns]`.
    public convenience init(_ tensor: Tensor) throws {
        guard tensor.rank == 2 else {
            throw LensError(.shape, "not a matrix", expected: "[rows, columns]", found: "\(tensor.shape)")
        }
        let (rows, columns) = (tensor.shape[0], tensor.shape[1])
        try self.init(rows: rows, columns: columns) { writer in
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
        let result = try Tensor(uninitialized: [block.count, range.count])
        lens_unpack(storage.pointer, Int64(rows), Int64(columns), Int64(block.lowerBound), Int64(block.count),
                    Int64(range.lowerBound), Int64(range.count), result.storage.pointer, Int64(range.count), 1)
        return result
    }

    /// Columns `ids` as rows: `[ids.count, rows]`. How tied embeddings are looked up in W_U.
    /// - Throws: `LensError(.shape)` for an id outside the columns.
    public func gatherColumns(_ ids: [Int]) throws -> Tensor {
        let ids = try checkedIDs(ids, below: columns)
        let result = try Tensor(uninitialized: [ids.count, rows])
        lens_gather_columns(Int64(ids.count), Int64(rows), Int64(columns), storage.pointer, ids, result.storage.pointer)
        return result
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

/// Converts `count` elements at any alignment to float32. The caller answers for both buffers.
public func convert(_ source: UnsafeRawPointer, _ element: PackedMatrix.Element, count: Int, to destination: UnsafeMutablePointer<Float>) {
    lens_convert(source, element.dtype, Int64(count), destination)
}
