// What `tlens circuit` prints: the circuit's edges by score, its heads as a heatmap, the sizes tried and what each does alone.

import TransformerLens

struct CircuitText {
    private let search: CircuitSearch
    private let command: CircuitCommand
    private let metricName: String
    private let prompts: Int
    /// Of the circuit's edges or nodes, most important first.
    private let parts: [(name: String, score: Double)]
    /// Each head's part: the sum of its edges' absolute scores, or its own score. NaN outside the circuit.
    private let heads: [Double]

    init(_ command: CircuitCommand, _ search: CircuitSearch, metricName: String, prompts: Int) throws {
        (self.command, self.search, self.metricName, self.prompts) = (command, search, metricName, prompts)
        let graph = search.graph, circuit = search.shown.circuit, own = Set(circuit.nodes)
        var heads = [Double](repeating: .nan, count: graph.nLayers * graph.nHeads)
        if let scores = search.scores {
            let byEdge = Dictionary(uniqueKeysWithValues: scores.edges.map { ($0.edge, $0.score) })
            let edges = circuit.edges.map { (edge: $0, score: byEdge[$0] ?? .nan) }
            for (edge, score) in edges {
                guard case .head(let layer, let head) = edge.source else { continue }
                let place = layer * graph.nHeads + head
                heads[place] = (heads[place].isNaN ? 0 : heads[place]) + abs(score)
            }
            parts = edges.map { ("\($0.edge.source.name) → \(graph.name($0.edge.target))", $0.score) }
                .enumerated().sorted { (abs($0.element.1), $1.offset) > (abs($1.element.1), $0.offset) }.map { (name: $0.element.0, score: $0.element.1) }
        } else {
            let kept = (search.nodes ?? []).filter { own.contains($0.node) }
            for case (.head(let layer, let head), let score) in kept { heads[layer * graph.nHeads + head] = score }
            parts = kept.map { (name: $0.node.name, score: $0.score) }
        }
        self.heads = heads
    }

    private var isOfNodes: Bool { search.scores == nil }

    func text(_ terminal: Terminal) throws -> String {
        let graph = search.graph, circuit = search.shown.circuit
        let title = "circuit of \(count(circuit.count, "edge")) (of \(grouped(graph.edgeCount))) between \(count(circuit.nodes.count, "node")), by \(method)"
        var blocks: [String] = []
        if heads.contains(where: { !$0.isNaN }) {
            blocks.append(Heatmap(title + (isOfNodes ? "; heads by score" : "; heads by what their edges score"), rows: numbered("L", graph.nLayers),
                                  columns: numbered("H", graph.nHeads), values: heads, digits: 3, scale: isOfNodes ? .diverging(middle: 0) : .sequential).text(on: terminal))
        } else {
            blocks.append(terminal.styled(title, .bold))
        }
        if !parts.isEmpty, command.top > 0 { blocks.append(table.text(on: terminal)) }
        let rest = parts.count - min(command.top, parts.count)
        if rest > 0 { blocks.append("\(grouped(rest)) more, of scores up to \(fixed(abs(parts[command.top].score), 4))") }
        blocks.append(sizes.text(on: terminal))
        if let minimality = search.minimality { blocks.append(changes(minimality).text(on: terminal)) }
        blocks.append("\(metricName): clean \(fixed(search.clean, 4)), corrupted \(fixed(search.corrupted, 4)), all edges ablated (\(command.ablate.rawValue)) "
            + fixed(search.curve.empty, 4) + (prompts > 1 ? "; means of \(prompts) prompts" : ""))
        return blocks.joined(separator: "\n\n")
    }

    private func count(_ number: Int, _ what: String) -> String { "\(grouped(number)) \(what)\(number == 1 ? "" : "s")" }

    private var method: String {
        switch command.method {
        case .eapIG: "eap-ig, \(count(command.steps, "step"))"
        case .eap: "eap, gradient at the \(command.gradientAt) run"
        case .attribution: "attribution, gradient at the \(command.gradientAt) run"
        }
    }

    private var table: TextTable {
        let most = parts.map { abs($0.score) }.filter(\.isFinite).max() ?? 0
        var table = TextTable([isOfNodes ? "node" : "edge", "#score", ""])
        for part in parts.prefix(command.top) {
            let length = most > 0 && part.score.isFinite ? Int((abs(part.score) / most * 20).rounded()) : 0
            table.add([part.name, fixed(part.score, 4), (part.score < 0 ? "−" : "+") + String(repeating: "▇", count: length)])
        }
        return table
    }

    private var sizes: TextTable {
        var table = TextTable([isOfNodes ? "#asked nodes" : "#asked edges", "#edges", "#nodes", "#metric", "#faithfulness", "#completeness", ""])
        for report in search.curve.reports {
            table.add([report.size.map(grouped) ?? "", grouped(report.circuit.count), grouped(report.circuit.nodes.count), fixed(report.metric, 4),
                       fixed(report.faithfulness, 4), report.completeness.map { fixed($0, 4) } ?? "", report.circuit == search.shown.circuit ? "← shown" : ""])
        }
        return table
    }

    private func changes(_ minimality: [(node: EdgeSource, change: Double)]) -> TextTable {
        var table = TextTable(["without", "#faithfulness changes by"])
        for (node, change) in minimality.sorted(by: { abs($0.change) > abs($1.change) }) { table.add([node.name, fixed(-change, 4)]) }
        return table
    }

    func json() throws -> JSON {
        var document = JSONObject([
            ("method", .string(command.method.rawValue)), ("gradient_at", .string(search.gradientAt.name)), ("ablation", .string(command.ablate.rawValue)),
            ("metric", .string(metricName)), ("clean", .double(search.clean)), ("corrupted", .double(search.corrupted)),
            ("faithfulness", .double(search.shown.faithfulness)), ("completeness", search.shown.completeness.map(JSON.double) ?? .null),
            ("circuit", search.shown.circuit.json(scores: search.scores)), ("sizes", try search.curve.json()),
        ])
        if let nodes = search.nodes { document["node_scores"] = .array(nodes.map { ["node": .string($0.node.name), "score": .double($0.score)] }) }
        if let minimality = search.minimality {
            document["minimality"] = .array(minimality.map { ["node": .string($0.node.name), "faithfulness_lost": .double($0.change)] })
        }
        return .object(document)
    }

    /// The scores of everything, and the curve.
    var tensors: [LabelledTensor] {
        let graph = search.graph, sizes = search.curve.reports.map { "\($0.size ?? $0.circuit.count)" }
        var tensors = search.curve.tensors.map { LabelledTensor("curve.\($0.name)", $0.tensor, sizes) }
        if let scores = search.scores { tensors.append(LabelledTensor("scores", scores.scores, graph.targets.map(graph.name), graph.sources.map(\.name))) }
        if let nodes = search.nodes, let scores = try? Tensor(nodes.map { Float($0.score) }, shape: [nodes.count]) {
            tensors.append(LabelledTensor("scores", scores, nodes.map(\.node.name)))
        }
        return tensors
    }
}
