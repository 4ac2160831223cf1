// Tracked tensors: those whose gradients may be asked for, and what is computed from them.

import LensFiles

extension Tensor {
    /// Whether operations on it are recorded.
    public var isTracked: Bool { graph != nil }

    /// The same elements, tracked: `gradients(of:to:)` may be asked for its gradient. What it was computed from, if that is
    /// tracked, gets gradients through it.
    public func tracked() -> Tensor {
        let node = GraphNode("tracked", inputs: [graph], outputShapes: [shape]) { [$0.outputs[0]] }
        return attached(to: GraphValue(node))
    }

    /// The same elements as a constant: no gradient flows through it.
    public func detached() -> Tensor {
        guard graph != nil else { return self }
        var copy = self
        copy.graph = nil
        return copy
    }

    package func attached(to value: GraphValue?) -> Tensor {
        var copy = self
        copy.graph = value
        return copy
    }

    /// This tensor, just computed from `inputs`, as their outcome: itself if none of them is tracked.
    /// - Parameter pullback: gradient of this tensor to those of `inputs`; captures detached tensors only.
    package func recorded(_ name: String, from inputs: [GraphValue?], _ pullback: @escaping GraphNode.Pullback) -> Tensor {
        guard inputs.contains(where: { $0 != nil }) else { return self }
        return attached(to: GraphValue(GraphNode(name, inputs: inputs, outputShapes: [shape], pullback: pullback)))
    }

    /// The same for a function of one tensor.
    package func recorded(_ name: String, from input: Tensor, _ pullback: @escaping @Sendable (Tensor) throws -> Tensor) -> Tensor {
        guard let value = input.graph else { return self }
        return recorded(name, from: [value]) { [try pullback($0.first())] }
    }

    /// The same for an operation of several outcomes, some of which may not have been asked for.
    /// - Parameter pullback: its request has a place for each of `outcomes`, nil for those that are not there too.
    package static func recorded(_ name: String, _ outcomes: [Tensor?], from inputs: [GraphValue?],
                                 _ pullback: @escaping GraphNode.Pullback) -> [Tensor?] {
        let present = outcomes.indices.filter { outcomes[$0] != nil }
        guard inputs.contains(where: { $0 != nil }), !present.isEmpty else { return outcomes }
        let places = outcomes.count
        let node = GraphNode(name, inputs: inputs, outputShapes: outcomes.compactMap { $0?.shape }) { request in
            var outputs = [Tensor?](repeating: nil, count: places)
            for (index, place) in present.enumerated() { outputs[place] = request.outputs[index] }
            return try pullback(GraphNode.Request(outputs: outputs, wants: request.wants))
        }
        var recorded = outcomes
        for (index, place) in present.enumerated() { recorded[place] = outcomes[place]?.attached(to: GraphValue(node, output: index)) }
        return recorded
    }

    /// For operations without a gradient: refuses what is tracked, so that no gradient is lost unseen.
    /// - Throws: `LensError(.usage)`.
    package func refuseTracked(_ operation: String, advice: String = "call detached() on it if it is to be a constant") throws {
        guard graph != nil else { return }
        throw LensError(.usage, "\(operation) has no gradient", expected: "a tensor that is not tracked", found: "a tracked one, \(shape)", advice: advice)
    }

    /// The sum over the axes along which `shape` was broadcast to this tensor's: the gradient of a broadcast.
    package func summed(to shape: [Int]) throws -> Tensor {
        guard self.shape != shape else { return self }
        let missing = rank - shape.count
        guard missing >= 0 else { throw LensError(.shape, "sum to a shape", expected: "one that broadcasts to \(self.shape)", found: "\(shape)") }
        var result = try summedLeading(missing)
        for (axis, size) in shape.enumerated() where size == 1 && result.shape[axis] != 1 {
            result = try result.summed(axis: axis, keepsAxis: true)
        }
        return try result.reshaped(shape)
    }

    /// The sum over the first `count` axes.
    private func summedLeading(_ count: Int) throws -> Tensor {
        guard count > 0 else { return self }
        let rest = Array(shape.dropFirst(count))
        return try reshaped([shape.prefix(count).reduce(1, *)] + rest).summed(axis: 0)
    }
}
