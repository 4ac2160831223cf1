// Looking up rows, and rotary embedding.

import CLensKernels
import LensFiles

extension Tensor {
    /// Rows `ids` of a table `[rows, width]`: `[ids.count, width]`.
    /// - Throws: `LensError(.shape)` for an id outside the table.
    public func gatherRows(_ ids: [Int]) throws -> Tensor {
        guard rank == 2 else { throw LensError(.shape, "not a table", expected: "[rows, width]", found: "\(shape)") }
        let table = try contiguous(), ids = try checkedIDs(ids, below: shape[0])
        let out = try Tensor(uninitialized: [ids.count, shape[1]])
        withExtendedLifetime(table) {
            lens_gather_rows(Int64(ids.count), Int64(shape[1]), table.elements, ids, out.storage.pointer)
        }
        let tableShape = shape
        return out.recorded("gatherRows", from: self) { gradient in
            // A row looked up several times gets the sum, in the order of the ids.
            let isa = try Kernels.isa(), rows = Tensor(zeros: tableShape), gradient = try gradient.contiguous()
            let ones = [Float](repeating: 1, count: ids.count)
            withExtendedLifetime(gradient) {
                lens_add_rows(isa, Int64(ids.count), Int64(tableShape[1]), ids, ones, gradient.elements, rows.storage.pointer)
            }
            return rows
        }
    }
}

/// Cosines and sines for positions 0..<count: `[count, rotaryDim / 2]` each.
public struct RotaryTable: Sendable {
    public let cos: Tensor
    public let sin: Tensor
    /// Channels of each head that rotate; the rest pass.
    public let rotaryDim: Int
    /// Pairs (2i, 2i+1) instead of (i, i + rotaryDim / 2).
    public let adjacentPairs: Bool

    /// - Throws: `LensError(.shape)`; `LensError(.usage)` if a table is tracked.
    public init(cos: Tensor, sin: Tensor, adjacentPairs: Bool) throws {
        guard cos.rank == 2, cos.shape == sin.shape else {
            throw LensError(.shape, "rotary table", expected: "cos and sin [positions, pairs]", found: "\([cos.shape, sin.shape])")
        }
        for table in [cos, sin] { try table.refuseTracked("a rotary table") }
        self.cos = try cos.contiguous()
        self.sin = try sin.contiguous()
        rotaryDim = 2 * cos.shape[1]
        self.adjacentPairs = adjacentPairs
    }

    /// Rotates `x: [batch, pos, head, d_head]` by `positions` (one for each of batch × pos, rows of the table).
    /// - Throws: `LensError(.shape)` for a position outside the table.
    public func rotate(_ x: Tensor, positions: [Int]) throws -> Tensor {
        guard x.rank == 4, positions.count == x.shape[0] * x.shape[1], rotaryDim <= x.shape[3] else {
            throw LensError(.shape, "rotary embedding", expected: "[batch, pos, head, ≥ \(rotaryDim)] and a position for each row",
                            found: "\(x.shape) and \(positions.count) positions")
        }
        let ids = try checkedIDs(positions, below: cos.shape[0])
        return try turned(x, ids, lens_rotary).recorded("rotary", from: x) { try turned($0, ids, lens_rotary_backward) }
    }

    private typealias Kernel = (OpaquePointer, Int64, Int64, Int64, Int64, Bool, UnsafePointer<Float>, UnsafePointer<Int32>,
                                UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

    private func turned(_ x: Tensor, _ ids: [Int32], _ kernel: Kernel) throws -> Tensor {
        let isa = try Kernels.isa(), x = try x.contiguous(), out = try Tensor(uninitialized: x.shape)
        withExtendedLifetime((x, self)) {
            kernel(isa, Int64(ids.count), Int64(x.shape[2]), Int64(x.shape[3]), Int64(rotaryDim), adjacentPairs,
                   x.elements, ids, cos.elements, sin.elements, out.storage.pointer)
        }
        return out
    }
}
