// `tlens lens`: what the residual stream says after each layer, unembedded as if it were the last (the logit lens).

import ArgumentParser
import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

struct Lens: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lens",
        abstract: "What each layer would say next: the logit lens.",
        usage: "tlens lens <model> --prompt <text> [--target <token>] [<options>]",
        discussion: """
            The grid has the likeliest next token of each residual stream at each position, coloured by its probability; the \
            table below looks at the last position: entropy, distance (KL) from what the model does say, the likeliest \
            tokens, and the target's rank and probability.
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions

    @Option(parsing: .unconditional, help: ArgumentHelp("A token to follow: a text of one token, or #id.", valueName: "token"))
    var target: String?

    @Option(help: ArgumentHelp("Likeliest tokens to name.", valueName: "n"))
    var top = 5

    @Flag(help: "Only the streams between layers, not those between attention and MLP.")
    var layersOnly = false

    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
    }

    func run() throws {
        let model = try options.load(output), rows = try input.rows(model)
        let asked = try target.map(model.outputToken)
        let meter = ProgressMeter("prompts", output)
        var readings: [LogitLens] = []
        for row in rows {
            let targets = try asked.map { try IntTensor([$0], shape: []) }
            readings.append(try model.logitLens(IntTensor(rows: [row]), sublayers: !layersOnly, targets: targets, topK: min(top, model.config.dVocabOut)))
            meter.advance(to: readings.count, of: rows.count)
        }
        meter.finish()
        try write(readings, rows, model)
        if output.json {
            let token = { (id: Int) in id < model.config.dVocab && model.tokenizer != nil ? try model.decoded([id]) : "\(id)" }
            return try printJSON(["rows": .array(try zip(rows, readings).map { ["tokens": .array($0.map(JSON.int)), "layers": try $1.json(token)] })])
        }
        for (index, (row, reading)) in zip(rows, readings).enumerated() {
            if rows.count > 1 { try say((index > 0 ? "\n" : "") + "row \(index): \(row.count) tokens") }
            try say(grid(reading, row, model, .stdout) + "\n")
            try say(table(reading, row.count, asked, model))
        }
    }

    private func shown(_ id: Int, _ model: HookedTransformer) throws -> String {
        id < model.config.dVocab && model.tokenizer != nil ? escaped(try model.decoded([id])) : "\(id)"
    }

    private func grid(_ reading: LogitLens, _ row: [Int], _ model: HookedTransformer, _ terminal: Terminal) throws -> String {
        let k = reading.topTokens.shape.last ?? 1, count = row.count
        let tokens = reading.topTokens.array, logProbs = reading.topLogProbs.array
        let texts = try reading.labels.indices.map { layer in
            try (0..<count).map { cutToWidth(try shown(tokens[(layer * count + $0) * k], model), 8) }
        }
        let values = reading.labels.indices.flatMap { layer in (0..<count).map { exp(Double(logProbs[(layer * count + $0) * k])) } }
        var map = Heatmap("likeliest next token, by its probability", rows: reading.labels, columns: try row.map { try shown($0, model) }, values: values,
                          scale: .between(0, 1))
        map.texts = texts
        return map.text(on: terminal)
    }

    private func table(_ reading: LogitLens, _ count: Int, _ asked: Int?, _ model: HookedTransformer) throws -> String {
        let k = reading.topTokens.shape.last ?? 1
        let entropies = reading.entropy.array, distances = reading.klToOutput.array, logProbs = reading.topLogProbs.array
        let isAsked = asked != nil
        var table = TextTable(["last position", "#entropy", "#KL"] + (isAsked ? ["#rank", "#probability"] : []) + ["likeliest"])
        for (layer, label) in reading.labels.enumerated() {
            let index = layer * count + count - 1
            let likeliest = try (index * k..<(index + 1) * k).map { place in
                quoted(try shown(reading.topTokens.array[place], model)) + " " + fixed(100 * exp(Double(logProbs[place])), 1) + " %"
            }
            var row = [label, fixed(Double(entropies[index]), 3), fixed(Double(distances[index]), 3)]
            if let targets = reading.targets {
                row += ["\(targets.rank.array[index])", fixed(100 * exp(Double(targets.logProb.array[index])), 2) + " %"]
            }
            table.add(row + [likeliest.joined(separator: "  ")])
        }
        return table.text(on: .stdout)
    }

    private func write(_ readings: [LogitLens], _ rows: [[Int]], _ model: HookedTransformer) throws {
        try file.write(readings.enumerated().flatMap { index, reading in
            try reading.tensors.map { labelled in
                let name = labelled.name, tensor = labelled.tensor
                let places = try rows[index].enumerated().map { "\($0) \(try model.shown($1))" }
                // [layer, batch of one, position, …]
                let labels = tensor.rank >= 3 ? [reading.labels, ["row \(index)"], places] + tensor.shape.dropFirst(3).map { numbered("#", $0) } : []
                return LabelledTensor(name: rows.count > 1 ? "row\(index)/\(name)" : name, tensor: tensor, labels: labels)
            }
        })
    }
}
