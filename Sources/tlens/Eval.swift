// `tlens eval`: loss on text files, induction, indirect objects, multiple-choice questions.

import ArgumentParser
import TransformerLens

struct Eval: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Evaluate a model: loss on text, induction, indirect objects, lettered questions.",
        usage: """
            tlens eval <model> --text-file <file> [--length <n>]
            tlens eval <model> --induction | --ioi | --questions <file>
            tlens eval <model> [--dtype <type>] [--activations int8] --against <model> [--text-file <file>]
            """,
        discussion: """
            Give one or more. --text-file: mean loss and perplexity over rows of its tokens. --induction: loss on random \
            tokens seen once before. --ioi: accuracy and logit difference on indirect objects. --questions: zero-shot \
            accuracy on multiple-choice questions (.csv, or JSON lines with question, choices, answer), by the most likely \
            letter. --against: how far the model, in its format, is from that one in float32: KL divergence of the next token \
            (on the text files, or a short text), and the error of every matrix and of the residual stream after every block.
            """)

    @OptionGroup var options: ModelOptions

    @Option(name: .customLong("text-file"), help: ArgumentHelp("A text to predict. Repeatable.", valueName: "file"))
    var textFiles: [String] = []

    @Flag(help: "Random tokens, repeated.")
    var induction = false

    @Flag(help: "Indirect object identification.")
    var ioi = false

    @Option(help: ArgumentHelp("Multiple-choice questions.", valueName: "file"))
    var questions: String?

    @Option(help: ArgumentHelp("The same model to compare with, loaded in float32.", valueName: "model"))
    var against: String?

    @Option(help: ArgumentHelp("Tokens of a row of text, or before random ones repeat. (default: what the context holds, at most 1024; 384)", valueName: "n"))
    var length: Int?

    @Option(help: ArgumentHelp("Rows of each text to stop after.", valueName: "n"))
    var rows: Int?

    @Option(help: ArgumentHelp("Prompts of --ioi.", valueName: "n"))
    var samples = 1000

    @Option(name: .customLong("name"), help: ArgumentHelp("A name for --ioi. Repeat: two or more. (default: John, Mary)", valueName: "name"))
    var names: [String] = []

    @Flag(help: "Prompts of --ioi in pairs, names exchanged.")
    var symmetric = false

    @Option(help: ArgumentHelp("Seed of random tokens and prompts.", valueName: "n"))
    var seed: UInt64 = 0

    @OptionGroup var bos: BOSOptions
    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !textFiles.isEmpty || induction || ioi || questions != nil || against != nil else {
            throw ValidationError("nothing to evaluate: give --text-file, --induction, --ioi, --questions or --against")
        }
        for (name, value, least) in [("--length", length ?? 2, 2), ("--rows", rows ?? 1, 1), ("--samples", samples, 2)] where value < least {
            throw ValidationError("\(name) takes a number from \(least), not \(value)")
        }
        guard samples <= 10_000_000 else { throw ValidationError("--samples takes a number up to 10000000, not \(samples)") }
        guard names.isEmpty || Set(names).count >= 2 else { throw ValidationError("--name: give two or more different ones") }
    }

    /// A line of the report.
    private struct Score {
        let eval: String
        let measure: String
        let value: Double
        let count: Int
        var isShare = false
    }

    func run() throws {
        let model = try options.load(output)
        var scores: [Score] = []
        for path in textFiles { scores += try text(path, model) }
        if induction { scores.append(try inductionScore(model)) }
        if ioi { scores += try indirectObjects(model) }
        if let questions { scores += try letters(questions, model) }
        let distance = try against.map { try formatError(model, against: $0) }
        if let distance, let against {
            scores += [Score(eval: "against \(against)", measure: "KL divergence", value: distance.divergence, count: distance.positions),
                       Score(eval: "against \(against)", measure: "agreement", value: distance.agreement, count: distance.positions, isShare: true)]
        }
        try file.write([LabelledTensor("scores", Tensor(scores.map { Float($0.value) }, shape: [scores.count]), scores.map { "\($0.eval): \($0.measure)" })])
        if output.json {
            let list = JSON.array(scores.map {
                ["eval": .string($0.eval), "measure": .string($0.measure), "value": .double($0.value), "count": .int($0.count)]
            })
            return try printJSON(distance.map { ["scores": list, "format_error": $0.json] } ?? ["scores": list])
        }
        var table = TextTable(["eval", "measure", "#value", "#over"])
        for score in scores {
            table.add([escaped(score.eval), score.measure, score.isShare ? fixed(100 * score.value, 2) + " %" : fixed(score.value, 4), grouped(score.count)])
        }
        try say(table.text(on: .stdout))
        if let distance { try say("\n" + distance.text) }
    }

    private func tokenizer(_ model: HookedTransformer) throws -> Tokenizer {
        guard let tokenizer = model.tokenizer else { throw LensError(.usage, "this model has no tokenizer", advice: "only --induction does without text") }
        return tokenizer
    }

    private func text(_ path: String, _ model: HookedTransformer) throws -> [Score] {
        let most = min(1024, model.config.nCtx), length = length ?? most
        guard length <= model.config.nCtx else {
            throw LensError(.usage, "rows longer than the context", at: "--length", expected: "at most \(model.config.nCtx)", found: "\(length)")
        }
        var reader = try TokenRows(file: path, tokenizer: tokenizer(model), length: length, bos: model.bosToken(bos.choice))
        let meter = ProgressMeter("reading (bytes)", output)
        defer { meter.finish() }
        let found = try Evals.evaluate(model.model, most: rows) {
            defer { meter.advance(to: reader.progress.done, of: reader.progress.of) }
            return try reader.next()
        }
        return [Score(eval: path, measure: "loss", value: found.loss, count: found.predicted),
                Score(eval: path, measure: "perplexity", value: found.perplexity, count: found.predicted)]
    }

    private func inductionScore(_ model: HookedTransformer) throws -> Score {
        let length = min(length ?? 384, model.config.nCtx / 2)
        let loss = try Evals.inductionLoss(model.model, subsequenceLength: length, bos: model.bosToken(bos.choice), seed: seed)
        return Score(eval: "induction, \(length) tokens", measure: "loss", value: loss, count: 4 * (length - 1))
    }

    private func indirectObjects(_ model: HookedTransformer) throws -> [Score] {
        let tokenizer = try tokenizer(model)
        let dataset = try IOIDataset(names: names.isEmpty ? IOIDataset.defaultNames : names, count: samples, symmetric: symmetric, seed: seed)
        let meter = ProgressMeter("prompts", output)
        defer { meter.finish() }
        let prepends = (bos.choice ?? model.config.defaultPrependBOS) && tokenizer.bosID != nil
        let found = try Evals.ioiEval(model.model, tokenizer: tokenizer, dataset: dataset, prependBOS: prepends, progress: meter.advance)
        return [Score(eval: "ioi", measure: "logit difference", value: found.logitDifference, count: found.count),
                Score(eval: "ioi", measure: "accuracy", value: found.accuracy, count: found.count, isShare: true)]
    }

    private func letters(_ path: String, _ model: HookedTransformer) throws -> [Score] {
        let tokenizer = try tokenizer(model), questions = try LetterQuestion.read(file: path)
        let meter = ProgressMeter("questions", output)
        defer { meter.finish() }
        let found = try Evals.letterEval(model.model, tokenizer: tokenizer, questions: questions, progress: meter.advance) {
            try model.toTokens($0, prependBOS: bos.choice, truncate: false).array
        }
        let subjects = found.subjects.filter { !$0.name.isEmpty }
        return [Score(eval: path, measure: "accuracy", value: found.accuracy, count: found.total, isShare: true)]
            + subjects.map { Score(eval: path, measure: "accuracy: \($0.name)", value: $0.accuracy, count: $0.total, isShare: true) }
    }
}
