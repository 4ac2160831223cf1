// Softmax, log-softmax, cross-entropy and arg-max over the last axis.

import CLensKernels
import LensFiles

extension Tensor {
    /// Softmax over the last axis; a row of nothing but -inf gives zeros.
    public func softmax() throws -> Tensor {
        let out = try overRows { isa, rows, width, x, out in lens_softmax(isa, rows, width, x, out) }
        return out.recorded("softmax", from: self) { try $0.overRows(of: out, lens_softmax_backward) }
    }

    /// Log-softmax over the last axis.
    public func logSoftmax() throws -> Tensor {
        let out = try overRows { isa, rows, width, x, out in lens_log_softmax(isa, rows, width, x, out) }
        return out.recorded("logSoftmax", from: self) { try $0.overRows(of: out, lens_log_softmax_backward) }
    }

    private func overRows(_ body: (OpaquePointer, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void) throws -> Tensor {
        guard let width = shape.last else { throw LensError(.shape, "softmax of a scalar", expected: "[…, n]", found: "[]") }
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) {
            body(isa, Int64(shape.dropLast().reduce(1, *)), Int64(width), x.elements, out.storage.pointer)
        }
        return out
    }

    private typealias Backward = (OpaquePointer, Int64, Int64, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

    /// This gradient of `output` through the softmax that made it.
    private func overRows(of output: Tensor, _ backward: Backward) throws -> Tensor {
        try overRows { isa, rows, width, gradient, out in
            withExtendedLifetime(output) { backward(isa, rows, width, output.elements, gradient, out) }
        }
    }

    /// `-logSoftmax[target]` of each row, without storing the rows: `[…, vocab]` and as many targets to `[…]`.
    /// - Parameter targets: negative for a row that does not count: its loss and its gradient are 0, whatever it holds.
    /// - Throws: `LensError(.shape)` for a target past the vocabulary or a wrong number of them.
    public func crossEntropy(targets: [Int]) throws -> Tensor {
        guard let width = shape.last, targets.count == shape.dropLast().reduce(1, *) else {
            throw LensError(.shape, "cross-entropy", expected: "one target for each row of \(shape)", found: "\(targets.count)")
        }
        let isa = try Kernels.isa(), ids = try checkedTargets(targets, below: width)
        let out = try Tensor(uninitialized: Array(shape.dropLast()))
        try forEachBlockOfRows { x, rows, stride, first in
            ids.withUnsafeBufferPointer { ids in
                guard let targets = ids.baseAddress else { return }
                lens_cross_entropy(isa, Int64(rows), Int64(width), x, Int64(stride), targets + first, out.storage.pointer + first)
            }
        }
        guard isTracked else { return out }
        let logits = detached()
        return out.recorded("crossEntropy", from: self) { try logits.crossEntropyBackward($0, ids) }
    }

    /// Next-token cross-entropy in nats of logits `[batch, pos, vocab]` (TransformerLens' `lm_cross_entropy_loss`): the mean over
    /// pairs of neighbours that count, added up in double, shape `[]`; or `[batch, pos - 1]`, zeros where a pair does not count.
    ///
    /// - Parameters:
    ///   - tokens: `[batch, pos]`.
    ///   - mask: whether each token is a real one: `[batch][pos]`; nil: all are. A pair counts if both of it are.
    /// - Throws: `LensError(.shape)`.
    package func nextTokenLoss(_ tokens: IntTensor, mask: [[Bool]]?, perToken: Bool) throws -> Tensor {
        let batch = tokens.shape[0], pos = tokens.shape[1]
        if let wrong = tokens.array.first(where: { $0 < 0 }) {
            throw LensError(.shape, "target out of range", expected: "0..<\(shape.last ?? 0)", found: "\(wrong)")
        }
        // All rows at once, the last position's as one that does not count: no copy of the others, and none of their gradients.
        let targets = tokens.rows.enumerated().flatMap { row, ids in
            ids.indices.map { at in at + 1 < pos && (mask.map { $0[row][at] && $0[row][at + 1] } ?? true) ? ids[at + 1] : -1 }
        }
        let losses = try crossEntropy(targets: targets)
        if perToken { return try losses.at(.all, .upTo(max(0, pos - 1))) }
        let valid = targets.count { $0 >= 0 }
        return Tensor(Float(losses.array.reduce(0.0) { $0 + Double($1) } / Double(valid))).recorded("mean", from: losses) { gradient in
            Tensor(repeating: try Float(Double(gradient.item()) / Double(valid)), shape: [batch, pos])
        }
    }

    /// The gradient of `crossEntropy` on these logits: `(softmax - target) · gradient`, each row from the logits at once.
    private func crossEntropyBackward(_ gradient: Tensor, _ ids: [Int32]) throws -> Tensor {
        let isa = try Kernels.isa(), gradient = try gradient.contiguous(), out = try Tensor(uninitialized: shape), width = shape[rank - 1]
        try forEachBlockOfRows { x, rows, stride, first in
            ids.withUnsafeBufferPointer { ids in
                guard let targets = ids.baseAddress else { return }
                lens_cross_entropy_backward(isa, Int64(rows), Int64(width), x, Int64(stride), targets + first,
                                            gradient.elements + first, out.storage.pointer + first * width)
            }
        }
        return withExtendedLifetime(gradient) { out }
    }

    /// Calls `body` with the first element of rows, their number, their distance and the first one's number.
    private func forEachBlockOfRows(_ body: (UnsafePointer<Float>, Int, Int, Int) -> Void) throws {
        // A batch's logits without their last position are rows with gaps between: not worth a copy of all of them.
        let hasRows = rank == 3 && layout.strides[2] == 1 && shape[1] > 0
        let x = hasRows ? self : try contiguous()
        let blocks = hasRows ? shape[0] : 1, rows = hasRows ? shape[1] : shape.dropLast().reduce(1, *)
        withExtendedLifetime(x) {
            for block in 0..<blocks {
                body(hasRows ? x.elements + block * layout.strides[0] : x.elements, rows, hasRows ? layout.strides[1] : shape[rank - 1], block * rows)
            }
        }
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
}
