// How much of what a model does its circuit does, measured by running the circuit alone: faithfulness, completeness (Marks et al., 2024),
// and minimality (Wang et al., 2022).

import LensFiles
import LensModel
import LensTensor

/// A circuit and what it does alone.
public struct CircuitReport: Sendable {
    public let circuit: Circuit
    /// The size that was asked for, where one was.
    public let size: Int?
    /// The metric's mean with only the circuit's edges.
    public let metric: Double
    /// (m(circuit) − m(∅)) / (m(model) − m(∅)): 1 where the circuit does what the model does, 0 where it does what nothing does.
    public let faithfulness: Double
    /// The same of all other edges: near 0 where the circuit has everything that matters. nil if it was not measured.
    public let completeness: Double?
}

/// Circuits of several sizes, and what they are measured by.
public struct FaithfulnessCurve: AnalysisResult {
    public let graph: EdgeGraph
    /// m(model) and m(∅): the metric's mean with all edges, and with none.
    public let whole: Double, empty: Double
    public let reports: [CircuitReport]

    /// The area under the faithfulness over the share of edges, by trapezoids between the sizes there are (no ends added).
    public var area: Double {
        let points = reports.map { (Double($0.circuit.count) / Double(max(1, graph.edgeCount)), $0.faithfulness) }.sorted { $0.0 < $1.0 }
        return zip(points, points.dropFirst()).reduce(0) { $0 + ($1.1.0 - $1.0.0) * ($1.0.1 + $1.1.1) / 2 }
    }

    public var axisLabels: [(axis: String, labels: [String])] { [("size", reports.map { "\($0.size ?? $0.circuit.count)" })] }

    public var tensors: [(name: String, tensor: Tensor)] {
        func column(_ value: (CircuitReport) -> Double) -> Tensor? { try? Tensor(reports.map { Float(value($0)) }, shape: [reports.count]) }
        let columns: [(String, Tensor?)] = [("edges", column { Double($0.circuit.count) }), ("metric", column(\.metric)), ("faithfulness", column(\.faithfulness)),
                                            ("completeness", column { $0.completeness ?? .nan })]
        return columns.compactMap { name, tensor in tensor.map { (name, $0) } }
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        ["whole": .double(whole), "empty": .double(empty), "area": .double(area), "circuits": .array(reports.map { report in
            ["size": report.size.map(JSON.int) ?? .null, "edges": .int(report.circuit.count), "nodes": .int(report.circuit.nodes.count), "metric": .double(report.metric),
             "faithfulness": .double(report.faithfulness), "completeness": report.completeness.map(JSON.double) ?? .null]
        })]
    }
}

extension CircuitRuns {
    /// The mean of the metric over examples.
    private func mean(_ circuit: Circuit) throws -> Double { Statistics.mean(try metric(circuit).array.map(Double.init)) }

    /// The metric's means with all edges and with none, which faithfulness is measured between.
    /// - Throws: `LensError(.usage)` where the two do not differ.
    public func bounds() throws -> (whole: Double, empty: Double) {
        let whole = Statistics.mean(clean.array.map(Double.init)), empty = try mean(.empty(graph))
        guard (whole - empty).isFinite, whole != empty else {
            throw LensError(.usage, "nothing to measure a circuit by", expected: "a metric that changes when everything is ablated", found: "\(whole) and \(empty)")
        }
        return (whole, empty)
    }

    /// Measures circuits.
    /// - Parameters:
    ///   - sizes: those that were asked for, as many, or none.
    ///   - completeness: whether what they leave out is measured too: as many runs again.
    public func curve(_ circuits: [Circuit], sizes: [Int] = [], completeness: Bool = true, progress: ((Int, Int) -> Void)? = nil) throws -> FaithfulnessCurve {
        let (whole, empty) = try bounds()
        let reports = try circuits.enumerated().map { place, circuit in
            let metric = try mean(circuit)
            let rest = completeness ? (try mean(circuit.complement) - empty) / (whole - empty) : nil
            progress?(place + 1, circuits.count)
            return CircuitReport(circuit: circuit, size: sizes.indices.contains(place) ? sizes[place] : nil, metric: metric,
                                 faithfulness: (metric - empty) / (whole - empty), completeness: rest)
        }
        return FaithfulnessCurve(graph: graph, whole: whole, empty: empty, reports: reports)
    }

    /// Minimality: how far faithfulness moves when a node of the circuit is taken from it, for each of its nodes but the input. A node
    /// that moves nothing was not needed.
    public func minimality(_ circuit: Circuit, progress: ((Int, Int) -> Void)? = nil) throws -> [(node: EdgeSource, change: Double)] {
        let (whole, empty) = try bounds(), own = try mean(circuit)
        let nodes = circuit.nodes.filter { $0 != .input }
        return try nodes.enumerated().map { place, node in
            let without = try mean(circuit.removing(node))
            progress?(place + 1, nodes.count)
            return (node, (own - without) / (whole - empty))
        }
    }
}
