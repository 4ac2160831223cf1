// Picking elements out of rows: one logit of each position, or several; and how far apart two distributions are.

import LensFiles

extension Tensor {
    /// Of each row of the last axis the element that `ids` names: `[…, n]` and ids `[…]` to `[…]`; or several of them:
    /// ids `[…, k]` to `[…, k]`, as `torch.gather`.
    ///
    /// ```swift
    /// let correct = try logits[.all, -1].picking(answers)      // [batch, vocab] and [batch] to [batch]
    /// ```
    /// - Throws: `LensError(.shape)` for an id outside the row, or ids that do not fit the rows.
    public func picking(_ ids: IntTensor) throws -> Tensor {
        let rowShape = Array(shape.dropLast())
        guard let width = shape.last, ids.shape == rowShape || (ids.rank == rank && Array(ids.shape.dropLast()) == rowShape) else {
            throw LensError(.shape, "picking from rows", expected: "ids \(rowShape) or \(rowShape) + [k] for \(shape)", found: "\(ids.shape)")
        }
        let perRow = ids.rank == rank ? ids.shape[rank - 1] : 1
        let places = try checkedIDs(ids.array, below: width).enumerated().map { $0.offset / Swift.max(1, perRow) * width + Int($0.element) }
        return try elements(at: places).reshaped(ids.shape)
    }

    /// The Kullback-Leibler divergence KL(p ‖ q) of each row in nats, with p the softmax of `reference` and q that of this
    /// tensor: `[…, n]` twice to `[…]`. What p makes impossible adds nothing, so masked logits may be -inf.
    /// - Throws: `LensError(.shape)` if the shapes differ.
    public func klDivergence(from reference: Tensor) throws -> Tensor {
        guard reference.shape == shape, rank > 0 else {
            throw LensError(.shape, "divergence of distributions", expected: "logits \(shape), at least one axis", found: "\(reference.shape)")
        }
        let p = try reference.detached().softmax(), q = try detached().softmax()
        // log p - log q, 0 where p is.
        let ratio = try reference.detached().logRatio(detached(), where: p)
        let divergence = try (p * ratio).summed(axis: -1)
        return divergence.recorded("klDivergence", from: [graph, reference.graph]) { request in
            let rows = try request.first().reshaped(divergence.shape + [1])
            return [request.wants[0] ? try rows * (q - p) : nil,
                    request.wants[1] ? try rows * (p * (ratio - divergence.reshaped(divergence.shape + [1]))) : nil]
        }
    }

    /// log-softmax of this tensor less that of `other`, 0 where `p` is 0.
    private func logRatio(_ other: Tensor, where p: Tensor) throws -> Tensor {
        var ratio = try logSoftmax() - other.logSoftmax()
        try p.withUnsafeElements { p in
            try ratio.withUnsafeMutableElements { for index in p.indices where p[index] == 0 { $0[index] = 0 } }
        }
        return ratio
    }
}
