// `tlens neurons`: the text on which neurons fire most, over a file of any size; broken off, it goes on where it was.

import ArgumentParser
import TransformerLens

struct Neurons: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find the text in a file on which neurons fire most.",
        usage: "tlens neurons <model> --neuron <neuron> --text-file <file> [--state <file>] [<options>]",
        discussion: """
            The file is cut into rows of --length tokens, which are run one after another. With --state, what has been seen \
            is written to that file from time to time; started again with it, the search goes on from there.
            """)

    @OptionGroup var options: ModelOptions

    @Option(name: .customLong("neuron"), help: ArgumentHelp("A neuron, as L3N712. Repeatable.", valueName: "neuron"))
    var neurons: [String] = []

    @Option(help: ArgumentHelp("The text.", valueName: "file"))
    var textFile: String

    @Option(help: ArgumentHelp("Which activation the neurons are of.", valueName: "name"))
    var activation = "post"

    @Option(help: ArgumentHelp("Tokens of a row. (default: 128, or what the context holds)", valueName: "n"))
    var length: Int?

    @Option(help: ArgumentHelp("Rows to stop after.", valueName: "n"))
    var rows: Int?

    @Option(help: ArgumentHelp("Examples of each neuron.", valueName: "n"))
    var top = 5

    @Option(help: ArgumentHelp("Tokens shown on each side of the strongest.", valueName: "n"))
    var context = 8

    @Option(help: ArgumentHelp("Keep what has been seen in this file, and go on from it.", valueName: "file"))
    var state: String?

    @OptionGroup var bos: BOSOptions
    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !neurons.isEmpty else { throw ValidationError("give a --neuron, as L3N712") }
        _ = try neurons.map(neuronIndex)
        for (name, value, least) in [("--top", top, 1), ("--context", context, 0), ("--rows", rows ?? 1, 1), ("--length", length ?? 2, 2)] where value < least {
            throw ValidationError("\(name) takes a number from \(least), not \(value)")
        }
    }

    func run() throws {
        let model = try options.load(output)
        guard let tokenizer = model.tokenizer else { throw LensError(.usage, "this model has no tokenizer", advice: "text needs one") }
        let length = length ?? min(128, model.config.nCtx)
        guard length <= model.config.nCtx else {
            throw LensError(.usage, "rows longer than the context", at: "--length", expected: "at most \(model.config.nCtx)", found: "\(length)")
        }
        var search = try MaxActivating(model.config, neurons: neurons.map(neuronIndex), activationName: activation, count: top)
        let bosToken = model.bosToken(bos.choice)
        let source = try DataFile(path: textFile)
        let subject = "\(model.config.modelName), \(model.model.parameters.count) parameters; \(textFile), \(source.size) bytes; rows of \(length), first \(bosToken.map(String.init) ?? "none")"
        var place = TokenRows.Place()
        if let state, fileExists(state) {
            let saved = try MaxActivatingState(contentsOf: state, of: search, subject: subject)
            (search, place) = (saved.search, saved.place)
        }
        var reader = try TokenRows(file: textFile, tokenizer: tokenizer, length: length, bos: bosToken, from: place)
        try go(on: &search, model, &reader, subject)
        guard search.rows > 0 else { throw LensError(.usage, "nothing to run on", at: textFile, expected: "at least two tokens") }
        try write(search)
        try output.json ? printJSON(json(search, model)) : say(text(search, model, .stdout))
    }

    private func go(on search: inout MaxActivating, _ model: HookedTransformer, _ reader: inout TokenRows, _ subject: String) throws {
        let meter = ProgressMeter("reading (bytes)", output)
        defer { meter.finish() }
        var saved = ContinuousClock.now
        while search.rows < rows ?? .max, let row = try reader.next() {
            try search.add(model.model, row)
            meter.advance(to: reader.progress.done, of: reader.progress.of)
            if let state, ContinuousClock.now - saved > .seconds(10) {
                try MaxActivatingState(search, place: reader.place, subject: subject).write(to: state)
                saved = .now
            }
        }
        if let state { try MaxActivatingState(search, place: reader.place, subject: subject).write(to: state) }
    }

    private func text(_ search: MaxActivating, _ model: HookedTransformer, _ terminal: Terminal) throws -> String {
        var parts: [String] = []
        for (index, neuron) in search.neurons.enumerated() {
            let share = fixed(100 * search.firingShare[index], 1)
            var lines = [terminal.styled("\(neuron): above 0 on \(share) % of \(grouped(search.tokens)) tokens", .bold)]
            for example in search.examples[index] {
                let range = max(0, example.position - context)..<min(example.tokens.count, example.position + context + 1)
                let strongest = search.examples[index].first?.activation ?? 0
                let texts = try model.texts(of: example.tokens[range], after: example.tokens[max(0, range.lowerBound - 1)..<range.lowerBound])
                let shown = zip(range, texts).map { place, text -> String in
                    let text = escaped(text)
                    let mark = place == example.position && !terminal.hasColours ? "[\(text)]" : text
                    return terminal.styled(mark, shade(example.activations[place], strongest))
                }.joined()
                let number = fixed(Double(example.activation), 3)
                lines.append(String(repeating: " ", count: max(0, 9 - number.count)) + number + "  row \(example.row)  " + shown)
            }
            parts.append(lines.joined(separator: "\n"))
        }
        return parts.joined(separator: "\n\n")
    }

    private func shade(_ value: Float, _ strongest: Float) -> Terminal.Style {
        guard value > 0, strongest > 0 else { return .dim }
        let greens = [194, 157, 120, 83, 46]
        return .background(greens[min(4, Int(value / strongest * 5))], darkText: true)
    }

    private func json(_ search: MaxActivating, _ model: HookedTransformer) throws -> JSON {
        ["rows": .int(search.rows), "tokens": .int(search.tokens), "activation": .string(search.activationName),
         "neurons": .array(try search.neurons.enumerated().map { index, neuron in
             ["neuron": .string("\(neuron)"), "layer": .int(neuron.layer), "index": .int(neuron.neuron), "firing_share": .double(search.firingShare[index]),
              "examples": .array(try search.examples[index].map { example in
                  ["activation": .double(Double(example.activation)), "row": .int(example.row), "position": .int(example.position),
                   "tokens": .array(example.tokens.map(JSON.int)), "strings": .array(try example.tokens.map { .string(try model.decoded([$0])) }),
                   "activations": .array(example.activations.map { .double(Double($0)) })]
              })]
         })]
    }

    private func write(_ search: MaxActivating) throws {
        let labels = search.neurons.map(\.description)
        let kept = search.examples.map(\.count).min() ?? 0, width = search.examples.joined().map(\.tokens.count).max() ?? 0
        var strongest: [Float] = [], tokens: [Float] = [], activations: [Float] = []
        for examples in search.examples {
            for example in examples.prefix(kept) {
                let filling = width - example.tokens.count
                strongest.append(example.activation)
                tokens += example.tokens.map(Float.init) + Array(repeating: -1, count: filling)
                activations += example.activations + Array(repeating: .nan, count: filling)
            }
        }
        let ranks = numbered("#", kept), places = numbered("", width), shape = [labels.count, kept]
        try file.write([LabelledTensor("activation", Tensor(strongest, shape: shape), labels, ranks),
                        LabelledTensor("tokens", Tensor(tokens, shape: shape + [width]), labels, ranks, places),
                        LabelledTensor("activations", Tensor(activations, shape: shape + [width]), labels, ranks, places)])
    }
}
