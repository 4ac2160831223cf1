// Rows of tokens as training data: every row once an epoch, in an order of that epoch's own.

import LensFiles
import LensModel
import LensTensor

/// Rows that are there from the beginning, each with its targets.
public struct TokenRowsData: TrainingData {
    public let vocabularySize: Int, outputSize: Int, length: Int
    /// For training, then those held out, row after row.
    private let tokens: [Int32], targets: [Int32]?
    private let trainingRows: Int, heldOutRows: Int
    private let seed: UInt64
    public let identity: JSON
    private let order = EpochOrder()

    /// - Parameters:
    ///   - training: rows of one length. - heldOut: rows of the same length to measure on.
    ///   - targets: of all rows, training's first; nil: the next tokens.
    ///   - name: what the rows are, for `identity`.
    /// - Throws: `LensError(.shape)` for no rows, ragged rows or tokens outside the vocabulary.
    public init(training: [[Int]], heldOut: [[Int]] = [], targets: [[Int]]? = nil, vocabularySize: Int, outputSize: Int? = nil, seed: UInt64 = 0, name: String) throws {
        guard let length = training.first?.count, length > 0 else { throw LensError(.shape, "no rows to train on", at: name) }
        let rows = training + heldOut
        if let row = rows.firstIndex(where: { $0.count != length }) {
            throw LensError(.shape, "rows of different lengths", at: "\(name): row \(row)", expected: "\(length) tokens", found: "\(rows[row].count)")
        }
        for (index, row) in rows.enumerated() {
            if let token = row.first(where: { !(0..<vocabularySize).contains($0) }) {
                throw LensError(.shape, "a token outside the vocabulary", at: "\(name): row \(index)", expected: "0..<\(vocabularySize)", found: "\(token)")
            }
        }
        guard targets.map({ $0.count == rows.count && $0.allSatisfy { $0.count == length } }) ?? (length > 1) else {
            throw LensError(.shape, "targets of rows", at: name, expected: "\(rows.count) rows of \(length), at least 2 for next tokens")
        }
        self.length = length
        self.vocabularySize = vocabularySize
        self.outputSize = outputSize ?? vocabularySize
        self.seed = seed
        tokens = rows.flatMap { $0.map(Int32.init) }
        self.targets = targets?.flatMap { $0.map { Int32(clamping: max($0, TrainingBatch.ignored)) } }
        trainingRows = training.count
        heldOutRows = heldOut.count
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for value in tokens { hash = (hash ^ UInt64(UInt32(bitPattern: value))) &* 0x100_0000_01B3 }
        for value in self.targets ?? [] { hash = (hash ^ UInt64(UInt32(bitPattern: value))) &* 0x100_0000_01B3 }
        identity = ["rows": .int(trainingRows), "held_out": .int(heldOutRows), "length": .int(length), "seed": .string("\(seed)"), "hash": .string(String(hash, radix: 16))]
    }

    public var rowCount: Int? { trainingRows }

    public func batch(_ index: Int, size: Int?) throws -> TrainingBatch {
        guard let size else { return try batch(of: Array(0..<trainingRows)) }
        guard size > 0 else { throw LensError(.usage, "batches without rows") }
        let (first, overflow) = index.multipliedReportingOverflow(by: size)
        guard index >= 0, !overflow, first <= Int.max - size else { throw LensError(.usage, "no such batch", found: "\(index)") }
        return try batch(of: (first..<first + size).map { order.row($0 % trainingRows, epoch: $0 / trainingRows, of: trainingRows, seed: seed) })
    }

    public func evaluation(size: Int?) throws -> [TrainingBatch] {
        let size = max(1, size ?? heldOutRows)
        return try stride(from: 0, to: heldOutRows, by: size).map { start in
            try batch(of: (start..<min(heldOutRows, start + size)).map { trainingRows + $0 })
        }
    }

    private func batch(of rows: [Int]) throws -> TrainingBatch {
        func taken(_ values: [Int32]) throws -> IntTensor {
            try IntTensor(rows.flatMap { values[$0 * length..<($0 + 1) * length].map(Int.init) }, shape: [rows.count, length])
        }
        let batch = try taken(tokens)
        guard let targets else { return try TrainingBatch(nextTokensOf: batch) }
        return try TrainingBatch(tokens: batch, targets: taken(targets))
    }
}

/// The order of rows in an epoch, kept for the epochs last asked for.
private final class EpochOrder: Sendable {
    private let kept = Locked<[(epoch: Int, order: [Int32])]>([])

    func row(_ place: Int, epoch: Int, of count: Int, seed: UInt64) -> Int {
        kept.withLock { kept in
            if let found = kept.first(where: { $0.epoch == epoch }) { return Int(found.order[place]) }
            var random = RandomStream(seed: seed, "order of rows", epoch)
            let order = random.permutation(count).map(Int32.init)
            kept = Array(([(epoch, order)] + kept).prefix(2))
            return Int(order[place])
        }
    }
}
