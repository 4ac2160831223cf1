// `tlens attribute`: which parts of the model make the answer's logit (direct logit attribution), or which tokens of the prompt it
// comes from (AttributeInputs.swift).

import ArgumentParser
import TransformerLens

struct Attribute: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take an answer's logit apart: what each component, layer, head or neuron adds; or each token of the prompt.",
        usage: """
            tlens attribute <model> --prompt <text> --answer <token> [--wrong <token>] [--by component|layer|head|neuron]
            tlens attribute <model> … --method gradient|gradient-times-input|integrated
            """,
        discussion: """
            The parts sum to the answer's logit at the position (less the wrong answer's, where one is given). Several prompts \
            have an --answer each, or one for all; the table is of their mean, --json and --out have each.

            With another --method than direct it is the prompt's tokens that are looked at: the length of the gradient at a \
            token's embedding, the gradient times the embedding, or integrated gradients from --baseline, which sum to the \
            difference between prompt and baseline.
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A text of one token, or #id. One, or one for each prompt.", valueName: "token"))
    var answer: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The wrong answer. As many as answers, or none.", valueName: "token"))
    var wrong: [String] = []

    @Option(help: ArgumentHelp("Parts: component, layer, head or neuron.", valueName: "unit"))
    var by = AttributionUnit.component.rawValue

    @Option(help: ArgumentHelp("direct (the model's parts); of the prompt's tokens: gradient, gradient-times-input or integrated.", valueName: "method"))
    var method = AttributeMethod.direct

    @Option(help: ArgumentHelp("Gradients that integrated averages.", valueName: "n"))
    var steps = 20

    @Option(help: ArgumentHelp("What tokens are compared with: mean (of all tokens' embeddings), or zero, near which norms are steep.", valueName: "embedding"))
    var baseline = Baseline.mean

    /// What tokens are compared with.
    enum Baseline: String, ExpressibleByArgument, CaseIterable { case zero, mean }

    @Option(parsing: .unconditional, help: ArgumentHelp("Position; negative: from the end.", valueName: "n"))
    var position = -1

    @Option(help: ArgumentHelp("Parts to list.", valueName: "n"))
    var top = 15

    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !answer.isEmpty, wrong.isEmpty || wrong.count == answer.count else { throw ValidationError("give an --answer, and as many --wrong or none") }
        guard AttributionUnit(rawValue: by) != nil else {
            throw ValidationError("--by takes \(AttributionUnit.allCases.map(\.rawValue).joined(separator: ", ")), not '\(by)'")
        }
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
        guard method == .direct || by == AttributionUnit.component.rawValue else { throw ValidationError("--by goes with --method direct") }
        guard (1...10_000).contains(steps) else { throw ValidationError("--steps takes a number from 1 to 10000, not \(steps)") }
    }

    func run() throws {
        let model = try options.load(output), rows = try input.rows(model), unit = AttributionUnit(rawValue: by) ?? .component
        guard answer.count == 1 || answer.count == rows.count else {
            throw LensError(.usage, "answers do not fit the prompts", expected: "one, or \(rows.count)", found: "\(answer.count)")
        }
        let right = try answer.map(model.outputToken), others = try wrong.map(model.outputToken)
        if let ofInputs = method.ofInputs {
            let found = try InputAttributions(self, ofInputs, model, rows, right: right, wrong: others)
            try file.write(found.tensors)
            return try output.json ? printJSON(found.json()) : say(found.text(.stdout))
        }
        let meter = ProgressMeter("prompts", output)
        var found: [Attribution] = []
        for (index, row) in rows.enumerated() {
            let place = right.count == 1 ? 0 : index
            guard (-row.count..<row.count).contains(position) else {
                throw LensError(.usage, "no such position", at: "row \(index)", expected: "\(-row.count)..<\(row.count)", found: "\(position)")
            }
            let cache = try model.model.run(.tokens(IntTensor(rows: [row])), .init(cache: .all, returnType: .none)).cache
            found.append(try cache.directLogitAttribution(in: model.model, by: unit,
                                                          answers: AnswerTokens(right[place], incorrect: others.isEmpty ? nil : others[place]), posSlice: .at(position)))
            meter.advance(to: index + 1, of: rows.count)
        }
        meter.finish()
        guard let first = found.first else { return }
        let labels = first.labels
        // [row][part]
        let values = found.map { $0.values.array.map(Double.init) }, totals = found.map { Double($0.total.array.first ?? .nan) }
        let flat = values.flatMap { $0.map { Float($0) } }
        try file.write([LabelledTensor("attribution", Tensor(flat, shape: [rows.count, labels.count]), numbered("row ", rows.count), labels),
                        LabelledTensor("total", Tensor(totals.map { Float($0) }, shape: [rows.count]), numbered("row ", rows.count))])
        if output.json {
            let token = { (id: Int) in id < model.config.dVocab && model.tokenizer != nil ? try model.decoded([id]) : "\(id)" }
            return try printJSON(["rows": .array(try zip(rows, found).map { ["tokens": .array($0.map(JSON.int)), "attribution": try $1.json(token)] })])
        }
        let means = labels.indices.map { part in Statistics.mean(values.map { $0[part] }) }
        try say(text(labels, means, totals, model, unit, .stdout))
    }

    private func text(_ labels: [String], _ means: [Double], _ totals: [Double], _ model: HookedTransformer, _ unit: AttributionUnit,
                      _ terminal: Terminal) throws -> String {
        var parts: [String] = []
        if unit == .head || unit == .neuron {
            let heads = model.config.nHeads, layers = model.config.nLayers
            let byLabel = Dictionary(zip(labels, means), uniquingKeysWith: { first, _ in first })
            let grid = (0..<layers * heads).map { byLabel["L\($0 / heads)H\($0 % heads)"] ?? .nan }
            parts.append(Heatmap("heads", rows: numbered("L", layers), columns: numbered("H", heads), values: grid, digits: 2,
                                 scale: .diverging(middle: 0)).text(on: terminal))
        }
        let ranked = labels.indices.sorted { (abs(means[$0]), $1) > (abs(means[$1]), $0) }.prefix(top)
        let most = means.map(abs).max() ?? 0
        var table = TextTable(["part", "#logit", ""])
        for part in ranked {
            let length = most > 0 ? Int((abs(means[part]) / most * 20).rounded()) : 0
            table.add([labels[part], fixed(means[part], 4), (means[part] < 0 ? "−" : "+") + String(repeating: "▇", count: length)])
        }
        parts.append(table.text(on: terminal))
        let rest = means.indices.filter { !ranked.contains($0) }
        if !rest.isEmpty { parts.append("\(rest.count) other parts: \(fixed(rest.reduce(0) { $0 + means[$1] }, 4))") }
        parts.append((wrong.isEmpty ? "logit of the answer" : "logit of the answer less that of the wrong one") + ": \(fixed(Statistics.mean(totals), 4))"
            + (totals.count > 1 ? ", mean of \(totals.count) prompts" : ""))
        return parts.joined(separator: "\n\n")
    }
}
