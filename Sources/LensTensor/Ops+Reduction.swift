// Sums, means and extremes, over an axis or everything: what metrics end in. Sums are in double precision and rounded once;
// their bits depend on neither threads nor instruction set.

import CLensKernels
import LensFiles

extension Tensor {
    /// The sum of all elements: a scalar.
    public func sum() throws -> Tensor { try reshaped([count]).summed(axis: 0) }

    /// The mean of all elements: a scalar. NaN if there are none.
    public func mean() throws -> Tensor { try sum() / Tensor(Float(count)) }

    /// The mean of all elements as a number.
    @_disfavoredOverload public func mean() throws -> Float {
        try withUnsafeElements { elements in
            Float(elements.reduce(0.0) { $0 + Double($1) } / Double(elements.count))
        }
    }

    /// The sum over an axis, in double precision.
    /// - Parameter keepsAxis: whether the axis stays, with size 1.
    /// - Throws: `LensError(.shape)` if there is no such axis.
    public func summed(axis: Int, keepsAxis: Bool = false) throws -> Tensor {
        let axis = try layout.axis(axis), isa = try Kernels.isa(), x = try contiguous(), before = shape
        var kept = shape, outShape = shape
        kept[axis] = 1
        if keepsAxis { outShape[axis] = 1 } else { outShape.remove(at: axis) }
        let out = try Tensor(uninitialized: outShape)
        withExtendedLifetime(x) {
            lens_sum_axis(isa, Int64(shape[..<axis].reduce(1, *)), Int64(shape[axis]), Int64(shape[(axis + 1)...].reduce(1, *)),
                          x.elements, out.storage.pointer)
        }
        return out.recorded("summed", from: self) { [kept] in try $0.reshaped(kept).broadcast(to: before) }
    }

    /// The mean over an axis; NaN over an axis of size 0.
    /// - Throws: as `summed(axis:)`.
    public func mean(axis: Int, keepsAxis: Bool = false) throws -> Tensor {
        let axis = try layout.axis(axis)
        return try summed(axis: axis, keepsAxis: keepsAxis) / Tensor(Float(shape[axis]))
    }
    /// The largest element along an axis, which goes; the first of equals gets the gradient. NaN counts as largest.
    /// - Throws: `LensError(.shape)` if there is no such axis or nothing along it.
    public func maximum(axis: Int) throws -> Tensor {
        let rows = try movingAxis(axis, to: -1)
        return try rows.picking(rows.argmax())
    }

    /// The smallest element along an axis, as `maximum(axis:)`.
    public func minimum(axis: Int) throws -> Tensor { try -(-self).maximum(axis: axis) }

    /// The sum of the products of elements with those of `other`, of the same shape: a scalar.
    /// - Throws: `LensError(.shape)`.
    public func dot(_ other: Tensor) throws -> Tensor {
        guard other.shape == shape else { throw LensError(.shape, "dot product", expected: "\(shape)", found: "\(other.shape)") }
        return try (self * other).sum()
    }

    /// The root of the sum of squares of all elements: a scalar. Its gradient at 0 is 0.
    public func norm() throws -> Tensor { try reshaped([count]).norm(axis: 0) }

    /// The root of the sum of squares along an axis.
    /// - Throws: as `summed(axis:)`.
    public func norm(axis: Int, keepsAxis: Bool = false) throws -> Tensor {
        let axis = try layout.axis(axis), x = detached()
        let kept = try (x * x).summed(axis: axis, keepsAxis: true).squareRoot()
        let recorded = kept.recorded("norm", from: self) { gradient in
            // Where the norm is 0, so is x; no other norm is as small.
            try x * (gradient / kept.clamped(to: 1e-23 ... .infinity))
        }
        return keepsAxis ? recorded : try recorded.summed(axis: axis)
    }
}
