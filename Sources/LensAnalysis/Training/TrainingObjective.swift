// What training makes small: a scalar of a run's output and its batch, and how the run is made.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A loss, and the run it is computed from.
public struct TrainingObjective: Sendable {
    /// Options of every run, training's and evaluation's: hooks, a cache the loss reads, layers to stop at.
    public var options: @Sendable (TrainingBatch) throws -> Transformer.Options
    /// Any tensor of one element computed from the output with `Tensor` operations.
    public var loss: @Sendable (Transformer.Output, TrainingBatch) throws -> Tensor

    public init(options: @escaping @Sendable (TrainingBatch) throws -> Transformer.Options = { _ in Transformer.Options() },
                loss: @escaping @Sendable (Transformer.Output, TrainingBatch) throws -> Tensor) {
        self.options = options
        self.loss = loss
    }

    /// Mean cross-entropy of the targets that count, softmax and mean in double. Where only last positions count, only they are
    /// unembedded.
    public static let crossEntropy = TrainingObjective(options: { batch in
        var options = Transformer.Options()
        options.onlyLastLogits = batch.isAboutLastPosition
        return options
    }, loss: { output, batch in
        try output.requiredLogits.meanCrossEntropy(targets: batch.targets(for: output.requiredLogits))
    })
}

extension Transformer.Output {
    /// - Throws: `LensError(.usage)` without logits.
    var requiredLogits: Tensor {
        get throws {
            guard let logits else { throw LensError(.usage, "a run without logits", expected: "returnType .logits or .both") }
            return logits
        }
    }
}

extension TrainingBatch {
    /// The targets of logits of all positions, or of the last ones.
    func targets(for logits: Tensor) throws -> [Int] {
        guard logits.rank == 3, logits.shape[0] == targets.shape[0], logits.shape[1] == targets.shape[1] || logits.shape[1] == 1 else {
            throw LensError(.shape, "logits of a batch", expected: "\(targets.shape) × d_vocab_out", found: "\(logits.shape)")
        }
        return logits.shape[1] == targets.shape[1] ? targets.array : targets.rows.compactMap(\.last)
    }

    /// How many of the targets that count have the largest logit, and how many count.
    func hits(_ logits: Tensor) throws -> (right: Int, of: Int) {
        let best = try logits.argmax().array
        var right = 0, count = 0
        for (target, guess) in zip(try targets(for: logits), best) where target >= 0 {
            count += 1
            if target == guess { right += 1 }
        }
        return (right, count)
    }
}
