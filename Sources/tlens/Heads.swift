// `tlens heads`: which heads attend to the previous token, to duplicates, or do induction; on random repeated tokens, or on
// prompts with TransformerLens' head detector.

import ArgumentParser
import TransformerLens

struct Heads: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Score every attention head: previous token, duplicate token, induction.",
        usage: """
            tlens heads <model> [--ablate mean] [<options>]
            tlens heads <model> --prompt <text> [--error-measure mul|abs] [<options>]
            """,
        discussion: """
            Without a prompt, heads are scored on random tokens repeated once: the mean attention they pay to the token \
            before, to the token's first occurrence, and to what came after it. With prompts, the score is TransformerLens' \
            detect_head, averaged over them.
            """)

    @OptionGroup var options: ModelOptions

    @Option(name: .customLong("prompt"), parsing: .unconditionalSingleValue, help: ArgumentHelp("Text to detect heads on. Repeatable.", valueName: "text"))
    var prompts: [String] = []

    @Option(help: ArgumentHelp("Tokens to detect heads on, as 1,2,3. Repeatable.", valueName: "ids"))
    var tokens: [String] = []

    @OptionGroup var bos: BOSOptions

    @Option(help: ArgumentHelp("How attention is compared on prompts: mul, the share on the pattern, or abs.", valueName: "how"))
    var errorMeasure = "mul"

    @Flag(help: "Leave out attention to the first token (on prompts).")
    var excludeBos = false

    @Flag(help: "Leave out attention to the current token (on prompts).")
    var excludeCurrentToken = false

    @Option(name: .customLong("head"), help: ArgumentHelp("Score this head only, as L3H7 (on prompts). Repeatable.", valueName: "head"))
    var chosen: [String] = []

    @Option(help: ArgumentHelp("Random tokens before they repeat. (default: 24, or what the context holds)", valueName: "n"))
    var length: Int?

    @Option(help: ArgumentHelp("Random sequences.", valueName: "n"))
    var batch = 8

    @Option(help: ArgumentHelp("Seed of the random tokens.", valueName: "n"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("Loss on the repetition with each head ablated: mean, to its mean output, or zero.", valueName: "how"))
    var ablate: String?

    @Option(help: ArgumentHelp("Heads of each kind to list.", valueName: "n"))
    var top = 5

    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    private var isOnPrompts: Bool { !prompts.isEmpty || !tokens.isEmpty }

    func validate() throws {
        guard prompts.isEmpty || tokens.isEmpty else { throw ValidationError("give only one of --prompt and --tokens") }
        guard ErrorMeasure(rawValue: errorMeasure) != nil else { throw ValidationError("--error-measure takes mul or abs, not '\(errorMeasure)'") }
        guard ablate.map({ ["mean", "zero"].contains($0) }) ?? true else { throw ValidationError("--ablate takes mean or zero, not '\(ablate ?? "")'") }
        guard ablate == nil || !isOnPrompts else { throw ValidationError("--ablate is for random tokens: leave out --prompt and --tokens") }
        guard chosen.isEmpty || isOnPrompts else { throw ValidationError("--head goes with --prompt or --tokens") }
        guard batch >= 1, batch <= 100_000 else { throw ValidationError("--batch takes a number from 1 to 100000, not \(batch)") }
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
        if let length, length < 2 { throw ValidationError("--length takes a number from 2, not \(length)") }
        _ = try chosen.map(headIndex)
        _ = try tokens.map(tokenList)
    }

    func run() throws {
        let model = try options.load(output)
        guard model.config.nLayers > 0 else { throw LensError(.usage, "a model without layers has no heads") }
        let report = isOnPrompts ? try detect(model) : try score(model)
        try report.write(file)
        try output.json ? printJSON(report.json(top)) : say(report.text(top, .stdout))
    }

    private func detect(_ model: HookedTransformer) throws -> HeadReport {
        var rows = try tokens.map(tokenList)
        for prompt in prompts { rows.append(try model.toTokens(prompt, prependBOS: bos.choice, truncate: false).array) }
        let detection = DetectHeadOptions(heads: chosen.isEmpty ? nil : try chosen.map(headIndex), excludeBOS: excludeBos,
                                          excludeCurrentToken: excludeCurrentToken, errorMeasure: ErrorMeasure(rawValue: errorMeasure) ?? .mul)
        let meter = ProgressMeter("detecting", output)
        defer { meter.finish() }
        let names = DetectionPattern.headNames
        let kinds = try names.enumerated().map { index, name in
            defer { meter.advance(to: index + 1, of: names.count) }
            return (name: name, scores: try detectHead(model.model, sequences: rows, pattern: DetectionPattern(named: name), options: detection))
        }
        return HeadReport(kinds: kinds, source: "\(rows.count) prompt\(rows.count == 1 ? "" : "s")", loss: nil, ablated: nil)
    }

    private func score(_ model: HookedTransformer) throws -> HeadReport {
        let bosToken = model.bosToken(bos.choice), most = (model.config.nCtx - (bosToken == nil ? 0 : 1)) / 2
        let repeated = try RepeatedSequences(for: model.config, batch: batch, length: length ?? min(24, most), bos: bosToken,
                                             excluding: model.tokensWithoutText, seed: seed)
        let scores = try repeated.scores(model.model)
        let source = "\(batch) sequences of \(repeated.length) random tokens, repeated; seed \(seed)"
        guard model.config.dVocab == model.config.dVocabOut else { return HeadReport(kinds: scores.kinds, source: source, loss: nil, ablated: nil) }
        let loss = try repeated.loss(model.model)
        var ablated: Tensor?
        if let ablate {
            let meter = ProgressMeter("ablating", output), heads = model.config.nHeads, count = model.config.nLayers * heads
            let means = ablate == "mean" ? try repeated.meanOutputs(model.model) : []
            defer { meter.finish() }
            ablated = try Tensor((0..<count).map { index in
                defer { meter.advance(to: index + 1, of: count) }
                let head = HeadIndex(index / heads, index % heads), output = means.isEmpty ? 0 : try means[head.layer].at(.at(head.head))
                return Float(try repeated.loss(model.model, hooks: [.ablation(of: head, to: output)]))
            }, shape: [model.config.nLayers, heads])
        }
        return HeadReport(kinds: scores.kinds, source: source, loss: loss, ablated: ablated, ablation: ablate ?? "")
    }
}

/// Scores of heads as text, JSON and a file.
private struct HeadReport {
    /// `[n_layers, n_heads]` each.
    let kinds: [(name: String, scores: Tensor)]
    let source: String
    /// Loss on the repetition, whole and with each head ablated.
    let loss: Double?
    let ablated: Tensor?
    var ablation = ""

    private func title(_ name: String) -> String { name.replacing("_", with: " ") }
    private var rows: [String] { numbered("L", kinds.first?.scores.shape[0] ?? 0) }
    private var columns: [String] { numbered("H", kinds.first?.scores.shape[1] ?? 0) }

    private func ablatedLoss(_ head: HeadIndex) throws -> Double? { try ablated.map { Double(try $0.at(.at(head.layer), .at(head.head)).item()) } }

    func text(_ top: Int, _ terminal: Terminal) throws -> String {
        var parts = ["on \(source)"]
        for kind in kinds {
            parts.append(Heatmap(title(kind.name), rows: rows, columns: columns, values: kind.scores.array.map(Double.init), digits: 2,
                                 scale: .between(0, 1)).text(on: terminal))
        }
        if let ablated, let loss {
            let rises = ablated.array.map { Double($0) - loss }
            parts.append(Heatmap("rise of the loss on the repetition, each head ablated (\(ablation))", rows: rows, columns: columns, values: rises, digits: 3,
                                 scale: .diverging(middle: 0)).text(on: terminal))
        }
        var table = TextTable(["kind", "head", "#score"] + (ablated == nil ? [] : ["#loss ablated", "#rise"]))
        for kind in kinds {
            for (head, score) in try kind.scores.rankedHeads().prefix(top) {
                var row = [title(kind.name), "\(head)", fixed(Double(score), 4)]
                if let without = try ablatedLoss(head), let loss { row += [fixed(without, 4), fixed(without - loss, 4)] }
                table.add(row)
            }
        }
        parts.append(table.text(on: terminal))
        if let loss { parts.append("loss on the repetition: \(fixed(loss, 4)) nats per token") }
        return parts.joined(separator: "\n\n")
    }

    func json(_ top: Int) throws -> JSON {
        ["source": .string(source), "loss": loss.map(JSON.double) ?? .null, "loss_ablated": ablated.map(jsonRows) ?? .null,
         "kinds": .array(try kinds.map { kind in
             ["kind": .string(kind.name), "scores": jsonRows(kind.scores),
              "top": .array(try kind.scores.rankedHeads().prefix(top).map { head, score in
                  ["head": .string("\(head)"), "layer": .int(head.layer), "index": .int(head.head), "score": .double(Double(score)),
                   "loss_ablated": try ablatedLoss(head).map(JSON.double) ?? .null]
              })]
         })]
    }

    func write(_ file: OutFileOption) throws {
        try file.write(kinds.map { LabelledTensor($0.name, $0.scores, rows, columns) }
            + (ablated.map { [LabelledTensor("loss_ablated", $0, rows, columns)] } ?? [])
            + (loss.map { [LabelledTensor("loss", Tensor(Float($0)))] } ?? []))
    }
}
