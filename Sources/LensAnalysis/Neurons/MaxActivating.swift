// The text on which neurons fire most (Neuroscope, Nanda 2022): rows of a text file run one after another, and for each
// neuron the rows with the highest activation kept. Memory is bounded by what is kept; what has been seen can be written to
// a file and gone on from.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A neuron: a place on the last axis of an activation.
public struct NeuronIndex: Sendable, Hashable, CustomStringConvertible {
    public var layer: Int
    public var neuron: Int

    public init(_ layer: Int, _ neuron: Int) {
        self.layer = layer
        self.neuron = neuron
    }

    /// TransformerLens' label, `L3N712`.
    public var description: String { "L\(layer)N\(neuron)" }
}

/// A row of text on which a neuron fired.
public struct ActivatingExample: Sendable, Hashable {
    /// The row's number in the file, from 0.
    public let row: Int
    /// The row's tokens.
    public let tokens: [Int]
    /// The neuron's activation on each.
    public let activations: [Float]
    /// Where it is highest (the first of equals).
    public let position: Int
    public var activation: Float { activations[position] }
}

/// The strongest examples of some neurons among the rows seen so far.
public struct MaxActivating: Sendable {
    /// `post`, or another activation `[batch, pos, width]`.
    public let activationName: String
    public let neurons: [NeuronIndex]
    /// Examples kept of each neuron.
    public let count: Int
    /// For each neuron, its examples, strongest first; of equals, the earlier row.
    public internal(set) var examples: [[ActivatingExample]]
    /// Rows and tokens seen.
    public internal(set) var rows = 0, tokens = 0
    /// For each neuron, the share of tokens on which it was above 0.
    public var firingShare: [Double] { firing.map { tokens > 0 ? Double($0) / Double(tokens) : 0 } }
    var firing: [Int]

    /// - Throws: `LensError(.name)` for an activation the model has not, `(.usage)` for neurons or a count it cannot have.
    public init(_ config: ModelConfig, neurons: [NeuronIndex], activationName: String = "post", count: Int = 10) throws {
        guard count > 0, !neurons.isEmpty else {
            throw LensError(.usage, "nothing to keep", expected: "neurons, and a number of examples from 1", found: "\(neurons.count) neurons, \(count)")
        }
        for neuron in neurons {
            guard (0..<config.nLayers).contains(neuron.layer) else {
                throw LensError(.usage, "no such layer", at: "\(neuron)", expected: "0..<\(config.nLayers)", found: "\(neuron.layer)")
            }
            let point = try config.hookPoint(named: actName(activationName, layer: neuron.layer)), axes = point.site.row.axes
            guard axes.count == 3, axes[0] == .batch, axes[1] == .pos, let width = config.size(of: axes[2]) else {
                throw LensError(.usage, "not neurons", at: point.name, expected: "[batch, pos, width]", found: "\(axes.map(\.rawValue))")
            }
            guard (0..<width).contains(neuron.neuron) else {
                throw LensError(.usage, "no such neuron", at: point.name, expected: "0..<\(width)", found: "\(neuron.neuron)")
            }
        }
        self.activationName = activationName
        self.neurons = neurons
        self.count = count
        examples = neurons.map { _ in [] }
        firing = neurons.map { _ in 0 }
    }

    /// Runs rows until there are none, or `most` have been seen.
    ///
    /// - Parameter after: told after each row; throwing ends the work with what has been seen kept.
    /// - Throws: what `next`, `after` and the model throw.
    public mutating func run(_ model: Transformer, most: Int? = nil, next: () throws -> [Int]?, after: (MaxActivating) throws -> Void = { _ in }) throws {
        while rows < most ?? .max, let row = try next() {
            try add(model, row)
            try after(self)
        }
    }

    /// Runs one row of tokens.
    public mutating func add(_ model: Transformer, _ row: [Int]) throws {
        let layers = Set(neurons.map(\.layer)), names = layers.sorted().map { actName(activationName, layer: $0) }
        var found = [[Float]](repeating: [], count: neurons.count)
        let wanted = neurons
        let read = Hook.read(.names(names)) { activation, at in
            for (index, neuron) in wanted.enumerated() where neuron.layer == at.layer {
                found[index] = try activation.at(.at(0), .all, .at(neuron.neuron)).array
            }
        }
        let run = Transformer.Options(hooks: [read], returnType: .none, stopAtLayer: (layers.max() ?? 0) + 1)
        _ = try model.run(.tokens(IntTensor(rows: [row])), run)
        for (index, activations) in found.enumerated() { keep(row, activations, of: index) }
        rows += 1
        tokens += row.count
    }

    private mutating func keep(_ row: [Int], _ activations: [Float], of index: Int) {
        firing[index] += activations.count { $0 > 0 }
        var position = 0
        for (place, value) in activations.enumerated() where value > activations[position] { position = place }
        guard activations.indices.contains(position) else { return }
        let value = activations[position]
        let place = examples[index].firstIndex { $0.activation < value } ?? examples[index].count
        guard place < count else { return }
        examples[index].insert(ActivatingExample(row: rows, tokens: row, activations: activations, position: position), at: place)
        if examples[index].count > count { examples[index].removeLast() }
    }
}
