// `tlens grok`: the grokking experiment of Nanda et al. (2023), from nothing to the frequencies the model computes with.

import ArgumentParser
import TransformerLens

struct Grok: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reproduce grokking: train a small model to add modulo p, and look at what it learned.",
        usage: "tlens grok --out <folder> [<options>]",
        discussion: """
            Trains one layer with four heads on a third of all pairs (Nanda et al. 2023, "Progress measures for grokking via \
            mechanistic interpretability"): it knows its training pairs by heart soon, and the others long after. Then finds the \
            frequencies that stand out in the embedding's Fourier basis, and shows the losses with only them and without them. \
            Stopped, it goes on with the same command.
            """)

    @Option(help: ArgumentHelp("Where model, metrics and checkpoints go.", valueName: "folder"))
    var out: String

    @Option(help: ArgumentHelp("Steps to train.", valueName: "n"))
    var steps = 25_000

    @Option(help: ArgumentHelp("The modulus; odd.", valueName: "p"))
    var modulus = 113

    @Option(help: ArgumentHelp("The share of pairs trained on.", valueName: "share"))
    var trainFraction = 0.3

    @Option(help: ArgumentHelp("Of the pairs trained on, and of the first weights.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Threads to compute with; results do not depend on it. (default: all cores)", valueName: "n"))
    var threads: Int?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if steps < 1 { throw ValidationError("--steps takes a number from 1, not \(steps)") }
        if !(3...1021).contains(modulus) || modulus % 2 == 0 { throw ValidationError("--modulus takes an odd number from 3 to 1021, not \(modulus)") }
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads takes a number from 1 to 1024, not \(threads)") }
    }

    func run() throws {
        if let threads { Kernels.threads = threads }
        let task = try ModularArithmetic(.add, modulus: modulus, trainFraction: trainFraction, seed: seed), meter = TrainingMeter(output)
        let start = try Transformer(config: Grokking.config(modulus: modulus), initialization: Initialization(seed: seed))
        var run = try TrainingRun(folder: out, model: start, data: task.data, settings: Grokking.settings(steps: steps))
        var evaluation: Trainer.Evaluation?
        let outcome = try run.run(cancellation: Interrupt.watch()) { step in
            evaluation = step.evaluation ?? evaluation
            meter.show(step, evaluation)
        }
        meter.clear()
        if case .cancelled(let step) = outcome {
            throw LensError(.cancelled, "stopped after step \(step) of \(steps)", at: out, advice: "the same command goes on from there")
        }
        let grokking = try Grokking(run.trainer.model, task: task)
        try report(try curve(), try grokking.spectrum(), try grokking.ablations(grokking.keyFrequencies()))
    }

    /// Losses at some steps, from the metrics: every tenth of the run on a scale of powers of two and at the end.
    private func curve() throws -> [JSON] {
        let file = try DataFile(path: "\(out)/metrics.jsonl"), lines = try file.read(0..<file.size).split(separator: UInt8(ascii: "\n"))
        let measured = try lines.map { try JSON.parse(Array($0), at: file.path) }.filter { $0["eval_loss"]?.doubleValue != nil }
        let count = 24
        return (0..<min(count, measured.count)).map { measured[measured.count <= count ? $0 : ($0 + 1) * measured.count / count - 1] }
    }

    private func report(_ curve: [JSON], _ spectrum: [(frequency: Int, share: Double)], _ ablations: Grokking.Ablations) throws {
        let rows = [("full", ablations.full), ("embedding_only", ablations.embeddingOnly), ("embedding_without", ablations.embeddingWithout),
                    ("logits_only", ablations.logitsOnly), ("logits_without", ablations.logitsWithout)]
        if output.json {
            let losses = JSONObject(rows.map { ($0, ["train": .double($1.train), "test": .double($1.test)]) })
            return try printJSON(["out": .string(out), "curve": .array(curve), "key_frequencies": .array(ablations.frequencies.map(JSON.int)),
                                  "spectrum": .array(spectrum.map { ["frequency": .int($0.frequency), "share": .double($0.share)] }), "losses": .object(losses)])
        }
        func number(_ value: Double?) -> String {
            guard let value, value.isFinite else { return "–" }
            return value != 0 && abs(value) < 0.001 ? scientific(value) : fixed(value, 4)
        }
        var table = TextTable(["#step", "#train loss", "#test loss", "#test right %"])
        for line in curve {
            table.add(["\(line["step"]?.intValue ?? 0)", number(line["loss"]?.doubleValue), number(line["eval_loss"]?.doubleValue),
                       fixed(100 * (line["eval_accuracy"]?.doubleValue ?? .nan), 1)])
        }
        try say(table.text)
        let shares = spectrum.filter { ablations.frequencies.contains($0.frequency) }
        try say("\nKey frequencies (share of the embedding): " + shares.map { "\($0.frequency) (\(fixed(100 * $0.share, 1)) %)" }.joined(separator: ", ") + "\n")
        var losses = TextTable(["losses", "#train", "#test"])
        let names = ["the model", "embedding: only key frequencies", "embedding: without them", "logits: only key frequencies", "logits: without them"]
        for (name, row) in zip(names, rows) { losses.add([name, number(row.1.train), number(row.1.test)]) }
        try say(losses.text)
    }

    /// 1.2e-07
    private func scientific(_ value: Double) -> String {
        var exponent = 0, mantissa = abs(value)
        while mantissa < 1, mantissa > 0 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        return (value < 0 ? "-" : "") + fixed(mantissa, 1) + "e\(exponent)"
    }
}
