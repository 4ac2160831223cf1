// The reverse pass: from a scalar back to the tensors asked about, through the operations between them only.

import LensFiles

/// Something done to the gradient of one value when it is complete, before it goes further back: read it, or put
/// another in its place (of the same shape).
package struct GradientHook {
    package let value: GraphValue
    package let body: (inout Tensor) throws -> Void

    package init(_ value: GraphValue, _ body: @escaping (inout Tensor) throws -> Void) {
        self.value = value
        self.body = body
    }
}

/// The gradients of a scalar with respect to tracked tensors. Each is of the tensor's shape; zeros where the scalar does
/// not depend on it.
///
/// ```swift
/// let x = try Tensor([1, 2, 3], shape: [3]).tracked()
/// let y = try (x * x).sum()
/// try gradients(of: y, to: [x])[0]      // [2, 4, 6]
/// ```
/// - Throws: `LensError(.shape)` if `scalar` has more than one element; `LensError(.usage)` if one of `tensors` is not
///   tracked.
public func gradients(of scalar: Tensor, to tensors: [Tensor]) throws -> [Tensor] {
    let values = try tensors.map { tensor in
        guard let value = tensor.graph else {
            throw LensError(.usage, "the gradient of a tensor that is not tracked", found: "\(tensor.shape)", advice: "call tracked() on it before it is used")
        }
        return value
    }
    return try zip(gradients(of: scalar, to: values), tensors).map { $0 ?? Tensor(zeros: $1.shape) }
}

/// The same for values of the graph; nil where the scalar does not depend on one.
/// - Parameter hooks: run on a value's complete gradient, in order, before it is returned and before it goes on.
package func gradients(of scalar: Tensor, to values: [GraphValue], hooks: [GradientHook] = []) throws -> [Tensor?] {
    guard scalar.count == 1 else {
        throw LensError(.shape, "the gradient of something that is not one number", expected: "a scalar", found: "shape \(scalar.shape)",
                        advice: "sum it or take one element")
    }
    guard let root = scalar.graph else { return values.map { _ in nil } }
    let one = Tensor(repeating: 1, shape: scalar.shape)
    return try gradients(of: root, seed: one, to: values, hooks: hooks)
}

/// What the gradient `seed` of `root`, which need not be a scalar, makes of the gradients of `values`.
package func gradients(of root: GraphValue, seed: Tensor, to values: [GraphValue], hooks: [GradientHook] = []) throws -> [Tensor?] {
    var pass = ReversePass(wanted: values, hooks: hooks)
    return try pass.run(from: root, seed)
}

private struct ReversePass {
    private let wanted: [GraphValue]
    private var hooks: [GraphValue.Key: [(inout Tensor) throws -> Void]] = [:]
    /// Gradients of values so far, of nodes not yet gone through.
    private var sums: [GraphValue.Key: Tensor] = [:]
    /// Complete gradients of values asked about.
    private var results: [GraphValue.Key: Tensor] = [:]
    /// Whether a node or anything below it is asked about.
    private var leads: [ObjectIdentifier: Bool] = [:]

    init(wanted: [GraphValue], hooks: [GradientHook]) {
        self.wanted = wanted
        for hook in hooks { self.hooks[hook.value.key, default: []].append(hook.body) }
        for value in wanted + hooks.map(\.value) { leads[ObjectIdentifier(value.node)] = true }
    }

    mutating func run(from root: GraphValue, _ seed: Tensor) throws -> [Tensor?] {
        let asked = Set(wanted.map(\.key))
        sums[root.key] = seed
        // Deepest first: when a node's turn comes, all its users have had theirs.
        for node in ordered(from: root.node) {
            var outputs: [Tensor?] = []
            for output in node.outputShapes.indices {
                let key = GraphValue(node, output: output).key
                var gradient = sums.removeValue(forKey: key)
                for hook in hooks[key] ?? [] {
                    var given = gradient ?? Tensor(zeros: node.outputShapes[output])
                    try hook(&given)
                    guard given.shape == node.outputShapes[output] else {
                        throw LensError(.shape, "a hook changed the shape of a gradient", expected: "\(node.outputShapes[output])", found: "\(given.shape)")
                    }
                    gradient = given
                }
                if asked.contains(key) { results[key] = gradient }
                outputs.append(gradient)
            }
            let wants = node.inputs.map { $0.map { leads[ObjectIdentifier($0.node)] == true } ?? false }
            guard wants.contains(true), outputs.contains(where: { $0 != nil }) else { continue }
            let gradients = try node.pullback(GraphNode.Request(outputs: outputs, wants: wants))
            for (index, input) in node.inputs.enumerated() where wants[index] {
                guard let input, let gradient = gradients[index] else { continue }
                try add(gradient, to: input, node.name)
            }
        }
        return wanted.map { results[$0.key] }
    }

    private mutating func add(_ gradient: Tensor, to input: GraphValue, _ name: String) throws {
        let expected = input.node.outputShapes[input.output]
        guard gradient.shape == expected else {
            throw LensError(.shape, "gradient of \(name)", expected: "\(expected)", found: "\(gradient.shape)")
        }
        sums[input.key] = try sums[input.key].map { try $0 + gradient.detached() } ?? gradient.detached()
    }

    /// The nodes that lead to what is asked about, deepest first.
    private mutating func ordered(from root: GraphNode) -> [GraphNode] {
        var seen: Set<ObjectIdentifier> = [ObjectIdentifier(root)], all: [GraphNode] = [], waiting = [root]
        while let node = waiting.popLast() {
            all.append(node)
            for input in node.inputs {
                if let next = input?.node, seen.insert(ObjectIdentifier(next)).inserted { waiting.append(next) }
            }
        }
        all.sort { ($0.depth, $0.serial) > ($1.depth, $1.serial) }
        for node in all.reversed() where leads[ObjectIdentifier(node)] == nil {
            leads[ObjectIdentifier(node)] = node.inputs.contains { $0.map { leads[ObjectIdentifier($0.node)] == true } ?? false }
        }
        return all.filter { leads[ObjectIdentifier($0)] == true }
    }
}
