// `tlens train`: a new model from a configuration, or one there is trained further, on text, tokens or a built-in task.

import ArgumentParser
import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a model: a new one from a configuration, or one there is.",
        usage: "tlens train (--config <file> | --from <model>) (--data <file> | --task <name>) --out <folder> [<options>]",
        discussion: """
            The configuration has HookedTransformerConfig's field names: d_model, d_head, n_layers, n_ctx, act_fn (or attn_only), \
            normalization_type …, init_mode, initializer_range, seed; d_vocab is the data's unless given. In the folder are then \
            config.json and model.safetensors, which every command loads, metrics.jsonl with a line for each step, and \
            checkpoints. The same command again goes on from the last good checkpoint, to the same bits as a run that was never \
            stopped. Ctrl-C ends the run after writing one.

              tlens train --config tiny.json --data shakespeare.txt --tokenizer gpt2 --steps 2000 --out shakespeare
              tlens train --config grok.json --task add --batch-size all --optimizer AdamW --weight-decay 1 --out grok
              tlens train --from gpt2-small --data notes.txt --lr 1e-5 --freeze '*embed*' --out tuned
            """)

    @Option(help: ArgumentHelp("The new model's configuration, as JSON.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("A model to begin with: a folder, a registered name or a hub id.", valueName: "model"))
    var from: String?

    @OptionGroup(title: "Data") var data: TrainingDataOptions
    @OptionGroup(title: "Training") var how: TrainingHowOptions

    @Option(help: ArgumentHelp("Where the model goes (made if missing); a run that was stopped there goes on.", valueName: "folder"))
    var out: String

    @Option(help: ArgumentHelp("Of the data's order and of tasks; of a new model's weights too, unless its configuration has one.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Threads to compute with; results do not depend on it. (default: all cores)", valueName: "n"))
    var threads: Int?

    @Option(help: ArgumentHelp("How the finished model's numbers are written: f32, f16 or bf16.", valueName: "type"))
    var dtype = "f32"

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard ["f32", "f16", "bf16"].contains(dtype) else { throw ValidationError("--dtype takes f32, f16 or bf16, not '\(dtype)'") }
        guard (config == nil) != (from == nil) else { throw ValidationError("give --config for a new model, or --from for one there is") }
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads takes a number from 1 to 1024, not \(threads)") }
    }

    func run() throws {
        if let threads { Kernels.threads = threads }
        let progress = TrainingMeter(output)
        progress.show("reading the data …")
        let (model, loaded) = try config.map(newModel) ?? existingModel()
        let settings = try how.load(rowCount: loaded.data.rowCount)
        var run = try TrainingRun(folder: out, model: model, data: loaded.data, settings: settings)
        progress.clear()
        for line in run.refusedCheckpoints { warn("not used: \(line)") }
        if run.resumedAt > 0, !output.json, !output.quiet { warn("going on after step \(run.resumedAt) of \(settings.steps)") }
        var last: TrainingRun.Progress?, evaluation: Trainer.Evaluation?
        let outcome = try run.run(cancellation: Interrupt.watch()) { step in
            (last, evaluation) = (step, step.evaluation ?? evaluation)
            progress.show(step, evaluation)
        }
        progress.clear()
        if case .cancelled(let step) = outcome {
            throw LensError(.cancelled, "stopped after step \(step) of \(settings.steps)", at: out, advice: "the same command goes on from there")
        }
        if dtype != "f32", let format = WeightFormat(rawValue: dtype) { try run.trainer.model.save(to: out, as: format) }
        try loaded.tokenizer?.save(to: out)
        try report(run, last, evaluation)
    }

    // MARK: The model

    private func newModel(_ path: String) throws -> (Transformer, LoadedTrainingData) {
        var fields = try JSON.parse(file: path).asObject(at: path)
        func size(_ name: String) -> Int? { fields[name]?.intValue.flatMap { $0 > 0 ? $0 : nil } }
        guard let context = size("n_ctx") else { throw LensError(.config, "missing configuration key", at: "\(path): n_ctx", expected: "positions the model has") }
        let loaded = try data.load(context: context, vocabulary: size("d_vocab"), seed: seed)
        if size("d_vocab") == nil {
            fields["d_vocab"] = .int(loaded.data.vocabularySize)
            if size("d_vocab_out") == nil { fields["d_vocab_out"] = .int(loaded.data.outputSize) }
        }
        if fields["seed"]?.intValue == nil { fields["seed"] = .int(Int(truncatingIfNeeded: seed)) }
        let config = try ModelConfig(hookedTransformerConfig: .object(fields), at: path)
        return (try Transformer(config: config, initialization: Initialization(hookedTransformerConfig: .object(fields), at: path)), loaded)
    }

    private func existingModel() throws -> (Transformer, LoadedTrainingData) {
        let name = from ?? "", folder = try localFolder(of: name, Progress(output))
        let model = try HookedTransformer(folder: folder, processing: .none, options: LoadOptions(dtype: .float32)).model
        let loaded = try data.load(context: model.config.nCtx, vocabulary: model.config.dVocab, folder: folder, seed: seed)
        return (model, loaded)
    }

    // MARK: What is said

    private func report(_ run: TrainingRun, _ last: TrainingRun.Progress?, _ evaluation: Trainer.Evaluation?) throws {
        if output.json {
            var fields = JSONObject([("out", .string(out)), ("steps", .int(run.trainer.stepCount)), ("resumed_at", .int(run.resumedAt)), ("parameters", .int(run.trainer.model.parameters.count))])
            fields["loss"] = last.map { .double($0.report.loss) } ?? .null
            fields["eval_loss"] = evaluation.map { .double($0.loss) } ?? .null
            fields["eval_accuracy"] = evaluation?.accuracy.map(JSON.double) ?? .null
            return try printJSON(.object(fields))
        }
        if let last {
            var line = "step \(last.report.step): loss \(fixed(last.report.loss, 4))"
            if let evaluation { line += ", held out \(fixed(evaluation.loss, 4))" + (evaluation.accuracy.map { ", \(fixed(100 * $0, 1)) % right" } ?? "") }
            try say(line)
        }
        try say("\(grouped(run.trainer.model.parameters.count)) parameters, in \(escaped(out)).")
    }

    private func warn(_ text: String) {
        let bytes = Array("tlens: \(escaped(text))\n".utf8)
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}

/// Ctrl-C and a polite request to end, as a flag. The second time they end the process.
enum Interrupt {
    static let cancellation = Cancellation()

    static func watch() -> Cancellation {
        _ = cancellation
        // Whoever started the program may have blocked them.
        var numbers = sigset_t()
        sigemptyset(&numbers)
        for number in [SIGINT, SIGTERM] { sigaddset(&numbers, number) }
        pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interrupt.cancellation.cancel()
                signal(number, SIG_DFL)
            }
        }
        return cancellation
    }
}

/// `step 120/1,000, loss 2.3120, held out 2.4012, about 40 s left`, on a terminal only.
final class TrainingMeter {
    private let progress: Progress
    private let start = ContinuousClock.now
    private var first: (step: Int, at: ContinuousClock.Instant)?
    private var shown: ContinuousClock.Instant?

    init(_ output: OutputOptions) { progress = Progress(output) }

    func show(_ text: String) { progress.show(text) }
    func clear() { progress.clear() }

    func show(_ step: TrainingRun.Progress, _ evaluation: Trainer.Evaluation?) {
        let now = ContinuousClock.now, begun = first ?? (step.report.step, now)
        if first == nil { first = begun }
        guard shown.map({ now - $0 >= .milliseconds(200) }) ?? true else { return }
        shown = now
        var line = "step \(grouped(step.report.step))/\(grouped(step.steps)), loss \(fixed(step.report.loss, 4))"
        if let evaluation { line += ", held out \(fixed(evaluation.loss, 4))" }
        let done = step.report.step - begun.step, elapsed = now - begun.at
        if done > 0, elapsed >= .seconds(1) {
            let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
            line += ", about \(ProgressMeter.duration(seconds / Double(done) * Double(step.steps - step.report.step))) left"
        }
        progress.show(line)
    }
}
