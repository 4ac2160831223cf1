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

    private func checkWidth(_ residual: Tensor) throws {
        guard residual.shape.last == config.dModel else {
            throw LensError(.shape, "not a residual stream of this model", expected: "[…, \(config.dModel)]", found: "\(residual.shape)")
        }
    }
}
