// Training data that is made as it is asked for: row after row from a seed, without end. What it is measured on comes from
// another stream of the same seed.

import LensFiles
import LensModel
import LensTensor

/// Rows that a function makes from random numbers.
public struct GeneratedData: TrainingData {
    public let vocabularySize: Int, outputSize: Int, length: Int
    public let identity: JSON
    public var rowCount: Int? { nil }
    private let seed: UInt64
    private let heldOutRows: Int
    private let make: @Sendable (inout RandomStream) -> (tokens: [Int], targets: [Int])

    /// - Parameters:
    ///   - make: a row of `length` tokens and its targets.
    init(vocabularySize: Int, outputSize: Int? = nil, length: Int, seed: UInt64, heldOut: Int, identity: JSON,
         make: @escaping @Sendable (inout RandomStream) -> (tokens: [Int], targets: [Int])) throws {
        guard heldOut >= 0 else { throw LensError(.usage, "rows held out", expected: "a number from 0", found: "\(heldOut)") }
        self.vocabularySize = vocabularySize
        self.outputSize = outputSize ?? vocabularySize
        self.length = length
        self.seed = seed
        self.identity = identity
        heldOutRows = heldOut
        self.make = make
    }

    public func batch(_ index: Int, size: Int?) throws -> TrainingBatch {
        guard let size, size > 0 else {
            throw LensError(.usage, "all rows of a task without end", expected: "a batch size", found: "none")
        }
        var random = RandomStream(seed: seed, "training", index)
        return try batch(of: size, &random)
    }

    public func evaluation(size: Int?) throws -> [TrainingBatch] {
        let size = max(1, size ?? heldOutRows)
        return try stride(from: 0, to: heldOutRows, by: size).enumerated().map { index, start in
            var random = RandomStream(seed: seed, "evaluation", index)
            return try batch(of: min(size, heldOutRows - start), &random)
        }
    }

    private func batch(of count: Int, _ random: inout RandomStream) throws -> TrainingBatch {
        let rows = (0..<count).map { _ in make(&random) }
        return try TrainingBatch(tokens: IntTensor(rows: rows.map(\.tokens)), targets: IntTensor(rows: rows.map(\.targets)))
    }
}
