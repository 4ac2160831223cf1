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

    /// The sum over the axes along which `shape` was broadcast to this tensor's: the gradient of a broadcast.
    package func summed(to shape: [Int]) throws -> Tensor {
        guard self.shape != shape else { return self }
        let missing = rank - shape.count
        guard missing >= 0 else { throw LensError(.shape, "sum to a shape", expected: "one that broadcasts to \(self.shape)", found: "\(shape)") }
        var result = self
        for axis in 0..<missing where self.shape[axis] != 1 { result = try result.summed(overAxis: axis) }
        for (axis, size) in shape.enumerated() where size == 1 && self.shape[axis + missing] != 1 {
            result = try result.summed(overAxis: axis + missing)
        }
        return try result.reshaped(shape)
    }

    /// The sum over one axis, which stays with size 1. Pairs of halves are added in a fixed order.
    private func summed(overAxis axis: Int) throws -> Tensor {
        let source = try detached().contiguous()
        let outer = shape[..<axis].reduce(1, *), size = shape[axis], inner = shape[(axis + 1)...].reduce(1, *)
        var outShape = shape
        outShape[axis] = 1
        let out = Tensor(zeros: outShape)
        withExtendedLifetime(source) {
            for o in 0..<outer {
                let destination = out.storage.pointer + o * inner
                for s in 0..<size {
                    let from = source.elements + (o * size + s) * inner
                    for i in 0..<inner { destination[i] += from[i] }
                }
            }
        }
        return out
    }
}
