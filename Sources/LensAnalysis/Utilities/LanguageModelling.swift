// How well logits say the next token: loss and accuracy of logits that come from anywhere.

import LensFiles
import LensTensor

/// Next-token cross-entropy in nats (TransformerLens' `lm_cross_entropy_loss`): the mean over pairs of real tokens, shape `[]`;
/// per token `[batch, pos - 1]`, zero where either of a pair is masked.
///
/// - Parameters:
///   - logits: `[batch, pos, d_vocab]`. - tokens: `[batch, pos]`.
///   - attentionMask: 1 for real tokens, 0 for others: `[batch, pos]`; nil: all real.
/// - Throws: `LensError(.shape)`.
public func lmCrossEntropyLoss(_ logits: Tensor, _ tokens: IntTensor, attentionMask: IntTensor? = nil, perToken: Bool = false) throws -> Tensor {
    let (predicting, targets) = try nextTokenPairs(logits, tokens)
    guard attentionMask.map({ $0.shape == tokens.shape }) ?? true else {
        throw LensError(.shape, "attention mask", expected: "\(tokens.shape)", found: "\(attentionMask?.shape ?? [])")
    }
    let counts = attentionMask.map { mask in mask.rows.flatMap { row in zip(row, row.dropFirst()).map { $0 != 0 && $1 != 0 } } }
        ?? Array(repeating: true, count: targets.count)
    let masked = zip(try predicting.crossEntropy(targets: targets).array, counts).map { $1 ? $0 : 0 }
    if perToken { return try Tensor(masked, shape: [tokens.shape[0], tokens.shape[1] - 1]) }
    return Tensor(Float(masked.reduce(0.0) { $0 + Double($1) } / Double(counts.count(where: \.self))))
}

/// How often the likeliest token is the next one (TransformerLens' `lm_accuracy`): a fraction, shape `[]`; per token 1 or 0,
/// `[batch, pos - 1]`.
/// - Throws: `LensError(.shape)`.
public func lmAccuracy(_ logits: Tensor, _ tokens: IntTensor, perToken: Bool = false) throws -> Tensor {
    let (predicting, targets) = try nextTokenPairs(logits, tokens)
    let hits = zip(try predicting.argmax().array, targets).map { $0 == $1 ? Float(1) : 0 }
    return perToken ? try Tensor(hits, shape: [tokens.shape[0], tokens.shape[1] - 1]) : Tensor(hits.reduce(0, +) / Float(hits.count))
}

/// The logits before each next token, and those tokens.
private func nextTokenPairs(_ logits: Tensor, _ tokens: IntTensor) throws -> (Tensor, [Int]) {
    guard tokens.rank == 2, tokens.shape[1] > 0, logits.rank == 3, Array(logits.shape.prefix(2)) == tokens.shape else {
        throw LensError(.shape, "logits and tokens", expected: "[batch, pos, d_vocab] and [batch, pos]", found: "\(logits.shape) and \(tokens.shape)")
    }
    return (try logits.at(.all, .upTo(tokens.shape[1] - 1)), tokens.rows.flatMap { $0.dropFirst() })
}
