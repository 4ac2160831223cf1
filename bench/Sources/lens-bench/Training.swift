// A training step of the grokking configuration (Nanda et al. 2023), beside bench/python/training.py. Its gradient is checked
// against finite differences of the loss along itself before anything is timed.

import ArgumentParser
import TransformerLens

struct Training: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time a training step of the grokking configuration, full batch.")

    @Option var threads = 2
    @Option(help: "Seconds to run.")
    var seconds = 5.0

    func run() throws {
        Kernels.threads = threads
        let task = try ModularArithmetic(.add, modulus: 113, trainFraction: 0.3), settings = Grokking.settings()
        let model = try Transformer(config: Grokking.config(), initialization: Initialization(seed: 999)), batch = try task.data.batch(0, size: nil)
        try check(model, batch, frozen: settings.frozen)
        var trainer = try Trainer(model, settings.optimizer, frozen: settings.frozen), loss = 0.0
        let timing = try Timing(seconds: seconds) { loss = try trainer.step([batch]).loss }
        let forward = try Timing(seconds: 1) { _ = try trainer.evaluate([batch]) }
        let report: JSON = ["who": "lens", "work": "training step", "threads": .int(threads), "rows": .int(batch.tokens.shape[0]), "loss": .double(loss),
                            "step": .object(timing.json), "forward": .object(forward.json)]
        print(try report.text(pretty: true))
    }

    /// A step of plain descent lowers the loss by its squared length over the rate.
    private func check(_ model: Transformer, _ batch: TrainingBatch, frozen: [String]) throws {
        let rate = 1e-3
        var trainer = try Trainer(model, .init(.sgd(), learningRate: rate), frozen: frozen)
        let before = try trainer.evaluate([batch]).loss, norm = try trainer.step([batch]).gradientNorm, after = try trainer.evaluate([batch]).loss
        let expected = rate * norm * norm
        guard abs(before - after - expected) < 0.05 * expected + 1e-6 else {
            throw LensError(.usage, "the loss does not follow its gradient", expected: "\(expected) less", found: "\(before - after)")
        }
    }
}
