// The end of the model by itself: the final norm and the unembedding, for residual streams that come from anywhere.

import LensFiles
import LensTensor

extension Transformer {
    /// The final norm of any residual streams, with their own scale: `[…, d_model]`.
    public func finalNorm(_ residual: Tensor) throws -> Tensor {
        try checkWidth(residual)
        guard let norm = config.finalNorm else { return residual }
        return try LensTensor.norm(norm.kind, residual, eps: Float(norm.eps), weight: weights.lnFinal.w, bias: weights.lnFinal.b).out ?? residual
    }

    /// Logits of residual streams: `[…, d_model]` to `[…, d_vocab_out]`, capped if the model's are.
    /// - Parameter normalizing: whether the final norm comes first.
    /// - Throws: `LensError(.shape)`.
    public func unembed(_ residual: Tensor, normalizing: Bool = true) throws -> Tensor {
        try checkWidth(residual)
        let logits = try weights.logits(of: normalizing ? finalNorm(residual) : residual, config)
        return try config.outputSoftcap.map { try logits.softcapped(Float($0)) } ?? logits
    }

    /// The final norm and all else that comes before W_U, for logits of a few tokens at a time.
    /// - Throws: `LensError(.shape)`, `LensError(.usage)` for a model without logits.
    package func unembedding(_ residual: Tensor) throws -> PartialUnembedding {
        try checkWidth(residual)
        let normalized = try finalNorm(residual)
        let (wU, input) = try weights.unembedding(config.unembedScale == 1 ? normalized : normalized.scaled(by: Float(config.unembedScale)))
        return PartialUnembedding(wU: wU.detached(), bU: weights.bU?.detached(), softcap: config.outputSoftcap.map { Float($0) }, input: input.detached())
    }

    private func checkWidth(_ residual: Tensor) throws {
        guard residual.shape.last == config.dModel else {
            throw LensError(.shape, "not a residual stream of this model", expected: "[…, \(config.dModel)]", found: "\(residual.shape)")
        }
    }
}

/// Residual streams on the threshold of the unembedding, as constants.
package struct PartialUnembedding: Sendable {
    fileprivate let wU: PackedMatrix, bU: Tensor?
    fileprivate let softcap: Float?
    /// `[…, rows of W_U]`
    fileprivate let input: Tensor

    /// Logits of some tokens, `[…, tokens.count]`: those columns of `unembed`'s, bit for bit.
    /// - Parameter places: which of the second axis; all by default.
    package func logits(_ tokens: Range<Int>, at places: [Int]? = nil) throws -> Tensor {
        let logits = try wU.product(places.map { try input.gathered($0, axis: 1) } ?? input, columns: tokens, bias: bU)
        return try softcap.map { try logits.softcapped($0) } ?? logits
    }
}
