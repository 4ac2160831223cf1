// `tlens attention`: where heads look. One head's whole pattern as a heatmap, or, of every head, what one position looks at.

import ArgumentParser
import TransformerLens

struct Attention: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Where heads look: their attention patterns.",
        usage: "tlens attention <model> --prompt <text> [--head <head>]… [--position <n>] [<options>]",
        discussion: """
            Without --head, one line a head: the tokens that the last position (or --position) attends to most. With --head, \
            its whole pattern: a row for each token that looks, a column for each that is looked at.

              tlens attention gpt2-small --prompt "Hello World" --head L5H1
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions

    @Option(name: .customLong("head"), help: ArgumentHelp("Show this head's pattern, as L3H7. Repeatable.", valueName: "head"))
    var chosen: [String] = []

    @Option(parsing: .unconditional, help: ArgumentHelp("The position that looks, in the list of heads; negative from the end.", valueName: "n"))
    var position = -1

    @Option(help: ArgumentHelp("Tokens to name for each head.", valueName: "n"))
    var top = 3

    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
        _ = try chosen.map(headIndex)
    }

    func run() throws {
        let model = try options.load(output), rows = try input.rows(model)
        guard model.config.nLayers > 0 else { throw LensError(.usage, "a model without layers has no heads") }
        let heads = try chosen.map(headIndex)
        if let head = heads.first(where: { $0.layer >= model.config.nLayers || $0.head >= model.config.nHeads }) {
            throw LensError(.usage, "no such head", at: "\(head)", expected: "layers below \(model.config.nLayers), heads below \(model.config.nHeads)")
        }
        var documents: [JSON] = []
        for (index, row) in rows.enumerated() {
            let reading = try AttentionReading(model, row, position: position)
            try file.write(reading.patterns.enumerated().map { layer, pattern in
                LabelledTensor(rows.count > 1 ? "row\(index)/blocks.\(layer).attn.hook_pattern" : "blocks.\(layer).attn.hook_pattern", pattern,
                               numbered("H", model.config.nHeads), reading.labels, reading.labels)
            })
            if output.json {
                documents.append(reading.json(row, heads, top))
                continue
            }
            if rows.count > 1 { try say((index > 0 ? "\n" : "") + "row \(index): \(row.count) tokens") }
            try say(heads.isEmpty ? reading.table(top) : heads.map { reading.map($0).text(on: .stdout) }.joined(separator: "\n"))
        }
        if output.json { try printJSON(["rows": .array(documents)]) }
    }
}

/// The patterns of a run on one row of tokens.
private struct AttentionReading {
    /// `[head, query_pos, key_pos]`, a layer each.
    let patterns: [Tensor]
    let labels: [String]
    let position: Int

    init(_ model: HookedTransformer, _ row: [Int], position: Int) throws {
        let resolved = position < 0 ? position + row.count : position
        guard row.indices.contains(resolved) else {
            throw LensError(.usage, "no such position", expected: "0..<\(row.count), or negative from the end", found: "\(position)")
        }
        self.position = resolved
        var run = Transformer.Options(cache: "pattern", returnType: .none)
        run.removeBatchDim = true
        let cache = try model.model.run(.tokens(IntTensor(rows: [row])), run).cache
        patterns = try (0..<model.config.nLayers).map { try cache["pattern", $0].contiguous() }
        labels = try row.map(model.shown)
    }

    /// What `head` at the position attends to most: keys and their share, the largest first.
    private func most(_ layer: Int, _ head: Int, _ count: Int) -> [(key: Int, share: Double)] {
        let shares = patterns[layer][.at(head), .at(position)].array.map(Double.init)
        return shares.indices.sorted { (shares[$0], $1) > (shares[$1], $0) }.prefix(count).filter { shares[$0] > 0 }.map { ($0, shares[$0]) }
    }

    func table(_ top: Int) -> String {
        var table = TextTable(["head", "position \(position) \(labels[position]) attends to"])
        for (layer, pattern) in patterns.enumerated() {
            for head in 0..<pattern.shape[0] {
                let shares = most(layer, head, top).map { "\(fixed(100 * $0.share, 1)) % \(labels[$0.key]) (\($0.key))" }
                table.add(["L\(layer)H\(head)", shares.joined(separator: "  ")])
            }
        }
        return table.text(on: .stdout)
    }

    func map(_ head: HeadIndex) -> Heatmap {
        let pattern = patterns[head.layer][.at(head.head)]
        // What a causal model cannot see is left out.
        let values = pattern.array.enumerated().map { $1 == 0 && $0 % labels.count > $0 / labels.count ? .nan : Double($1) }
        return Heatmap("L\(head.layer)H\(head.head): each row's attention", rows: labels, columns: labels, values: values, digits: 2,
                       scale: .between(0, 1))
    }

    func json(_ row: [Int], _ heads: [HeadIndex], _ top: Int) -> JSON {
        let shown = heads.isEmpty ? patterns.indices.flatMap { layer in (0..<patterns[layer].shape[0]).map { HeadIndex(layer, $0) } } : heads
        return ["tokens": .array(row.map(JSON.int)), "position": .int(position), "heads": .array(shown.map { head in
            ["layer": .int(head.layer), "head": .int(head.head),
             "most": .array(most(head.layer, head.head, top).map { ["key": .int($0.key), "share": .double($0.share)] }),
             "pattern": heads.isEmpty ? .null : jsonRows(patterns[head.layer][.at(head.head)])]
        })]
    }
}
