// How well logits say the next token: loss and accuracy of logits that come from anywhere.

import LensFiles
import LensTensor

/// Next-token cross-entropy in nats (TransformerLens' `lm_cross_entropy_loss`): the mean over pairs of real tokens, shape `[]`;
/// per token `[batch, pos - 1]`, zero where either of a pair is masked.
///
/// - Parameters:
///   - logits: `[batch, pos, d_vocab]`. - tokens: `[batch, pos]`.
///   - attentionMask: 1 for real tokens, 0 for others: `[batch, pos]`; nil: all real.
/// - Returns: what gradients flow through to the logits, where they are tracked.
/// - Throws: `LensError(.shape)`.
public func lmCrossEntropyLoss(_ logits: Tensor, _ tokens: IntTensor, attentionMask: IntTensor? = nil, perToken: Bool = false) throws -> Tensor {
    try checkNextTokens(logits, tokens)
    guard attentionMask.map({ $0.shape == tokens.shape }) ?? true else {
        throw LensError(.shape, "attention mask", expected: "\(tokens.shape)", found: "\(attentionMask?.shape ?? [])")
    }
    return try logits.nextTokenLoss(tokens, mask: attentionMask.map { $0.rows.map { row in row.map { $0 != 0 } } }, perToken: perToken)
}

/// How often the likeliest token is the next one (TransformerLens' `lm_accuracy`): a fraction, shape `[]`; per token 1 or 0,
/// `[batch, pos - 1]`.
/// - Throws: `LensError(.shape)`.
public func lmAccuracy(_ logits: Tensor, _ tokens: IntTensor, perToken: Bool = false) throws -> Tensor {
    try checkNextTokens(logits, tokens)
    let predicting = try logits.at(.all, .upTo(tokens.shape[1] - 1)), targets = tokens.rows.flatMap { $0.dropFirst() }
    let hits = zip(try predicting.argmax().array, targets).map { $0 == $1 ? Float(1) : 0 }
    return perToken ? try Tensor(hits, shape: [tokens.shape[0], tokens.shape[1] - 1]) : Tensor(hits.reduce(0, +) / Float(hits.count))
}

private func checkNextTokens(_ logits: Tensor, _ tokens: IntTensor) throws {
    guard tokens.rank == 2, tokens.shape[1] > 0, logits.rank == 3, Array(logits.shape.prefix(2)) == tokens.shape else {
        throw LensError(.shape, "logits and tokens", expected: "[batch, pos, d_vocab] and [batch, pos]", found: "\(logits.shape) and \(tokens.shape)")
    }
}
