// What a run with gradients remembers of its sites: which values of the graph they are, until the reverse pass.

import LensFiles
import LensTensor

/// Collects the marked activations of one run.
package final class GradientRecorder {
    /// A value that stands for a site, or for a part of what reads it.
    package struct Mark {
        package let context: HookContext
        package let shape: [Int]
        /// Whether its gradient is to be returned.
        package let isWanted: Bool
        package var values: [Part]
    }

    /// A value whose gradient is a part of a site's.
    package struct Part {
        package let value: GraphValue
        /// The axis of heads, which the gradient is summed over; nil: it is of the site's shape.
        package let headAxis: Int?
    }

    /// In firing order.
    package private(set) var marks: [Mark] = []
    package private(set) var hooks: [GradientHook] = []
    /// The tracked parameters of the model that runs.
    package var parameters: [GraphValue] = []
    private var places: [HookPoint: Int] = [:]
    /// Of the last mark: the reverse pass takes them last to first.
    private var depth = 0

    package init() {}

    /// `tensor` as the site's value in the graph.
    func mark(_ tensor: Tensor, _ context: HookContext, isWanted: Bool, _ bodies: [(inout Tensor, HookContext) throws -> Void]) -> Tensor {
        let value = value(of: tensor)
        places[context.point] = marks.count
        marks.append(Mark(context: context, shape: tensor.shape, isWanted: isWanted, values: [Part(value: value, headAxis: nil)]))
        hooks += bodies.map { body in GradientHook(value) { try body(&$0, context) } }
        return tensor.attached(to: value)
    }

    /// `tensor` as a further value of a site that has been marked already: its gradient, summed over the heads' axis, is added
    /// to the site's. Itself where the site is not marked.
    package func part(_ tensor: Tensor, of point: HookPoint, headAxis: Int) -> Tensor {
        guard let place = places[point] else { return tensor }
        let value = value(of: tensor)
        marks[place].values.append(Part(value: value, headAxis: headAxis))
        return tensor.attached(to: value)
    }

    private func value(of tensor: Tensor) -> GraphValue {
        let node = GraphNode("hook point", inputs: [tensor.graph], outputShapes: [tensor.shape], above: depth) { [$0.outputs[0]] }
        depth = node.depth
        return GraphValue(node)
    }

    /// The values whose gradients are asked for, all parts of all wanted marks.
    package var wantedValues: [GraphValue] { marks.filter(\.isWanted).flatMap { $0.values.map(\.value) } }

    /// The gradient of each wanted site from those of `wantedValues`, in firing order; zeros where nothing depends on it.
    package func gathered(_ gradients: ArraySlice<Tensor?>) throws -> [(context: HookContext, gradient: Tensor)] {
        var rest = gradients
        return try marks.filter(\.isWanted).map { mark in
            var sum: Tensor?
            for part in mark.values {
                guard var gradient = rest.popFirst() ?? nil else { continue }
                if let axis = part.headAxis { gradient = try gradient.summed(axis: axis) }
                gradient = try gradient.reshaped(mark.shape)
                sum = try sum.map { try $0 + gradient } ?? gradient
            }
            return (mark.context, sum ?? Tensor(zeros: mark.shape))
        }
    }
}
