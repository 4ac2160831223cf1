// Integer tensors: tokens, positions, arg-max results. Small, row-major, a value; no arithmetic.

import LensFiles

/// An n-dimensional array of integers, row-major; `[batch, pos]` for tokens.
public struct IntTensor: Sendable, Hashable {
    public private(set) var shape: [Int]
    /// The elements in row-major order.
    public private(set) var array: [Int]

    /// - Throws: `LensError(.shape)` if the number of values does not fit.
    public init(_ values: [Int], shape: [Int]) throws {
        let count = try checkedCount(shape)
        guard values.count == count else {
            throw LensError(.shape, "number of values does not fit the shape", expected: "\(count) for \(shape)",
                            found: "\(values.count)")
        }
        array = values
        self.shape = shape
    }

    /// One row: shape `[count]`.
    public init(_ values: [Int]) {
        array = values
        shape = [values.count]
    }

    /// Rows of equal length: shape `[rows, length]`.
    /// - Throws: `LensError(.shape)` if they differ in length.
    public init(rows: [[Int]]) throws {
        let length = rows.first?.count ?? 0
        for (index, row) in rows.enumerated() where row.count != length {
            throw LensError(.shape, "rows of different lengths", at: "row \(index)", expected: "\(length) tokens",
                            found: "\(row.count)", advice: "pad the rows, and say which side")
        }
        array = rows.flatMap(\.self)
        shape = [rows.count, length]
    }

    public var count: Int { array.count }
    public var rank: Int { shape.count }

    /// The element at a full set of indices (negative from the end). Traps out of range.
    public subscript(_ indices: Int...) -> Int {
        get { array[offset(indices)] }
        set { array[offset(indices)] = newValue }
    }

    /// Row `index` of a rank-2 tensor.
    public func row(_ index: Int) -> [Int] {
        precondition(rank == 2, "row(_:) is for rank 2, found \(shape)")
        return Array(array[index * shape[1]..<(index + 1) * shape[1]])
    }

    /// All rows of a rank-2 tensor.
    public var rows: [[Int]] { (0..<(rank == 2 ? shape[0] : 0)).map(row) }

    private func offset(_ indices: [Int]) -> Int {
        precondition(indices.count == rank, "expected \(rank) indices, found \(indices.count)")
        var offset = 0
        for (index, size) in zip(indices, shape) {
            let resolved = index < 0 ? index + size : index
            precondition((0..<size).contains(resolved), "index \(index) out of range for shape \(shape)")
            offset = offset * size + resolved
        }
        return offset
    }
}
