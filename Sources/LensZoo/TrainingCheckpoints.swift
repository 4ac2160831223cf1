// Checkpoints from the middle of a model's training, as TransformerLens names them (`checkpoint_index`, `checkpoint_value`): on
// the hub they are revisions of a repository (Pythia, Stanford CRFM), or files in one (NeelNanda's models).

import LensFiles

/// Which checkpoint of a model's training.
public enum TrainingCheckpoint: Sendable, Hashable {
    /// The how-manieth; negative from the last.
    case index(Int)
    /// The training step (or number of tokens) it is named by.
    case value(Int)
}

extension RegisteredModel {
    /// Where a model's checkpoints are.
    public enum Checkpoints: Sendable, Hashable {
        /// Revisions of the repository, each named by `prefix` and a step.
        case revisions(prefix: String, steps: [Int])
        /// Files `checkpoints/…_{value}.pth` in it.
        case files
    }

    /// The checkpoints of the model's training; nil if it has none.
    public var checkpoints: Checkpoints? {
        if hubID.hasPrefix("stanford-crfm/") { return .revisions(prefix: "checkpoint-", steps: Self.stanfordSteps) }
        if hubID.hasPrefix("EleutherAI/pythia") {
            return .revisions(prefix: "step", steps: hubID.contains("-v0") ? Self.everyThousand : Self.pythiaSteps)
        }
        return hubID.hasPrefix("NeelNanda/") ? .files : nil
    }

    private static let stanfordSteps = Array(stride(from: 0, to: 100, by: 10)) + stride(from: 100, to: 2000, by: 50)
        + stride(from: 2000, to: 20_000, by: 100) + stride(from: 20_000, through: 400_000, by: 1000)
    private static let everyThousand = Array(stride(from: 1000, through: 143_000, by: 1000))
    private static let pythiaSteps = [0] + (0...9).map { 1 << $0 } + everyThousand

    /// The value of a checkpoint among those there are.
    /// - Throws: `LensError(.usage)` for one there is not.
    package func value(of checkpoint: TrainingCheckpoint, among values: [Int]) throws -> Int {
        switch checkpoint {
        case .index(let index):
            let place = index < 0 ? index + values.count : index
            guard values.indices.contains(place) else {
                throw LensError(.usage, "no such checkpoint", at: hubID, expected: "an index from 0 to \(values.count - 1)", found: "\(index)")
            }
            return values[place]
        case .value(let value):
            guard values.contains(value) else {
                let nearest = values.min { abs(Double($0) - Double(value)) < abs(Double($1) - Double(value)) }
                throw LensError(.usage, "no such checkpoint", at: hubID, expected: "one of \(values.count) values", found: "\(value)",
                                advice: nearest.map { "the nearest is \($0)" })
            }
            return value
        }
    }
}
