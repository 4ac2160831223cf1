// A circuit: some of the edges of a model's graph. How one is chosen by scores, and what is left of it when all that
// leads nowhere is taken away.

import LensFiles
import LensModel
import LensTensor

/// Edges of a graph.
public struct Circuit: Sendable, Hashable {
    public let graph: EdgeGraph
    /// Whether each edge is in it: `[target × source]`, false where there is no edge.
    private var isIn: [Bool]

    /// - Throws: `LensError(.usage)` for an edge that the graph has not.
    public init(graph: EdgeGraph, edges: some Sequence<Edge> = []) throws {
        self.graph = graph
        let places = Dictionary(uniqueKeysWithValues: graph.targets.enumerated().map { ($1, $0) }), known = Set(graph.sources)
        isIn = Array(repeating: false, count: places.count * graph.sourceCount)
        for edge in edges {
            guard let row = places[edge.target], known.contains(edge.source), graph.index(of: edge.source) < graph.readable(by: edge.target) else {
                throw LensError(.usage, "no such edge", found: "\(edge.source.name) to \(graph.name(edge.target))")
            }
            isIn[row * graph.sourceCount + graph.index(of: edge.source)] = true
        }
    }

    private init(_ graph: EdgeGraph, _ isIn: [Bool]) {
        self.graph = graph
        self.isIn = isIn
    }

    /// The whole model.
    public static func whole(_ graph: EdgeGraph) -> Circuit {
        let targets = graph.targets, sources = graph.sourceCount
        return Circuit(graph, (0..<targets.count * sources).map { $0 % sources < graph.readable(by: targets[$0 / sources]) })
    }

    /// No edge.
    public static func empty(_ graph: EdgeGraph) -> Circuit { Circuit(graph, Array(repeating: false, count: graph.targets.count * graph.sourceCount)) }

    /// Its edges, by readers in their order.
    public var edges: [Edge] {
        let sources = graph.sources
        return graph.targets.enumerated().flatMap { row, target in
            sources.indices.filter { isIn[row * sources.count + $0] }.map { Edge(sources[$0], target) }
        }
    }

    /// How many edges it has.
    public var count: Int { isIn.count(where: \.self) }

    /// The nodes at the ends of its edges, in the graph's order (the logits are none).
    public var nodes: [EdgeSource] {
        let ends = edges.reduce(into: Set<EdgeSource>()) { ends, edge in
            ends.insert(edge.source)
            // Keys and values of a group belong to the heads of it that write anything.
            let behind = graph.sources(behind: edge.target)
            ends.formUnion(behind.count == 1 ? behind : behind.filter(isWriting))
        }
        return graph.sources.filter(ends.contains)
    }

    private func isWriting(_ source: EdgeSource) -> Bool {
        let column = graph.index(of: source)
        return stride(from: column, to: isIn.count, by: graph.sourceCount).contains { isIn[$0] }
    }

    /// Whether each writer's share reaches the reader of place `row`: `[source]`.
    func row(_ row: Int) -> ArraySlice<Bool> { isIn[row * graph.sourceCount..<(row + 1) * graph.sourceCount] }

    /// All edges but these.
    public var complement: Circuit {
        let whole = Circuit.whole(graph)
        return Circuit(graph, zip(isIn, whole.isIn).map { !$0 && $1 })
    }

    /// Without the edges of a node: what it writes and what it reads. In grouped models its group's keys and values stay while
    /// another head of the group writes.
    public func removing(_ node: EdgeSource) -> Circuit {
        var result = self
        let column = graph.index(of: node), sources = graph.sourceCount
        for (row, target) in graph.targets.enumerated() {
            result.isIn[row * sources + column] = false
            let behind = graph.sources(behind: target)
            if behind.contains(node), behind.allSatisfy({ $0 == node || !isWriting($0) }) {
                for place in row * sources..<(row + 1) * sources { result.isIn[place] = false }
            }
        }
        return result
    }

    /// All edges between nodes (and from them to the logits).
    /// - Parameter nodes: the input need not be named.
    public static func between(_ nodes: some Sequence<EdgeSource>, in graph: EdgeGraph) throws -> Circuit {
        let kept = Set(nodes).union([.input])
        let edges = graph.targets.flatMap { target -> [Edge] in
            guard target == .logits || graph.sources(behind: target).contains(where: kept.contains) else { return [] }
            return graph.sources.prefix(graph.readable(by: target)).filter(kept.contains).map { Edge($0, target) }
        }
        return try Circuit(graph: graph, edges: edges)
    }

    /// Without edges on no way from the input to the logits: those out of nodes that read nothing, and those into nodes that write nothing.
    public func pruned() -> Circuit {
        var result = self
        let targets = graph.targets, sources = graph.sources
        // Readers in the order they read: what comes before is settled. Then back.
        let rows = Dictionary(uniqueKeysWithValues: targets.enumerated().map { ($1, $0) })
        func hears(_ source: EdgeSource) -> Bool {
            source == .input || graph.targets(of: source).contains { target in rows[target].map { result.row($0).contains(true) } ?? false }
        }
        for (column, source) in sources.enumerated() where !hears(source) {
            for row in targets.indices { result.isIn[row * sources.count + column] = false }
        }
        for (row, target) in targets.enumerated().reversed() where target != .logits {
            if !graph.sources(behind: target).contains(where: result.isWriting) {
                for place in row * sources.count..<(row + 1) * sources.count { result.isIn[place] = false }
            }
        }
        return result
    }
}

/// How a circuit is chosen by scores.
public enum CircuitSelection: String, Sendable, Hashable, CaseIterable {
    /// From the logits backwards: of the edges into what is in the circuit already, always the one of largest absolute score (Hanna et al., 2024). Every
    /// node it reaches leads to the logits.
    case greedy
    /// The edges of largest absolute score, wherever they are.
    case top
}

extension EdgeAttribution {
    /// A circuit of the `size` edges that score most, less those that then lead nowhere.
    ///
    /// - Parameter pruning: whether edges on no way from input to logits are taken away; the circuit may then be smaller than asked.
    /// - Throws: `LensError(.usage)` for a size below 0.
    public func circuit(size: Int, by selection: CircuitSelection = .greedy, pruning: Bool = true) throws -> Circuit {
        guard size >= 0 else { throw LensError(.usage, "a circuit's size", expected: "at least 0 edges", found: "\(size)") }
        let chosen = selection == .top ? top(size).map(\.edge) : greedy(size)
        let circuit = try Circuit(graph: graph, edges: chosen)
        return pruning ? circuit.pruned() : circuit
    }

    private func greedy(_ size: Int) -> [Edge] {
        let all = edges, byTarget = Dictionary(grouping: all.indices) { all[$0].edge.target }
        var waiting = BestFirst { abs(all[$0].score) }
        var chosen: [Edge] = [], reached: Set<EdgeTarget> = []
        func reach(_ target: EdgeTarget) {
            guard reached.insert(target).inserted else { return }
            for edge in byTarget[target] ?? [] { waiting.insert(edge) }
        }
        reach(.logits)
        while chosen.count < size, let best = waiting.next() {
            chosen.append(all[best].edge)
            for target in graph.targets(of: all[best].edge.source) { reach(target) }
        }
        return chosen
    }
}

/// Places, best first; of equals the one that comes first. A binary heap.
private struct BestFirst {
    private var heap: [Int] = []
    private let score: (Int) -> Double

    init(by score: @escaping (Int) -> Double) { self.score = score }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        // A score that is no number comes last.
        let (x, y) = (score(a).isNaN ? -1 : score(a), score(b).isNaN ? -1 : score(b))
        return x != y ? x > y : a < b
    }

    mutating func insert(_ place: Int) {
        heap.append(place)
        var child = heap.count - 1
        while child > 0, precedes(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> Int? {
        guard let best = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return best }
        heap[0] = last
        var parent = 0
        while true {
            let children = [2 * parent + 1, 2 * parent + 2].filter { $0 < heap.count }
            guard let child = children.min(by: { precedes(heap[$0], heap[$1]) }), precedes(heap[child], heap[parent]) else { return best }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}
