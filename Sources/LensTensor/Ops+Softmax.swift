// Softmax, log-softmax, cross-entropy and arg-max over the last axis.

import CLensKernels
import LensFiles

extension Tensor {
    /// Softmax over the last axis; a row of nothing but -inf gives zeros.
    public func softmax() throws -> Tensor {
        try overRows { isa, rows, width, x, out in lens_softmax(isa, rows, width, x, out) }
    }

    /// Log-softmax over the last axis.
    public func logSoftmax() throws -> Tensor {
        try overRows { isa, rows, width, x, out in lens_log_softmax(isa, rows, width, x, out) }
    }

    private func overRows(_ body: (OpaquePointer, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void) throws -> Tensor {
        guard let width = shape.last else { throw LensError(.shape, "softmax of a scalar", expected: "[…, n]", found: "[]") }
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) {
            body(isa, Int64(shape.dropLast().reduce(1, *)), Int64(width), x.elements, out.storage.pointer)
        }
        return out
    }

    /// `-logSoftmax[target]` of each row, without storing the rows: `[…, vocab]` and as many targets to `[…]`.
    /// - Throws: `LensError(.shape)` for a target outside the vocabulary or a wrong number of them.
    public func crossEntropy(targets: [Int]) throws -> Tensor {
        guard let width = shape.last, targets.count == shape.dropLast().reduce(1, *) else {
            throw LensError(.shape, "cross-entropy", expected: "one target for each row of \(shape)", found: "\(targets.count)")
        }
        let isa = try Kernels.isa(), ids = try checkedIDs(targets, below: width)
        let out = try Tensor(uninitialized: Array(shape.dropLast()))
        // A batch's logits without their last position are rows with gaps between: not worth a copy of all of them.
        let hasRows = rank == 3 && layout.strides[2] == 1 && shape[1] > 0
        let x = hasRows ? self : try contiguous()
        let blocks = hasRows ? shape[0] : 1, rows = hasRows ? shape[1] : ids.count
        ids.withUnsafeBufferPointer { ids in
            for block in 0..<blocks {
                guard let first = ids.baseAddress else { return }
                let start = hasRows ? x.elements + block * layout.strides[0] : x.elements
                lens_cross_entropy(isa, Int64(rows), Int64(width), start, Int64(hasRows ? layout.strides[1] : width), first + block * rows,
                                   out.storage.pointer + block * rows)
            }
        }
        return withExtendedLifetime(x) { out }
    }

    /// The index of the largest element of each row (the first of equals; NaN counts as largest, so it is seen).
    public func argmax() throws -> IntTensor {
        guard let width = shape.last, width > 0 else {
            throw LensError(.shape, "arg-max of nothing", expected: "[…, n] with n ≥ 1", found: "\(shape)")
        }
        let best = try withUnsafeElements { elements in
            (0..<elements.count / width).map { row -> Int in
                var best = 0
                for column in 0..<width {
                    let value = elements[row * width + column]
                    if value.isNaN { return column }
                    if value > elements[row * width + best] { best = column }
                }
                return best
            }
        }
        return try IntTensor(best, shape: Array(shape.dropLast()))
    }

    /// The mean of all elements, summed in double precision.
    public func mean() throws -> Float {
        try withUnsafeElements { elements in
            Float(elements.reduce(0.0) { $0 + Double($1) } / Double(elements.count))
        }
    }
}
