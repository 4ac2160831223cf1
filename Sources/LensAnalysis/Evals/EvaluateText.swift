// How well a model predicts a text: mean loss and perplexity over rows of its tokens. TransformerLens' `evaluate` downloads
// its texts; here they are files.

import Foundation
import LensFiles
import LensModel
import LensTensor

/// What a text cost.
public struct TextEvaluation: Sendable, Hashable {
    /// Mean next-token cross-entropy over all predicted tokens, in nats.
    public let loss: Double
    /// Tokens predicted.
    public let predicted: Int
    /// Rows run.
    public let rows: Int
    /// e to the loss.
    public var perplexity: Double { exp(loss) }
}

extension Evals {
    /// The text of TransformerLens' `sanity_check`: a loss below 5 is probably right, above 7 something is wrong.
    public static let sanityCheckText = """
        Many important transition points in the history of science have been moments when science 'zoomed in.' At these points, \
        we develop a visualization or tool that allows us to see the world in a new level of detail, and a new field of science \
        develops to study the world through this lens.
        """

    /// Loss and perplexity of rows of tokens, each predicted from its own beginning.
    ///
    /// The mean is over tokens, so a short last row counts for what it is (3.9 takes the mean of batches' means).
    /// - Parameters:
    ///   - next: the next row; nil at the end.
    ///   - rowsAtOnce: rows of equal length run together.
    ///   - most: rows to stop after.
    ///   - progress: told the rows done.
    /// - Throws: `LensError(.usage)` without a single token to predict; what `next` and the model throw.
    public static func evaluate(_ model: Transformer, rowsAtOnce: Int = 4, most: Int? = nil, progress: (Int) -> Void = { _ in },
                                next: () throws -> [Int]?) throws -> TextEvaluation {
        var total = 0.0, predicted = 0, rows = 0
        var batch: [[Int]] = []
        func flush() throws {
            guard !batch.isEmpty else { return }
            let run = Transformer.Options(returnType: .loss, lossPerToken: true)
            if let losses = try model.run(.tokens(IntTensor(rows: batch)), run).loss?.array {
                total += losses.reduce(0.0) { $0 + Double($1) }
                predicted += losses.count
            }
            rows += batch.count
            batch = []
            progress(rows)
        }
        while rows + batch.count < most ?? .max, let row = try next() {
            if let first = batch.first, first.count != row.count || batch.count >= max(1, rowsAtOnce) { try flush() }
            if row.count >= 2 { batch.append(row) }
        }
        try flush()
        guard predicted > 0 else { throw LensError(.usage, "nothing to predict", expected: "at least two tokens") }
        return TextEvaluation(loss: total / Double(predicted), predicted: predicted, rows: rows)
    }
}
