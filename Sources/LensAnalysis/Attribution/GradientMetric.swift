// A number to take gradients of: any function of the logits that is made of tensor operations, and those that papers use.
// One that gives a number for each example gives attributions for each example, because examples of a batch do not meet.

import LensFiles
import LensTensor

/// A function of logits `[batch, pos, d_vocab_out]` that can be differentiated: one number, shape `[]`, or one for each example,
/// `[batch]`.
///
/// ```swift
/// let metric = GradientMetric.logitDifference(answers: [mary], wrong: [john])
/// let own = GradientMetric("largest") { logits in try logits.at(.all, .at(-1), .at(7)) }
/// ```
public struct GradientMetric {
    /// What it is, for tables.
    public let name: String
    private let body: (Tensor) throws -> Tensor

    /// - Parameter body: made of operations on tensors, so that gradients flow through it.
    public init(_ name: String = "metric", _ body: @escaping (Tensor) throws -> Tensor) {
        self.name = name
        self.body = body
    }

    /// The logit of each example's answer less that of its wrong answer.
    /// - Parameters:
    ///   - answers, wrong: tokens, one for each example, or one for all.
    ///   - positions: where, one for each example, or one for all; negative: from the end.
    public static func logitDifference(answers: [Int], wrong: [Int], positions: [Int] = [-1]) -> GradientMetric {
        GradientMetric("logit of the answer less that of the wrong one") { logits in
            let rows = try rows(of: logits, positions)
            return try picked(rows, answers) - picked(rows, wrong)
        }
    }

    /// The logit of each example's answer.
    public static func logit(answers: [Int], positions: [Int] = [-1]) -> GradientMetric {
        GradientMetric("logit of the answer") { try picked(rows(of: $0, positions), answers) }
    }

    /// The log-probability of each example's answer.
    public static func logProbability(answers: [Int], positions: [Int] = [-1]) -> GradientMetric {
        GradientMetric("log-probability of the answer") { try picked(rows(of: $0, positions).logSoftmax(), answers) }
    }

    /// The probability of each example's answer.
    public static func probability(answers: [Int], positions: [Int] = [-1]) -> GradientMetric {
        GradientMetric("probability of the answer") { try picked(rows(of: $0, positions).softmax(), answers) }
    }

    /// How far the next-token distribution is from that of other logits, KL(other ‖ run) in nats: what Conmy et al. (2023) measure
    /// circuits by.
    /// - Parameter reference: logits of the run that is compared with, `[batch, pos, d_vocab_out]`.
    public static func divergence(from reference: Tensor, positions: [Int] = [-1]) -> GradientMetric {
        GradientMetric("KL divergence") { logits in
            let expected = try rows(of: reference.detached(), positions).logSoftmax()
            return try (rows(of: reference.detached(), positions).softmax() * (expected - rows(of: logits, positions).logSoftmax())).summed(axis: -1)
        }
    }

    /// One row of each example: `[batch, d_vocab_out]`.
    private static func rows(of logits: Tensor, _ positions: [Int]) throws -> Tensor {
        guard logits.rank == 3 else { throw LensError(.shape, "not logits", expected: "[batch, pos, d_vocab_out]", found: "\(logits.shape)") }
        let batch = logits.shape[0], length = logits.shape[1]
        guard positions.count == 1 || positions.count == batch else {
            throw LensError(.usage, "positions do not fit the batch", expected: "one, or \(batch)", found: "\(positions.count)")
        }
        if positions.count == 1 { return try logits.at(.all, .at(positions[0])) }
        let ids = try positions.enumerated().map { row, position in
            guard (-length..<length).contains(position) else {
                throw LensError(.shape, "no such position", at: "row \(row)", expected: "\(-length)..<\(length)", found: "\(position)")
            }
            return row * length + (position < 0 ? position + length : position)
        }
        return try logits.reshaped([batch * length, logits.shape[2]]).gatherRows(ids)
    }

    /// One element of each row: `[batch]`.
    private static func picked(_ rows: Tensor, _ tokens: [Int]) throws -> Tensor {
        let batch = rows.shape[0], width = rows.shape[1]
        guard tokens.count == 1 || tokens.count == batch else {
            throw LensError(.usage, "answers do not fit the batch", expected: "one, or \(batch)", found: "\(tokens.count)")
        }
        if let wrong = tokens.first(where: { !(0..<width).contains($0) }) {
            throw LensError(.usage, "token out of range", expected: "0..<\(width)", found: "\(wrong)")
        }
        if tokens.count == 1 { return try rows.at(.all, .at(tokens[0])) }
        let ids = tokens.enumerated().map { $0 * width + $1 }
        return try rows.reshaped([batch * width, 1]).gatherRows(ids).reshaped([batch])
    }

    /// The metric of logits: `[]` or `[batch]`.
    /// - Throws: what it throws; `LensError(.shape)` if it gives anything else.
    public func callAsFunction(_ logits: Tensor) throws -> Tensor {
        let value = try body(logits)
        guard value.rank == 0 || value.shape == [logits.shape[0]] else {
            throw LensError(.shape, "not a metric", at: name, expected: "one number, or one for each example: [\(logits.shape[0])]", found: "\(value.shape)")
        }
        return value
    }

    /// The same metric for patching, one number for each example.
    /// - Parameter isPerExample: whether it gives one for each.
    public func patching(isPerExample: Bool) -> PatchingMetric {
        isPerExample ? .perExample { try self($0).array } : .scalar { try self($0).item() }
    }
}
