// `tlens patch`: activation patching between two prompts, or path patching with --to.

import ArgumentParser
import TransformerLens

struct Patch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put activations of one prompt into another, cell by cell, and see what the answer does.",
        usage: """
            tlens patch <model> --clean <text> --corrupted <text> --answer <token> [--wrong <token>] [--what <activation>]
            tlens patch <model> … --to L9H6.q
            tlens patch <model> … --agreement
            """,
        discussion: """
            The metric is the answer's logit less the wrong answer's at the last position (without --wrong: the answer's \
            log-probability). It is shown so that 0 is the corrupted run and 1 the clean one. Several prompt pairs are a \
            batch: the n-th --clean goes with the n-th --corrupted, --answer and --wrong.

            WHAT: \(NamedPatch.allCases.map(\.rawValue).joined(separator: ", ")).
            --to makes it path patching: from every head straight to that head's q, k or v input, or to `final`; with \
            --through-mlps also by way of the MLPs between.

            --agreement patches every kind of component and says how far --estimate would have ranked the cells as patching \
            does, with gradients of the clean run (corrupted into clean), of the corrupted one (clean into corrupted), and \
            integrated between them (clean into corrupted).
            """)

    @OptionGroup var options: ModelOptions

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A clean prompt. Repeatable.", valueName: "text"))
    var clean: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A corrupted prompt, of as many tokens. Repeatable.", valueName: "text"))
    var corrupted: [String] = []

    @Option(help: ArgumentHelp("A clean prompt as tokens, 1,2,3. Repeatable.", valueName: "ids"))
    var cleanTokens: [String] = []

    @Option(help: ArgumentHelp("A corrupted prompt as tokens. Repeatable.", valueName: "ids"))
    var corruptedTokens: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The clean prompt's answer: a text of one token, or #id. Repeatable.", valueName: "token"))
    var answer: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The wrong answer. Repeatable.", valueName: "token"))
    var wrong: [String] = []

    @Option(help: ArgumentHelp("What is patched.", valueName: "activation"))
    var what = NamedPatch.residPre.rawValue

    @Option(help: ArgumentHelp("Path patching to L9H6.q, .k or .v, or final. Repeatable: to all of them at once.", valueName: "receiver"))
    var to: [String] = []

    @Flag(help: "With --to: MLPs between pass on what reaches them, as in Wang et al. 2022.")
    var throughMlps = false

    @Flag(help: "Put corrupted activations into the clean run.")
    var noising = false

    @Flag(help: "Keys and values of each query head of grouped attention.")
    var ungroup = false

    @Flag(help: "Estimate all cells at once by attribution patching (one pass back), instead of running each.")
    var estimate = false

    @Flag(help: "Rank correlations of estimates with patching, for every kind of component.")
    var agreement = false

    @Option(help: ArgumentHelp("With --agreement: gradients that integrated averages. (default: 10)", valueName: "n"))
    var steps: Int?

    @Flag(help: "The metric itself, not as a share of the way from corrupted to clean.")
    var raw = false

    @Option(help: ArgumentHelp("Cells to list.", valueName: "n"))
    var top = 10

    @OptionGroup var bos: BOSOptions
    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard clean.isEmpty != cleanTokens.isEmpty, corrupted.isEmpty != corruptedTokens.isEmpty else {
            throw ValidationError("give --clean or --clean-tokens, and --corrupted or --corrupted-tokens")
        }
        let pairs = clean.count + cleanTokens.count
        guard corrupted.count + corruptedTokens.count == pairs else {
            throw ValidationError("\(pairs) clean prompts but \(corrupted.count + corruptedTokens.count) corrupted ones")
        }
        guard answer.count == pairs, wrong.isEmpty || wrong.count == pairs else {
            throw ValidationError("give an --answer for each of \(pairs) prompts, and as many --wrong or none")
        }
        guard NamedPatch(rawValue: what) != nil else {
            throw ValidationError("--what takes \(NamedPatch.allCases.map(\.rawValue).joined(separator: ", ")), not '\(what)'")
        }
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
        guard !estimate || to.isEmpty else { throw ValidationError("--estimate is for activations, not paths: leave out --to") }
        guard !agreement || (to.isEmpty && !estimate && !noising) else {
            throw ValidationError("--agreement compares all kinds in both directions: leave out --to, --estimate and --noising")
        }
        guard !agreement || (!raw && top == 10 && what == NamedPatch.residPre.rawValue) else {
            throw ValidationError("--agreement has every kind of component and no cells to list: leave out --what, --raw and --top")
        }
        if let steps {
            guard agreement else { throw ValidationError("--steps is for --agreement") }
            guard (1...10_000).contains(steps) else { throw ValidationError("--steps takes a number from 1 to 10000, not \(steps)") }
        }
        _ = try to.map(receiver)
        guard !throughMlps || !to.isEmpty else { throw ValidationError("--through-mlps is for path patching: give --to") }
        for list in cleanTokens + corruptedTokens { _ = try tokenList(list) }
    }

    private func receiver(_ text: String) throws -> PathReceiver {
        if text == "final" { return .final }
        guard let dot = text.lastIndex(of: "."), let input = HeadInput(rawValue: String(text[text.index(after: dot)...])) else {
            throw ValidationError("'\(text)' receives nothing: give L9H6.q, .k or .v, or final")
        }
        let head = try headIndex(String(text[..<dot]))
        return .head(layer: head.layer, head: head.head, input: input)
    }

    func run() throws {
        let loaded = try options.load(output)
        let experiment = try PatchExperiment(self, loaded)
        let meter = ProgressMeter("patching", output)
        defer { meter.finish() }
        let model = ungroup ? try loaded.model.ungroupingQueryAttention() : loaded.model
        if agreement {
            let report = try PatchAgreement(experiment, model, steps: steps ?? 10, meter)
            meter.finish()
            try report.write(file)
            return try output.json ? printJSON(report.json()) : say(report.text(.stdout))
        }
        let report = try PatchReport(experiment, command: self, sweep(experiment, model, meter), model: loaded)
        meter.finish()
        try report.write(file)
        try output.json ? printJSON(report.json(top)) : say(report.text(top, .stdout))
    }

    private func sweep(_ experiment: PatchExperiment, _ model: Transformer, _ meter: ProgressMeter) throws -> PatchingResult {
        let patched = noising ? experiment.clean : experiment.corrupted, other = noising ? experiment.corrupted : experiment.clean
        var run = PatchingOptions(attentionMask: experiment.mask, onlyLastLogits: true, progress: meter.advance)
        run.tokensAtOnce = max(512, patched.count)
        let patch = NamedPatch(rawValue: what) ?? .residPre
        if estimate {
            let pair = try PromptPair(clean: experiment.clean, corrupted: experiment.corrupted, attentionMask: experiment.mask)
            return try Patching.attributionPatch(model, pair, metric: experiment.gradientMetric, activations: [patch.activationName],
                                                 gradientAt: noising ? .clean : .corrupted)[0].predicted(patch, isNoising: noising)
        }
        var caching = Transformer.Options(cache: .names([to.isEmpty ? patch.activationName : "z"]), returnType: .none)
        caching.attentionMask = experiment.mask
        let cache = try model.run(.tokens(other), caching).cache
        guard !to.isEmpty else {
            return try Patching.getActPatch(patch, model, tokens: patched, cache: cache, metrics: [experiment.metric], options: run)[0]
        }
        let receivers = try to.map(receiver)
        let layers = receivers.map { if case .head(let layer, _, _) = $0 { layer } else { model.config.nLayers } }.min() ?? 0
        let heads = (0..<min(layers, model.config.nLayers)).flatMap { layer in (0..<model.config.nHeads).map { [layer, $0] } }
        guard !heads.isEmpty else { throw LensError(.usage, "no head comes before the receivers", found: to.joined(separator: ", ")) }
        let paths = heads.map { Path(from: [.head(layer: $0[0], head: $0[1])], to: receivers) }
        let result = try Patching.pathPatch(model, tokens: patched, cache: cache, metrics: [experiment.metric], paths: paths,
                                            recomputing: throughMlps ? .mlps : [], options: run)[0]
        // As layers by heads.
        let shape = [heads.count / model.config.nHeads, model.config.nHeads] + (result.isPerExample ? [experiment.clean.shape[0]] : [])
        return PatchingResult(axisNames: ["layer", "head"], indices: heads, values: try result.values.reshaped(shape),
                              isPerExample: result.isPerExample, baseline: result.baseline)
    }
}

/// The prompts as tokens, padded on the left to one length, and the metric.
struct PatchExperiment {
    let clean: IntTensor
    let corrupted: IntTensor
    /// nil: nothing is padded.
    let mask: IntTensor?
    let metric: PatchingMetric
    let answers: [Int], wrong: [Int]
    let metricName: String

    /// The metric, to be differentiated.
    var gradientMetric: GradientMetric {
        wrong.isEmpty ? .logProbability(answers: answers) : .logitDifference(answers: answers, wrong: wrong)
    }

    init(_ command: Patch, _ model: HookedTransformer) throws {
        try self.init(clean: (command.clean, command.cleanTokens), corrupted: (command.corrupted, command.corruptedTokens), answers: command.answer,
                      wrong: command.wrong, bos: command.bos, model)
    }

    /// - Parameters: texts, and tokens as 1,2,3, of each prompt.
    init(clean cleanInput: (texts: [String], tokens: [String]), corrupted corruptedInput: (texts: [String], tokens: [String]), answers answerTexts: [String],
         wrong wrongTexts: [String], bos: BOSOptions, _ model: HookedTransformer) throws {
        func rows(_ input: (texts: [String], tokens: [String])) throws -> [[Int]] {
            try input.tokens.map(tokenList) + input.texts.map { try model.toTokens($0, prependBOS: bos.choice, truncate: false).array }
        }
        let cleanRows = try rows(cleanInput), corruptedRows = try rows(corruptedInput)
        for (index, (a, b)) in zip(cleanRows, corruptedRows).enumerated() where a.count != b.count {
            throw LensError(.usage, "prompts of different lengths cannot be patched position by position", at: "pair \(index + 1)",
                            expected: "\(a.count) tokens in the corrupted prompt too", found: "\(b.count)", advice: "`tlens tokenize` shows the tokens")
        }
        let longest = cleanRows.map(\.count).max() ?? 0
        func padded(_ rows: [[Int]], _ filler: Int) throws -> IntTensor {
            try IntTensor(rows: rows.map { Array(repeating: filler, count: longest - $0.count) + $0 })
        }
        let pad = model.tokenizer.flatMap { $0.padID ?? $0.eosID ?? $0.bosID } ?? 0
        clean = try padded(cleanRows, pad)
        corrupted = try padded(corruptedRows, pad)
        mask = cleanRows.contains { $0.count != longest } ? try padded(cleanRows.map { $0.map { _ in 1 } }, 0) : nil
        answers = try answerTexts.map(model.outputToken)
        wrong = try wrongTexts.map(model.outputToken)
        metric = wrong.isEmpty ? .logProbability(answers: answers) : .logitDifference(answers: answers, wrong: wrong)
        metricName = wrong.isEmpty ? "log-probability of the answer" : "logit of the answer less that of the wrong one"
    }
}
