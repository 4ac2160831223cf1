// What a patch did, as a number: any function of the logits, and the two that papers use. A metric may give one number, or
// one for each example of the batch, which is what standard errors need.

import LensFiles
import LensTensor

/// A function of logits `[batch, pos, d_vocab_out]`.
public struct PatchingMetric {
    /// One number, or one for each example.
    public let isPerExample: Bool
    let body: (Tensor) throws -> [Float]

    /// One number for the batch.
    public static func scalar(_ body: @escaping (Tensor) throws -> Float) -> PatchingMetric {
        PatchingMetric(isPerExample: false) { [try body($0)] }
    }

    /// A number for each example.
    public static func perExample(_ body: @escaping (Tensor) throws -> [Float]) -> PatchingMetric {
        PatchingMetric(isPerExample: true, body: body)
    }

    /// The logit of each example's answer less that of its wrong answer (several wrong ones: their mean), at a position.
    /// - Parameters:
    ///   - answers, wrong: tokens, one for each example, or one for all.
    ///   - position: negative: from the end.
    public static func logitDifference(answers: [Int], wrong: [Int], position: Int = -1) -> PatchingMetric {
        perExample { logits in
            let right = try picked(logits, answers, position), other = try picked(logits, wrong, position)
            return zip(right, other).map { $0 - $1 }
        }
    }

    /// The log-probability of each example's answer at a position.
    public static func logProbability(answers: [Int], position: Int = -1) -> PatchingMetric {
        perExample { logits in
            let last = try logits.at(.all, .at(position)).contiguous()
            return try picked(last.logSoftmax().reshaped([last.shape[0], 1, last.shape[1]]), answers, 0)
        }
    }

    /// Values of one token for each row.
    private static func picked(_ logits: Tensor, _ tokens: [Int], _ position: Int) throws -> [Float] {
        let batch = logits.shape[0]
        guard tokens.count == batch || tokens.count == 1 else {
            throw LensError(.usage, "answers do not fit the batch", expected: "one, or \(batch)", found: "\(tokens.count)")
        }
        return try (0..<batch).map { row in
            try logits.at(.at(row), .at(position), .at(tokens[tokens.count == 1 ? 0 : row])).item()
        }
    }

    /// The metric's values for a run.
    /// - Throws: what it throws; `LensError(.shape)` if a per-example one gives another number of values than examples.
    public func values(_ logits: Tensor) throws -> [Float] {
        let values = try body(logits)
        guard !isPerExample || values.count == logits.shape[0] else {
            throw LensError(.shape, "a metric's values do not fit the batch", expected: "\(logits.shape[0])", found: "\(values.count)")
        }
        return values
    }
}
