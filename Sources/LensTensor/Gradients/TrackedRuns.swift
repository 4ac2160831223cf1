// Which positions of a store of keys (or of values) came from tracked tensors: what is read from it then has their gradients,
// and what is not here is constant.

import LensFiles

/// Runs of positions with the values of the graph that were put there, in order, apart from each other.
struct TrackedRuns: Sendable {
    private struct Run: Sendable {
        let range: Range<Int>
        /// Of shape `[batch, range.count, kv_head, d_head]`.
        let value: GraphValue
    }
    private var runs: [Run] = []

    var isEmpty: Bool { runs.isEmpty }
    /// Inputs of an operation on the positions.
    var values: [GraphValue] { runs.map(\.value) }

    /// `tensor` was put at positions from `position` on, where nothing was.
    mutating func append(_ tensor: Tensor, at position: Int) {
        guard let value = tensor.graph, tensor.shape[1] > 0 else { return }
        runs.append(Run(range: position..<position + tensor.shape[1], value: value))
    }

    /// The runs within positions `range`, which become 0, 1, ….
    func within(_ range: Range<Int>) -> TrackedRuns {
        var inside = TrackedRuns()
        for run in runs {
            let part = run.range.clamped(to: range)
            guard !part.isEmpty else { continue }
            let moved = part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound
            let own = part.lowerBound - run.range.lowerBound..<part.upperBound - run.range.lowerBound
            let value = part == run.range ? run.value : run.value.view([.all, .range(own)], shape: Self.shape(run.value, count: part.count))
            inside.runs.append(Run(range: moved, value: value))
        }
        return inside
    }

    /// The runs of positions before `length`.
    func truncated(to length: Int) -> TrackedRuns { within(0..<max(0, length)) }

    /// The runs of batch rows `rows`; one may come several times.
    func selecting(rows: [Int]) -> TrackedRuns {
        var chosen = TrackedRuns()
        for run in runs {
            let before = run.value.node.outputShapes[run.value.output]
            let node = GraphNode("rows of keys and values", inputs: [run.value], outputShapes: [[rows.count] + before.dropFirst()]) { request in
                let gradient = try request.first()
                var whole = Tensor(zeros: before)
                for (index, row) in rows.enumerated() {
                    try whole.set(.at(row), to: whole.at(.at(row)).copied() + gradient.at(.at(index)))
                }
                return [whole]
            }
            chosen.runs.append(Run(range: run.range, value: GraphValue(node)))
        }
        return chosen
    }

    /// How a gradient of all positions falls to `values`. It holds no part of the graph.
    var parts: Parts { Parts(ranges: runs.map(\.range)) }

    struct Parts: Sendable {
        fileprivate let ranges: [Range<Int>]
        var count: Int { ranges.count }

        /// - Parameter gradient: `[batch, positions, kv_head, d_head]`, of positions from `origin` on.
        func of(_ gradient: Tensor, from origin: Int = 0) throws -> [Tensor?] {
            try ranges.map { range in
                let begin = range.lowerBound - origin, end = range.upperBound - origin
                if begin >= 0 { return begin == 0 && end == gradient.shape[1] ? gradient : try gradient.at(.all, .range(begin..<end)).contiguous() }
                // What was let go is not looked at any more.
                var shape = gradient.shape
                shape[1] = range.count
                var whole = Tensor(zeros: shape)
                if end > 0 { try whole.set(.all, .from(-begin), to: gradient.at(.all, .range(0..<end))) }
                return whole
            }
        }
    }

    private static func shape(_ value: GraphValue, count: Int) -> [Int] {
        var shape = value.node.outputShapes[value.output]
        shape[1] = count
        return shape
    }
}

extension GraphValue {
    /// What `indices` pick of it, of `shape`.
    func view(_ indices: [TensorIndex], shape: [Int]) -> GraphValue {
        let before = node.outputShapes[output]
        return GraphValue(GraphNode("view", inputs: [self], outputShapes: [shape]) { request in
            var whole = Tensor(zeros: before)
            try whole.assign(request.first(), at: indices)
            return [whole]
        })
    }
}
