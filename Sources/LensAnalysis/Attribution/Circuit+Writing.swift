// A circuit as JSON and as a Graphviz graph, and read again from JSON.

import LensFiles
import LensModel
import LensTensor

extension Circuit {
    /// Nodes, and edges with their scores.
    /// - Parameter scores: of the edges; nil: none are written.
    public func json(scores: EdgeAttribution? = nil) -> JSON {
        let byEdge = scores.map(\.byEdge) ?? [:]
        return ["layers": .int(graph.nLayers), "heads": .int(graph.nHeads), "key_value_heads": .int(graph.kvHeads), "mlps": .bool(graph.hasMLPs),
                "nodes": .array(nodes.map { .string($0.name) } + [.string("logits")]),
                "edges": .array(edges.map { edge in
                    var fields = JSONObject([("from", .string(edge.source.name)), ("to", .string(graph.name(edge.target)))])
                    if let score = byEdge[edge] { fields["score"] = .double(score) }
                    return .object(fields)
                })]
    }

    /// The circuit that `json` wrote, of the same graph.
    /// - Throws: `LensError(.format)` if it is none, `(.usage)` for edges the graph has not.
    public init(json: JSON, graph: EdgeGraph) throws {
        let sources = Dictionary(uniqueKeysWithValues: graph.sources.map { ($0.name, $0) })
        let targets = Dictionary(uniqueKeysWithValues: graph.targets.map { (graph.name($0), $0) })
        let edges = try (json["edges"] ?? .null).asArray(at: "edges").enumerated().map { place, edge -> Edge in
            let from = edge["from"]?.stringValue ?? "", to = edge["to"]?.stringValue ?? ""
            guard let source = sources[from], let target = targets[to] else {
                throw LensError(.format, "not an edge of this model", at: "edge \(place)", expected: "\"from\" and \"to\", as a0.h1 and a2.h0<q>",
                                found: "\(from) to \(to)")
            }
            return Edge(source, target)
        }
        try self.init(graph: graph, edges: edges)
    }

    /// The circuit in Graphviz' language: layers from below upwards, edges as thick as their scores are large, blue where they lower the metric.
    /// - Parameter label: what a node is called besides its name: the head's job, say.
    public func graphviz(scores: EdgeAttribution? = nil, label: (EdgeSource) -> String? = { _ in nil }) -> String {
        let byEdge = scores.map(\.byEdge) ?? [:], edges = edges, nodes = nodes
        let largest = edges.compactMap { byEdge[$0] }.map(abs).filter(\.isFinite).max() ?? 0
        var lines = ["digraph circuit {", "  rankdir=BT;", "  node [fontname=\"Helvetica\", style=filled, fillcolor=white];", "  edge [fontname=\"Helvetica\", arrowsize=0.6];"]
        for node in nodes {
            let text = [node.name, label(node)].compactMap(\.self).map(Self.escaped).joined(separator: "\\n")
            lines.append("  \"\(node.name)\" [label=\"\(text)\", \(style(node))];")
        }
        if !edges.isEmpty { lines.append("  \"logits\" [shape=box, fillcolor=\"#eeeeee\"];") }
        // Nodes of a layer side by side.
        for layer in 0..<graph.nLayers {
            for group in [nodes.filter { $0.layer == layer && !$0.isMLP }, nodes.filter { $0.layer == layer && $0.isMLP }] where group.count > 1 {
                lines.append("  { rank=same; " + group.map { "\"\($0.name)\"" }.joined(separator: "; ") + "; }")
            }
        }
        for edge in edges { lines += written(edge, byEdge[edge], largest, nodes) }
        return (lines + ["}"]).joined(separator: "\n") + "\n"
    }

    /// One line for each writer that computes from what the reader reads: of a group's keys, those heads of it that are in the circuit.
    private func written(_ edge: Edge, _ score: Double?, _ largest: Double, _ nodes: [EdgeSource]) -> [String] {
        var attributes: [String] = []
        if case .head(_, _, let input) = edge.target { attributes.append("label=\"\(input.rawValue)\"") }
        if let score, score.isFinite {
            let share = largest > 0 ? abs(score) / largest : 0, hundredths = Int((50 + 350 * share).rounded())
            attributes += ["penwidth=\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)", "color=\"\(score < 0 ? "#3465a4" : "#cc0000")\"",
                           "tooltip=\"\(score)\""]
        }
        let style = attributes.isEmpty ? "" : " [\(attributes.joined(separator: ", "))]"
        let readers = edge.target == .logits ? ["logits"] : graph.sources(behind: edge.target).filter(nodes.contains).map(\.name)
        return readers.map { "  \"\(edge.source.name)\" -> \"\($0)\"\(style);" }
    }

    private func style(_ node: EdgeSource) -> String {
        switch node {
        case .input: "shape=box, fillcolor=\"#eeeeee\""
        case .head: "shape=ellipse, fillcolor=\"#fce5cd\""
        case .mlp: "shape=box, style=\"rounded,filled\", fillcolor=\"#d9ead3\""
        }
    }

    private static func escaped(_ text: String) -> String {
        text.flatMap { character -> [Character] in
            switch character {
            case "\"", "\\": ["\\", character]
            case "\n", "\r", "\r\n": [" "]
            default: [character]
            }
        }.reduce(into: "") { $0.append($1) }
    }
}

extension EdgeSource {
    fileprivate var isMLP: Bool { if case .mlp = self { true } else { false } }
}

extension EdgeAttribution {
    /// The score of every edge.
    var byEdge: [Edge: Double] { Dictionary(uniqueKeysWithValues: edges.map { ($0.edge, $0.score) }) }
}
