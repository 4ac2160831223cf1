// Small questions about tensors (TransformerLens' `utils`).

import LensFiles
import LensHooks
import LensTensor

/// The full name of an activation (TransformerLens' `get_act_name`): `getActName("k", 6, "a")` is `blocks.6.attn.hook_k`.
public func getActName(_ name: String, _ layer: Int? = nil, _ type: String? = nil) -> String { actName(name, layer: layer, type: type) }

extension Tensor {
    /// At most the first `count` places of every axis.
    public func getCorner(_ count: Int = 3) throws -> Tensor { try view(shape.map { .upTo(min(max(0, count), $0)) }) }

    /// Whether it is a square matrix.
    public var isSquare: Bool { rank == 2 && shape[0] == shape[1] }

    /// Whether it is a square matrix with nothing but zeros above the diagonal.
    public var isLowerTriangular: Bool {
        guard isSquare else { return false }
        let values = array, size = shape[0]
        return values.indices.allSatisfy { $0 % size <= $0 / size || values[$0] == 0 }
    }

    /// Running sums along an axis, from its start or, `reverse`, from its end (TransformerLens' `get_cumsum_along_dim`).
    public func cumulativeSum(axis: Int, reverse: Bool = false) throws -> Tensor {
        let axis = try layout.axis(axis), size = shape[axis], front = try movingAxis(axis, to: 0)
        var sums = [Tensor?](repeating: nil, count: size), last: Tensor?
        for place in reverse ? Array((0..<size).reversed()) : Array(0..<size) {
            let slice = try front.at(.at(place))
            let sum = try last.map { try $0 + slice } ?? slice
            sums[place] = sum
            last = sum
        }
        return try Tensor.stacked(sums.compactMap(\.self), shape: Array(front.shape.dropFirst())).movingAxis(0, to: axis)
    }

    /// A residual stream `[batch, pos, d_model]` once for each head, `[batch, pos, head, d_model]`; a view.
    public func repeatedAlongHeads(_ heads: Int) throws -> Tensor {
        guard rank >= 1 else { throw LensError(.shape, "a residual stream", expected: "[…, d_model]", found: "\(shape)") }
        var split = shape
        split.insert(1, at: rank - 1)
        let view = try reshaped(split)
        split[rank - 1] = heads
        return try view.broadcast(to: split)
    }
}
