// The training step: gradients of a loss, an optimizer's update, and the model made anew of what came out. A value that goes
// from step to step; files, data and terminals are `TrainingRun`'s business.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A model in training.
///
/// The same model, settings and batches give the same bits, on any number of threads.
///
/// ```swift
/// var trainer = try Trainer(model, Optimizer.Settings(.adamW(), learningRate: 1e-3), frozen: ["*.b_*"])
/// for index in 0..<1000 { try trainer.step([data.batch(index)]) }
/// try trainer.model.save(to: "folder")
/// ```
public struct Trainer: Sendable {
    /// What a step did.
    public struct Report: Sendable, Hashable {
        /// Steps made so far, this one included.
        public let step: Int
        /// The mean of the step's batches, before the update.
        public let loss: Double
        /// The norm of all gradients, before they are scaled down.
        public let gradientNorm: Double
        public let learningRate: Double
    }

    /// As it is after the last step.
    public private(set) var model: Transformer
    public private(set) var optimizer: Optimizer
    public let objective: TrainingObjective
    public let schedule: LearningRateSchedule
    /// Steps the schedule counts on.
    public let totalSteps: Int
    private let trained: [String]

    /// - Parameters:
    ///   - frozen: patterns of the names of parameters that stay as they are.
    ///   - totalSteps: where the schedule ends.
    /// - Throws: `LensError(.name)` for a pattern that matches nothing; `LensError(.usage)` for settings out of range or if
    ///   everything is frozen.
    public init(_ model: Transformer, _ settings: Optimizer.Settings, objective: TrainingObjective = .crossEntropy, frozen: [String] = [],
                schedule: LearningRateSchedule = LearningRateSchedule(), totalSteps: Int = .max) throws {
        try schedule.validate()
        try checkPatterns(frozen, among: model.parameters.names)
        let filter = ParameterFilter.matching { name in !frozen.contains { globMatches($0, name) } }
        trained = try filter.resolve(in: model.parameters)
        guard !trained.isEmpty else {
            throw LensError(.usage, "nothing to train: every parameter is frozen", found: frozen.joined(separator: ", "))
        }
        self.model = model
        self.objective = objective
        self.schedule = schedule
        self.totalSteps = totalSteps
        optimizer = try Optimizer(settings, parameters: Dictionary(uniqueKeysWithValues: trained.map { ($0, try model.parameters[$0]) }))
    }

    /// Steps made.
    public var stepCount: Int { optimizer.stepCount }

    /// One step on the mean loss of `batches` (more than one: their gradients are accumulated).
    /// - Parameter cancellation: stops the runs of the step; nothing has changed then.
    /// - Throws: what runs and the objective throw; `LensError(.usage)` if loss or gradients are not finite. The trainer is
    ///   then as it was.
    @discardableResult
    public mutating func step(_ batches: [TrainingBatch], cancellation: Cancellation? = nil) throws -> Report {
        guard !batches.isEmpty else { throw LensError(.usage, "a step without batches") }
        var sums: [String: Tensor] = [:], losses = 0.0
        for batch in batches {
            let (loss, gradients) = try gradients(batch, cancellation)
            losses += loss
            if sums.isEmpty { sums = gradients } else { for (name, gradient) in gradients { sums[name] = try sums[name].map { try $0 + gradient } ?? gradient } }
        }
        let factor = schedule.factor(step: stepCount, of: totalSteps), loss = losses / Double(batches.count)
        guard loss.isFinite else {
            throw LensError(.usage, "the loss is not finite", at: "step \(stepCount + 1)", found: "\(loss)",
                            advice: "lower the learning rate, clip gradients, or look at the data")
        }
        // It checks everything before it changes anything.
        let norm = try optimizer.step(sums, learningRateFactor: factor, scale: 1 / Double(batches.count))
        model = try model.with(optimizer.parameters)
        return Report(step: stepCount, loss: loss, gradientNorm: norm, learningRate: optimizer.settings.learningRate * factor)
    }

    private func gradients(_ batch: TrainingBatch, _ cancellation: Cancellation?) throws -> (Double, [String: Tensor]) {
        var options = try objective.options(batch)
        options.attentionMask = options.attentionMask ?? batch.attentionMask
        options.cancellation = cancellation ?? options.cancellation
        let found = try model.runWithGradients(.tokens(batch.tokens), options, parameters: .names(trained)) { try objective.loss($0, batch) }
        return (Double(try found.metric.item()), found.parameters)
    }

    // MARK: Evaluation

    /// How a model does on batches.
    public struct Evaluation: Sendable, Hashable {
        /// Mean of the batches' losses, each weighing what it has of targets that count.
        public let loss: Double
        /// Of the targets that count, how many have the largest logit; nil where no logits are made.
        public let accuracy: Double?
    }

    /// Loss and accuracy, without gradients.
    public func evaluate(_ batches: [TrainingBatch], cancellation: Cancellation? = nil) throws -> Evaluation {
        var loss = 0.0, right = 0, answered = 0, weights = 0.0
        for batch in batches {
            var options = try objective.options(batch)
            options.attentionMask = options.attentionMask ?? batch.attentionMask
            options.cancellation = cancellation ?? options.cancellation
            let output = try model.run(.tokens(batch.tokens), options), weight = Double(max(1, batch.countedTargets))
            loss += Double(try objective.loss(output, batch).item()) * weight
            weights += weight
            if let logits = output.logits {
                let hits = try batch.hits(logits)
                right += hits.right
                answered += hits.of
            }
        }
        return Evaluation(loss: weights == 0 ? .nan : loss / weights, accuracy: answered == 0 ? nil : Double(right) / Double(answered))
    }

    // MARK: Saving

    /// Takes over the parameters and the optimizer's state that a checkpoint holds.
    mutating func restore(stepCount: Int, _ tensor: (String) throws -> Tensor) throws {
        var restored = optimizer
        try restored.restore(stepCount: stepCount, tensor)
        model = try model.with(restored.parameters)
        optimizer = restored
    }
}
