// What one forward pass of training sees: rows of tokens, and for each position the token that should come out there.

import LensFiles
import LensModel
import LensTensor

/// Tokens and what is right after each.
public struct TrainingBatch: Sendable, Hashable {
    /// `[batch, pos]`
    public let tokens: IntTensor
    /// `[batch, pos]`: what the logits at each position should say; `ignored` where nothing is asked.
    public let targets: IntTensor
    /// 1 for real tokens, 0 for padding, `[batch, pos]`; nil: all real.
    public let attentionMask: IntTensor?

    /// The target of a position that does not count; Hugging Face's.
    public static let ignored = -100

    /// - Throws: `LensError(.shape)` unless all are of one shape `[batch, pos]`.
    public init(tokens: IntTensor, targets: IntTensor, attentionMask: IntTensor? = nil) throws {
        guard tokens.rank == 2, targets.shape == tokens.shape, attentionMask.map({ $0.shape == tokens.shape }) ?? true else {
            throw LensError(.shape, "a batch", expected: "tokens, targets and mask [batch, pos]",
                            found: "\(tokens.shape), \(targets.shape)\(attentionMask.map { ", \($0.shape)" } ?? "")")
        }
        self.tokens = tokens
        self.targets = targets
        self.attentionMask = attentionMask
    }

    /// Language modelling: the target of a position is the next token, where both are real.
    public init(nextTokensOf tokens: IntTensor, attentionMask: IntTensor? = nil) throws {
        let width = tokens.shape.last ?? 0, values = tokens.array, mask = attentionMask?.array
        let targets = values.indices.map { i in
            (i + 1) % max(1, width) == 0 || mask.map { $0.indices.contains(i + 1) && ($0[i] == 0 || $0[i + 1] == 0) } == true ? Self.ignored : values[i + 1]
        }
        try self.init(tokens: tokens, targets: IntTensor(targets, shape: tokens.shape), attentionMask: attentionMask)
    }

    /// One answer after each row.
    public init(_ tokens: IntTensor, answers: [Int]) throws {
        guard tokens.rank == 2, tokens.shape[0] == answers.count, let width = tokens.shape.last, width > 0 else {
            throw LensError(.shape, "answers", expected: "one for each row of \(tokens.shape)", found: "\(answers.count)")
        }
        let targets = answers.flatMap { Array(repeating: Self.ignored, count: width - 1) + [$0] }
        try self.init(tokens: tokens, targets: IntTensor(targets, shape: tokens.shape))
    }

    /// Positions that count.
    public var countedTargets: Int { targets.array.count { $0 >= 0 } }

    /// Whether only the last position of each row counts.
    public var isAboutLastPosition: Bool {
        let width = tokens.shape[1]
        return width > 0 && targets.array.indices.allSatisfy { targets.array[$0] < 0 || ($0 + 1) % width == 0 }
    }
}
