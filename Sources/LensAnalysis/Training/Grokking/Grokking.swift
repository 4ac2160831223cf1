// The experiment of "Progress measures for grokking via mechanistic interpretability" (Nanda et al. 2023): a transformer of one
// layer learns to add modulo 113 by heart first and in general much later, and what it learned is trigonometry.

import LensFiles
import LensModel
import LensTensor

/// Modular addition as in the paper, and what is looked for in the model that comes out.
public struct Grokking: Sendable {
    public let task: ModularArithmetic
    public let model: Transformer
    private let basis: FourierBasis

    /// - Parameter model: of `Grokking.config`.
    /// - Throws: `LensError(.usage)` for another task than addition, or a model of another vocabulary.
    public init(_ model: Transformer, task: ModularArithmetic) throws {
        guard task.operation == .add, task.modulus % 2 == 1, model.config.dVocab == task.modulus + 1, model.config.dVocabOut == task.modulus else {
            throw LensError(.usage, "not a model of this addition", expected: "addition modulo an odd number, a token for each and one for =",
                            found: "\(task.operation.rawValue) modulo \(task.modulus), \(model.config.dVocab) tokens")
        }
        self.task = task
        self.model = model
        basis = try FourierBasis(modulus: task.modulus)
    }

    // MARK: The experiment

    /// One layer, four heads, width 128, 512 neurons, ReLU, no norms, learned positions.
    public static func config(modulus: Int = 113) throws -> ModelConfig {
        try ModelConfig(nLayers: 1, dModel: 128, nCtx: 3, dHead: 32, nHeads: 4, dMlp: 512, actFn: .relu, dVocab: modulus + 1, dVocabOut: modulus, normalizationType: nil)
    }

    /// AdamW with weight decay 1, the whole training set at every step, a warm-up of ten steps; biases stay at zero.
    public static func settings(steps: Int = 25_000) -> TrainingSettings {
        var settings = TrainingSettings()
        settings.optimizer = Optimizer.Settings(.adamW(beta1: 0.9, beta2: 0.98), learningRate: 1e-3, weightDecay: 1)
        settings.frozen = ["*.b_*"]
        settings.schedule = LearningRateSchedule(.constant, warmupSteps: 10)
        settings.batchSize = nil
        settings.evaluationBatch = nil
        settings.steps = steps
        settings.evaluateEvery = 100
        settings.logEvery = 100
        settings.saveEvery = 500
        settings.keep = 2
        return settings
    }

    // MARK: What it learned

    /// Frequencies 1 … p / 2 and each one's share of the embedding's squared norm (its constant left out), the largest first.
    public func spectrum() throws -> [(frequency: Int, share: Double)] {
        let power = try basis.power(numbers()), total = power.reduce(0, +)
        return zip(basis.frequencies, power).map { ($0, total > 0 ? $1 / total : 0) }.sorted { ($0.share, $1.frequency) > ($1.share, $0.frequency) }
    }

    /// The frequencies that stand out: more than three times the mean share.
    public func keyFrequencies() throws -> [Int] {
        let threshold = 3 / Double(basis.frequencies.count)
        return try spectrum().filter { $0.share > threshold }.map(\.frequency).sorted()
    }

    /// Losses on the pairs trained on and on those held out.
    public struct Losses: Sendable, Hashable {
        public let train: Double
        public let test: Double
    }

    /// What is left, and of what.
    public struct Ablations: Sendable, Hashable {
        public let frequencies: [Int]
        /// The model as it is.
        public let full: Losses
        /// The embedding with only these frequencies and the constant, and without them.
        public let embeddingOnly: Losses, embeddingWithout: Losses
        /// The logits with only the mean and the components along cos and sin of w (a + b) for these frequencies (the paper's
        /// restricted loss), and without those components (its excluded loss).
        public let logitsOnly: Losses, logitsWithout: Losses
    }

    /// Losses with these frequencies alone and without them.
    public func ablations(_ frequencies: [Int]) throws -> Ablations {
        let numbers = try numbers(), kept = try basis.projection(numbers, onto: [0] + frequencies)
        let removed = try numbers - basis.projection(numbers, onto: frequencies)
        let logits = try logits(model), parts = try Components(logits, task.modulus, frequencies)
        return Ablations(frequencies: frequencies, full: try losses(logits), embeddingOnly: try losses(self.logits(with(kept))),
                         embeddingWithout: try losses(self.logits(with(removed))), logitsOnly: try losses(parts.only), logitsWithout: try losses(parts.without))
    }

    /// Rows of the embedding that are numbers: `[p, d_model]`.
    private func numbers() throws -> Tensor { try model.parameters["embed.W_E"].at(.upTo(task.modulus)).contiguous() }

    private func with(_ numbers: Tensor) throws -> Transformer {
        var table = try model.parameters["embed.W_E"]
        try table.set(.upTo(task.modulus), to: numbers)
        return try model.with(["embed.W_E": table])
    }

    /// Logits at `=` of every pair, in order of a and b: `[p², p]`.
    private func logits(_ model: Transformer) throws -> Tensor {
        let p = task.modulus
        var options = Transformer.Options()
        options.onlyLastLogits = true
        let parts = try (0..<p).map { a in
            try model.run(.tokens(IntTensor((0..<p).flatMap { [a, $0, p] }, shape: [p, 3])), options).requiredLogits.reshaped([p, p])
        }
        return try Tensor.stacked(parts).reshaped([p * p, p])
    }

    private func losses(_ logits: Tensor) throws -> Losses {
        let p = task.modulus
        func loss(_ batch: TrainingBatch) throws -> Double {
            let rows = batch.tokens.rows.map { $0[0] * p + $0[1] }
            let chosen = try logits.gatherRows(rows), answers = batch.targets.rows.compactMap(\.last)
            return try chosen.crossEntropyInDouble(targets: answers).reduce(0, +) / Double(max(1, answers.count))
        }
        let held = try task.data.evaluation(size: nil)
        return Losses(train: try loss(task.data.batch(0, size: nil)), test: try held.first.map(loss) ?? .nan)
    }
}

/// Logits `[p², p]` as functions of a + b, split by frequency.
private struct Components {
    let only: Tensor, without: Tensor

    init(_ logits: Tensor, _ p: Int, _ frequencies: [Int]) throws {
        let count = p * p
        var along = [Double](repeating: 0, count: count * p), mean = [Double](repeating: 0, count: p)
        try logits.withUnsafeElements { elements in
            for pair in 0..<count { for c in 0..<p { mean[c] += Double(elements[pair * p + c]) / Double(count) } }
            for frequency in frequencies {
                for wave in [cosine, sine] {
                    // Of norm 1 over all pairs; it depends on a + b alone.
                    let values = (0..<p).map { wave(2 * .pi * Double(frequency * $0 % p) / Double(p)) * (2 / Double(count)).squareRoot() }
                    var weights = [Double](repeating: 0, count: p)
                    for pair in 0..<count {
                        let value = values[(pair / p + pair % p) % p]
                        for c in 0..<p { weights[c] += value * Double(elements[pair * p + c]) }
                    }
                    for pair in 0..<count {
                        let value = values[(pair / p + pair % p) % p]
                        for c in 0..<p { along[pair * p + c] += value * weights[c] }
                    }
                }
            }
        }
        let components = try Tensor(along.map { Float($0) }, shape: logits.shape)
        only = try components + Tensor(mean.map { Float($0) }, shape: [p])
        without = try logits - components
    }
}
