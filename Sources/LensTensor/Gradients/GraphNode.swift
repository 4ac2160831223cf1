// What reverse mode remembers: one node for each operation that something tracked went into. A node holds what its
// pullback needs and nothing else; operations on tensors nobody tracks make none.

import LensFiles

/// One recorded operation: where its inputs came from, and how gradients of its outputs become gradients of its inputs.
///
/// `@unchecked Sendable`: nothing changes after `init` but in `deinit`, when nobody else holds it.
package final class GraphNode: @unchecked Sendable {
    /// What a pullback is given.
    package struct Request {
        /// The gradient of each output, of its shape; nil: zero. At least one is there.
        package let outputs: [Tensor?]
        /// Whether each input's gradient is asked for.
        package let wants: [Bool]
        /// The gradient of the first output.
        /// - Throws: `LensError(.shape)` for an operation of several outputs whose first nobody used.
        package func first() throws -> Tensor {
            guard let gradient = outputs.first ?? nil else { throw LensError(.shape, "the gradient of an unused output") }
            return gradient
        }
    }

    /// Gradients of the inputs, in their order; nil: zero, or not asked for. It captures only tensors that are not tracked
    /// (`detached()`), so that it holds no other part of the graph.
    package typealias Pullback = @Sendable (Request) throws -> [Tensor?]

    /// Of the operation, for error messages.
    package let name: String
    package let outputShapes: [[Int]]
    package private(set) var inputs: [GraphValue?]
    package let pullback: Pullback
    /// Grows with the depth below: inputs have smaller ones.
    package let depth: Int
    /// Of two nodes of one depth the later made goes first: so that sums have one order, whatever else is in the graph.
    let serial: Int
    private static let made = Locked(0)

    /// - Parameter depth: the node is deeper than this too: it comes before nodes of that depth in the reverse pass.
    package init(_ name: String, inputs: [GraphValue?], outputShapes: [[Int]], above depth: Int = 0, pullback: @escaping Pullback) {
        self.name = name
        self.inputs = inputs
        self.outputShapes = outputShapes
        self.pullback = pullback
        serial = Self.made.withLock { count in
            count += 1
            return count
        }
        self.depth = 1 + max(depth, inputs.compactMap { $0?.node.depth }.max() ?? 0)
    }

    /// Lets go of long chains one node at a time: nested deinits would need stack for each.
    deinit {
        var waiting = inputs
        inputs = []
        while var value = waiting.popLast() {
            guard value != nil, let inputs = value?.releaseIfLast() else { continue }
            waiting += inputs
            value = nil
        }
    }

    fileprivate func takeInputs() -> [GraphValue?] {
        let taken = inputs
        inputs = []
        return taken
    }
}

/// One output of a node: what a tracked tensor is.
package struct GraphValue: Sendable {
    package private(set) var node: GraphNode
    package let output: Int

    package init(_ node: GraphNode, output: Int = 0) {
        self.node = node
        self.output = output
    }

    /// The node's inputs, taken from it, if this is the only reference to it.
    fileprivate mutating func releaseIfLast() -> [GraphValue?]? {
        isKnownUniquelyReferenced(&node) ? node.takeInputs() : nil
    }

    package struct Key: Hashable {
        let node: ObjectIdentifier
        let output: Int
    }
    package var key: Key { Key(node: ObjectIdentifier(node), output: output) }
}

/// Two are equal if they are the same output of the same operation.
extension GraphValue: Hashable {
    package static func == (a: GraphValue, b: GraphValue) -> Bool { a.key == b.key }
    package func hash(into hasher: inout Hasher) { hasher.combine(key) }
}
