// A whole run in a folder: steps, metrics, checkpoints, the finished model. Killed at any moment and started again with the
// same arguments, it goes on from the last good checkpoint and ends with the same bits.
//
//     FOLDER/metrics.jsonl                       a line for each step
//     FOLDER/checkpoints/step-000001000.safetensors
//     FOLDER/training.json                       what run it is
//     FOLDER/config.json, model.safetensors      the model, when the run is over

import LensFiles
import LensModel
import LensTensor

/// Training from a beginning to an end.
public struct TrainingRun {
    /// What is told as the run goes.
    public struct Progress: Sendable {
        public let report: Trainer.Report
        public let steps: Int
        /// Where one was made after this step.
        public let evaluation: Trainer.Evaluation?
    }

    /// How it ended.
    public enum Outcome: Sendable, Hashable {
        case finished
        /// Cancelled; the checkpoint of `step` has everything.
        case cancelled(step: Int)
    }

    public let folder: String
    public let settings: TrainingSettings
    public private(set) var trainer: Trainer
    /// The checkpoint the run goes on from; 0 for a new one.
    public let resumedAt: Int
    /// Why later checkpoints were not used, a line each.
    public let refusedCheckpoints: [String]
    private let data: any TrainingData
    private let identity: JSON
    private let checkpoints: CheckpointFolder
    private let metrics: MetricsFile
    private var savedStep: Int

    /// Opens the folder (made if missing), and goes on from its last checkpoint if there is one.
    /// - Parameters:
    ///   - model: the model the run begins with; also where it goes on, for its configuration and frozen parameters.
    /// - Throws: `LensError(.usage)` if the folder holds another run; `LensError(.format)` if no checkpoint in it is good; `LensError(.file)`.
    public init(folder: String, model: Transformer, data: any TrainingData, settings: TrainingSettings, objective: TrainingObjective = .crossEntropy) throws {
        try settings.validate()
        try Self.check(model.config, data)
        self.folder = folder
        self.settings = settings
        self.data = data
        var trainer = try Trainer(model, settings.optimizer, objective: objective, frozen: settings.frozen, schedule: settings.schedule, totalSteps: settings.steps)
        identity = ["settings": settings.json, "data": data.identity, "model": model.config.hookedTransformerConfig, "begins": .string(try Self.checksum(model))]
        try makeFolder(folder)
        checkpoints = CheckpointFolder(path: "\(folder)/checkpoints")
        try makeFolder(checkpoints.path)
        var refused: [String] = []
        if let found = try checkpoints.latest() {
            try Self.checkSame(found.checkpoint.run, identity, settings, at: folder)
            try found.checkpoint.restore(&trainer)
            refused = found.refused
        }
        refusedCheckpoints = refused
        resumedAt = trainer.stepCount
        savedStep = trainer.stepCount
        self.trainer = trainer
        metrics = try MetricsFile(path: "\(folder)/metrics.jsonl", upTo: trainer.stepCount)
        let writer = try AtomicFileWriter(path: "\(folder)/training.json")
        try writer.write(identity.utf8(pretty: true))
        try writer.commit()
    }

    /// Runs to the end, or until `cancellation`; then a checkpoint of the last whole step is there.
    /// - Throws: what steps throw; the last checkpoint is then where the run can go on.
    public mutating func run(cancellation: Cancellation? = nil, progress: (Progress) throws -> Void = { _ in }) throws -> Outcome {
        while trainer.stepCount < settings.steps {
            do {
                try progress(step(cancellation))
            } catch let error as LensError where error.kind == .cancelled {
                try save()
                return .cancelled(step: trainer.stepCount)
            }
            let step = trainer.stepCount
            if step == settings.steps || settings.saveEvery > 0 && step % settings.saveEvery == 0 { try save() }
            if cancellation?.isCancelled == true || Task.isCancelled {
                try save()
                if step < settings.steps { return .cancelled(step: step) }
            }
        }
        try save()
        try trainer.model.save(to: folder)
        return .finished
    }

    private mutating func step(_ cancellation: Cancellation?) throws -> Progress {
        let first = trainer.stepCount * settings.accumulate
        let batches = try (0..<settings.accumulate).map { try data.batch(first + $0, size: settings.batchSize) }
        let report = try trainer.step(batches, cancellation: cancellation)
        var evaluation: Trainer.Evaluation?
        if settings.evaluateEvery > 0, report.step % settings.evaluateEvery == 0 || report.step == settings.steps {
            let held = try data.evaluation(size: settings.evaluationBatch)
            // Not cancelled: the step is made, and its line has to be whole.
            if !held.isEmpty { evaluation = try trainer.evaluate(held) }
        }
        if report.step % settings.logEvery == 0 || evaluation != nil || report.step == settings.steps {
            var fields = JSONObject([("step", .int(report.step)), ("loss", .double(report.loss)), ("lr", .double(report.learningRate)), ("grad_norm", .double(report.gradientNorm))])
            if let evaluation {
                fields["eval_loss"] = .double(evaluation.loss)
                fields["eval_accuracy"] = evaluation.accuracy.map(JSON.double) ?? .null
            }
            try metrics.add(.object(fields))
        }
        return Progress(report: report, steps: settings.steps, evaluation: evaluation)
    }

    private mutating func save() throws {
        guard savedStep != trainer.stepCount else { return }
        metrics.synchronize()
        try RunCheckpoint.write(trainer, run: identity, to: checkpoints.file(trainer.stepCount))
        savedStep = trainer.stepCount
        checkpoints.prune(keeping: settings.keep)
    }

    // MARK: Whether it fits

    private static func check(_ config: ModelConfig, _ data: any TrainingData) throws {
        guard data.vocabularySize <= config.dVocab, data.outputSize <= config.dVocabOut else {
            throw LensError(.config, "the data has more tokens than the model", at: "d_vocab, d_vocab_out", expected: "at least \(data.vocabularySize), \(data.outputSize)",
                            found: "\(config.dVocab), \(config.dVocabOut)")
        }
        guard data.length <= config.nCtx else {
            throw LensError(.config, "the data's rows are longer than the model's context", at: "n_ctx", expected: "at least \(data.length)", found: "\(config.nCtx)")
        }
    }

    private static func checkSame(_ found: JSON, _ identity: JSON, _ settings: TrainingSettings, at folder: String) throws {
        for part in ["data", "model", "begins"] where found[part] != identity[part] {
            throw LensError(.usage, "the folder holds a run of \(part == "data" ? "other data" : "another model")", at: folder, advice: "give another folder, or remove its checkpoints")
        }
        guard settings.continues(found["settings"] ?? .null) else {
            throw LensError(.usage, "the folder holds a run with other settings", at: folder, expected: (try? found["settings"]?.text()) ?? "settings",
                            advice: "give these settings, another folder, or remove its checkpoints")
        }
    }

    /// Of the parameters a run begins with.
    private static func checksum(_ model: Transformer) throws -> String {
        var checksum = Checksum(step: 0, run: "")
        for name in model.parameters.names {
            let tensor = try model.parameters[name]
            try tensor.withUnsafeElements { checksum.add(name, tensor.shape, UnsafeRawBufferPointer($0)) }
        }
        return checksum.text
    }
}
