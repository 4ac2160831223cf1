// Attribution to tokens given as text.

import LensAnalysis
import LensFiles
import LensHooks
import LensTensor

extension ActivationCache {
    /// How much each part of a stack adds to the logit of a token, or to its difference to another's; each text must be one token.
    /// - Throws: `LensError(.text)` if it is not; as `logitAttrs` on tokens.
    public func logitAttrs(_ stack: Tensor, in model: some HookedRunning, tokens: String, incorrectTokens: String? = nil,
                           posSlice: AxisSlice = .all, batchSlice: AxisSlice = .all, hasBatchDim: Bool = true) throws -> Tensor {
        try logitAttrs(stack, in: model, token: model.toSingleToken(tokens), incorrectToken: incorrectTokens.map { try model.toSingleToken($0) },
                       posSlice: posSlice, batchSlice: batchSlice, hasBatchDim: hasBatchDim)
    }
}

extension HookedRunning {
    /// The direction of the logit of a text that is one token: `[d_model]`.
    public func tokensToResidualDirections(_ text: String) throws -> Tensor { try model.tokenToResidualDirection(toSingleToken(text)) }
}
