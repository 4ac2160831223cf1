// TransformerLens' `induction_loss`: how well a model predicts random tokens it has seen once before.

import LensFiles
import LensModel
import LensTensor

/// Evaluations of a model.
public enum Evals {
    /// Mean loss over the second half of random sequences repeated twice, in nats.
    ///
    /// - Parameters:
    ///   - subsequenceLength: tokens before they repeat; twice as many must fit the context.
    ///   - bos: takes the place of the first token (not of its repetition), as in TransformerLens; nil: it stays.
    ///   - seed: the same seed gives the same tokens. They are drawn from 100..<20000 as in TransformerLens, or as much of it
    ///     as the vocabulary has; all of it where that is less than two tokens (where 3.9 fails).
    /// - Throws: `LensError(.usage)` for lengths that do not fit.
    public static func inductionLoss(_ model: Transformer, batchSize: Int = 4, subsequenceLength: Int = 384, bos: Int?, seed: UInt64 = 0) throws -> Double {
        guard batchSize > 0, subsequenceLength > 1, subsequenceLength <= model.config.nCtx / 2 else {
            throw LensError(.usage, "repeated sequences do not fit the model", expected: "2 to \(model.config.nCtx / 2) tokens, at least one row",
                            found: "\(subsequenceLength) tokens, \(batchSize) rows")
        }
        let vocabulary = model.config.dVocab, range = vocabulary >= 102 ? 100..<min(20_000, vocabulary) : 0..<vocabulary
        var random = SplitMix64(state: seed)
        let first = (0..<batchSize * subsequenceLength).map { _ in Int.random(in: range, using: &random) }
        return try inductionLoss(model, firstHalves: IntTensor(first, shape: [batchSize, subsequenceLength]), bos: bos)
    }

    /// The same for given first halves: `[batch, length]`.
    public static func inductionLoss(_ model: Transformer, firstHalves: IntTensor, bos: Int?) throws -> Double {
        guard firstHalves.rank == 2, firstHalves.shape[1] > 1, firstHalves.shape[0] > 0 else {
            throw LensError(.usage, "no sequences to repeat", expected: "[batch, length], a length of at least 2", found: "\(firstHalves.shape)")
        }
        var total = 0.0, count = 0
        for row in firstHalves.rows {
            let repeated = (bos.map { [$0] + row.dropFirst() } ?? row) + row
            let run = Transformer.Options(returnType: .loss, lossPerToken: true)
            guard let losses = try model.run(.tokens(IntTensor(rows: [repeated])), run).loss else { continue }
            let second = try losses.at(.at(0), .from(row.count + 1)).array
            total += second.reduce(0.0) { $0 + Double($1) }
            count += second.count
        }
        guard count > 0 else { throw LensError(.usage, "nothing to predict", expected: "sequences of at least 3 tokens", found: "\(firstHalves.shape)") }
        return total / Double(count)
    }
}
