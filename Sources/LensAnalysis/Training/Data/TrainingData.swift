// Where batches come from. A batch is a function of its number alone, so a run that goes on after a checkpoint sees what it
// would have seen: the data's whole state is how many batches were taken.

import LensFiles
import LensModel

/// A source of batches for training, and others to measure on.
public protocol TrainingData: Sendable {
    /// Tokens there are.
    var vocabularySize: Int { get }
    /// Tokens a target can be: less than `vocabularySize` where some are never asked for.
    var outputSize: Int { get }
    /// The longest row.
    var length: Int { get }
    /// Rows before they begin to repeat; nil for a source that never does.
    var rowCount: Int? { get }
    /// Batch `index` (from 0) of `size` rows; nil: all rows there are, in order.
    /// - Throws: `LensError(.usage)` for all rows of a source without end.
    func batch(_ index: Int, size: Int?) throws -> TrainingBatch
    /// Batches that training never sees (or, where nothing is held out, none).
    /// - Parameter size: rows of a batch; nil: all in one.
    func evaluation(size: Int?) throws -> [TrainingBatch]
    /// What makes this source this one: a checkpoint is not continued with another.
    var identity: JSON { get }
}

extension TrainingData {
    public var outputSize: Int { vocabularySize }
}

/// Numbers drawn for one purpose: the same for the same seed and purpose, unrelated for others.
struct RandomStream {
    var generator: SplitMix64
    private var spare: Double?

    init(seed: UInt64, _ purpose: String, _ index: Int = 0) {
        // FNV-1a over the purpose, then once through the generator, so that neighbouring seeds have nothing in common.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in purpose.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var mixed = SplitMix64(state: seed ^ hash)
        generator = SplitMix64(state: mixed.next() ^ UInt64(bitPattern: Int64(index)) &* 0xD6E8_FEB8_6659_FD93)
    }

    mutating func int(below bound: Int) -> Int { Int.random(in: 0..<max(1, bound), using: &generator) }

    /// Uniform in 0..<1.
    mutating func unit() -> Double { generator.unit() }

    /// Standard normal: Box and Muller 1958.
    mutating func normal() -> Double {
        if let spare {
            self.spare = nil
            return spare
        }
        let radius = (-2 * logarithm(1 - unit())).squareRoot(), angle = 2 * Double.pi * unit()
        spare = radius * sine(angle)
        return radius * cosine(angle)
    }

    /// 0 ..< count in random order.
    mutating func permutation(_ count: Int) -> [Int] { Array(0..<count).shuffled(using: &generator) }
}
