// Edge attribution patching (EAP: Syed et al., 2023; with integrated gradients, EAP-IG: Hanna et al., 2024): what patching every edge of
// the graph would do to the metric, at first order. An edge's score is the change of what its writer writes times the gradient at its
// reader's input, before the reader's norm. All scores of a reader come from one product of the writers' changes with its
// gradient: two passes forward and one back, however many edges there are.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A score for each edge. Positive: as it is in the clean run, the edge raises the metric.
public struct EdgeAttribution: AnalysisResult {
    public let graph: EdgeGraph
    public let gradientAt: GradientPoint
    /// `[target, source]`, NaN where there is no edge; the mean over examples, or the sum for a metric of the whole batch.
    public let scores: Tensor
    /// `[batch, target, source]`: each example's, for a metric that gives a number for each.
    public let perExample: Tensor?
    /// The metric in the two runs: `[]` or `[batch]`.
    public let clean: Tensor, corrupted: Tensor

    public init(graph: EdgeGraph, gradientAt: GradientPoint, scores: Tensor, perExample: Tensor?, clean: Tensor, corrupted: Tensor) {
        self.graph = graph
        self.gradientAt = gradientAt
        self.scores = scores
        self.perExample = perExample
        self.clean = clean
        self.corrupted = corrupted
    }

    /// Every edge with its score, readers in their order.
    public var edges: [(edge: Edge, score: Double)] {
        let numbers = scores.array, sources = graph.sources
        return graph.targets.enumerated().flatMap { row, target in
            (0..<graph.readable(by: target)).map { (edge: Edge(sources[$0], target), score: Double(numbers[row * sources.count + $0])) }
        }
    }

    /// The edges of largest absolute score, largest first, equals in their order.
    public func top(_ count: Int) -> [(edge: Edge, score: Double)] {
        let all = edges
        return all.indices.sorted { (abs(all[$0].score), $1) > (abs(all[$1].score), $0) }.prefix(max(0, count)).map { all[$0] }
    }

    public var axisLabels: [(axis: String, labels: [String])] {
        [("target", graph.targets.map(graph.name)), ("source", graph.sources.map(\.name))]
    }

    public var tensors: [(name: String, tensor: Tensor)] {
        [("scores", scores), ("clean", clean), ("corrupted", corrupted)] + (perExample.map { [("per_example", $0)] } ?? [])
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        ["gradient_at": .string(gradientAt.name), "clean": try clean.json, "corrupted": try corrupted.json,
         "edges": .array(edges.map { ["from": .string($0.edge.source.name), "to": .string(graph.name($0.edge.target)), "score": .double($0.score)] })]
    }
}

extension Patching {
    /// EAP, and EAP-IG where `point` is integrated.
    ///
    /// - Parameter point: where gradients are taken: `.clean` is Syed et al.'s EAP, `.integrated(steps: 5)` Hanna et al.'s EAP-IG on inputs (their scores
    ///   are those of a loss and of corrupted − clean: with this metric's sign the two are the same).
    /// - Throws: `LensError(.usage)` for a model without a graph (`EdgeGraph`); what the metric throws.
    public static func edgeAttribution(_ model: Transformer, _ pair: PromptPair, metric: GradientMetric, gradientAt point: GradientPoint,
                                       options: AttributionOptions = AttributionOptions()) throws -> EdgeAttribution {
        let graph = try EdgeGraph(model), parts = Contributions(model: model, graph: graph)
        let runs = GradientRuns(model: model, pair: pair, metric: metric, options: options)
        let clean = try runs.run(pair.clean, cache: .names(parts.names)), corrupted = try runs.run(pair.corrupted, cache: .names(parts.names))
        let change = try withoutPadding(parts.all(clean.cache) - parts.all(corrupted.cache), pair.attentionMask)
        let scores = try EdgeScores(graph, change: change)
        let ways = try runs.steps(of: point)
        for (done, way) in ways.enumerated() {
            let hooks = scores.names.map { name in
                Hook.gradient(.names([name])) { gradient, at in try scores.add(gradient, at: at.name, weight: way.weight) }
            }
            _ = try runs.gradients(way.tokens, of: .none, hooks: way.hooks + hooks)
            options.progress?(done + 1, ways.count)
        }
        return try scores.result(point, clean.metric, corrupted.metric)
    }

    /// Nothing is sent from positions that are no part of the text. - Parameter change: `[source, batch, pos, d_model]`.
    private static func withoutPadding(_ change: Tensor, _ mask: IntTensor?) throws -> Tensor {
        guard let mask else { return change }
        return try change * mask.floats.reshaped([1] + mask.shape + [1])
    }
}

/// Sums up scores as the reverse pass comes by the readers, so that no gradient need be kept.
private final class EdgeScores {
    let graph: EdgeGraph
    /// The writers' changes, an example each: columns of `[pos × d_model, source]`.
    private let changes: [PackedMatrix]
    /// `[batch][target × source]`
    private var sums: [[Double]]
    /// The readers seen at an activation, by the activation's name, and the place of the first among all.
    private let places: [String: (first: Int, count: Int)]

    /// - Parameter change: `[source, batch, pos, d_model]`.
    init(_ graph: EdgeGraph, change: Tensor) throws {
        self.graph = graph
        let sources = change.shape[0], batch = change.shape[1], width = change.shape[2] * change.shape[3]
        changes = try (0..<batch).map { row in
            try PackedMatrix(change.at(.all, .at(row)).reshaped([sources, width]).permuted(1, 0).contiguous())
        }
        let targets = graph.targets
        sums = Array(repeating: Array(repeating: 0, count: targets.count * sources), count: batch)
        var places: [String: (first: Int, count: Int)] = [:]
        for (index, target) in targets.enumerated() {
            let name = target.name(nLayers: graph.nLayers)
            places[name] = (places[name]?.first ?? index, (places[name]?.count ?? 0) + 1)
        }
        self.places = places
    }

    var names: [String] { places.keys.sorted() }

    /// - Parameter gradient: `[batch, pos, head, d_model]`, or without heads.
    func add(_ gradient: Tensor, at name: String, weight: Float) throws {
        guard let (first, count) = places[name] else { return }
        let sources = graph.sourceCount, gradient = gradient.detached()
        for row in changes.indices {
            var rows = try gradient.at(.at(row))
            if rows.rank == 3 { rows = try rows.movingAxis(1, to: 0) }
            rows = try rows.reshaped([count, changes[row].rows])
            let products = try changes[row].product(rows).out.array
            for index in products.indices { sums[row][first * sources + index] += Double(weight) * Double(products[index]) }
        }
    }

    func result(_ point: GradientPoint, _ clean: Tensor, _ corrupted: Tensor) throws -> EdgeAttribution {
        let targets = graph.targets, sources = graph.sourceCount, isPerExample = clean.rank == 1
        var total = [Double](repeating: 0, count: targets.count * sources)
        for row in sums { for index in row.indices { total[index] += row[index] / (isPerExample ? Double(sums.count) : 1) } }
        func marked(_ values: [Double]) -> [Float] {
            values.indices.map { $0 % sources < graph.readable(by: targets[$0 / sources]) ? Float(values[$0]) : .nan }
        }
        return EdgeAttribution(graph: graph, gradientAt: point, scores: try Tensor(marked(total), shape: [targets.count, sources]),
                               perExample: isPerExample ? try Tensor(sums.flatMap(marked), shape: [sums.count, targets.count, sources]) : nil,
                               clean: clean, corrupted: corrupted)
    }
}
