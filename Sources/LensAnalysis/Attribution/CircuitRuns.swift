// A model with only a circuit's edges: every reader reads the stream with what comes along other edges replaced, by zeros, by
// what the writer writes on average, or by what it writes in the corrupted run. These are actual runs, not estimates: hooks
// change each head's q, k and v input, each MLP's input and what goes to the final norm, before the readers' own norms.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// What comes along the edges outside a circuit.
public enum EdgeAblation: Sendable {
    /// What the writer writes in the corrupted run.
    case patch
    /// Nothing. Biases of attention are no writer's, and stay.
    case zero
    /// What the writer writes on average.
    case mean(MeanContributions)
}

/// What each node writes to the residual stream on average over a set of prompts.
public struct MeanContributions: Sendable {
    public let graph: EdgeGraph
    /// `[source, pos, d_model]`, or `[source, 1, d_model]` where positions are averaged over too.
    public let values: Tensor

    /// Any other numbers: of another set of runs, of a mixture.
    /// - Throws: `LensError(.shape)` if they are not `[source, 1 or pos, d_model]`.
    public init(graph: EdgeGraph, values: Tensor) throws {
        guard values.rank == 3, values.shape[0] == graph.sourceCount else {
            throw LensError(.shape, "not what a model's nodes write", expected: "[\(graph.sourceCount), 1 or pos, d_model]", found: "\(values.shape)")
        }
        self.graph = graph
        self.values = values.detached()
    }

    /// - Parameters:
    ///   - tokens: the prompts, `[batch, pos]`.
    ///   - attentionMask: 0 for padding, which does not count.
    ///   - perPosition: a mean for each position: only runs of the same length can then be ablated with it.
    /// - Throws: `LensError(.usage)` for a model without a graph, or no real tokens to average over.
    public init(_ model: some HasTransformer, over tokens: IntTensor, attentionMask: IntTensor? = nil, perPosition: Bool = false) throws {
        graph = try EdgeGraph(model)
        let parts = Contributions(model: model.model, graph: graph)
        var run = Transformer.Options(cache: .names(parts.names), returnType: .none)
        run.attentionMask = attentionMask
        let all = try parts.all(model.model.run(.tokens(tokens), run).cache)
        let ones = try IntTensor(Array(repeating: 1, count: tokens.count), shape: tokens.shape)
        let weights = try (attentionMask ?? ones).floats
        let counts = try perPosition ? weights.summed(axis: 0) : weights.reshaped([tokens.count]).summed(axis: 0)
        guard counts.array.allSatisfy({ $0 > 0 }) else { throw LensError(.usage, "nothing to average over", expected: "a real token at every position") }
        let sums = try (all * weights.reshaped([1] + tokens.shape + [1])).summed(axis: 1)
        if perPosition {
            values = try sums / counts.reshaped([1, tokens.shape[1], 1])
        } else {
            let total = try sums.summed(axis: 1)
            values = try (total / counts).reshaped([total.shape[0], 1, total.shape[1]])
        }
    }
}

/// Runs of circuits on one pair of prompts.
public struct CircuitRuns {
    public let model: Transformer
    public let graph: EdgeGraph
    private let pair: PromptPair
    private let metric: GradientMetric
    private let parts: Contributions
    /// What comes along edges that are ablated: `[source, batch, pos, d_model]`.
    private let replacement: Tensor
    /// The metric of the whole model on the clean and on the corrupted prompts: `[]` or `[batch]`.
    public let clean: Tensor, corrupted: Tensor

    /// - Throws: `LensError(.usage)` for a model without a graph, `(.shape)` for means of other prompts' length.
    public init(_ model: some HasTransformer, _ pair: PromptPair, metric: GradientMetric, ablation: EdgeAblation) throws {
        let transformer = model.model, graph = try EdgeGraph(transformer), parts = Contributions(model: transformer, graph: graph)
        (self.model, self.graph, self.pair, self.metric, self.parts) = (transformer, graph, pair, metric, parts)
        let runs = GradientRuns(model: transformer, pair: pair, metric: metric, options: AttributionOptions())
        clean = try runs.run(pair.clean).metric
        let shape = [graph.sourceCount] + pair.clean.shape + [transformer.config.dModel]
        switch ablation {
        case .patch:
            let found = try runs.run(pair.corrupted, cache: .names(parts.names))
            corrupted = found.metric
            replacement = try parts.all(found.cache)
        case .zero:
            corrupted = try runs.run(pair.corrupted).metric
            replacement = Tensor(zeros: shape)
        case .mean(let means):
            corrupted = try runs.run(pair.corrupted).metric
            guard means.graph == graph, means.values.rank == 3, [1, pair.clean.shape[1]].contains(means.values.shape[1]),
                  means.values.shape[2] == transformer.config.dModel else {
                throw LensError(.shape, "means that do not fit the prompts", expected: "[\(graph.sourceCount), 1 or \(pair.clean.shape[1]), \(transformer.config.dModel)]",
                                found: "\(means.values.shape)")
            }
            let values = means.values
            replacement = try values.reshaped([values.shape[0], 1, values.shape[1], values.shape[2]]).broadcast(to: shape).contiguous()
        }
    }

    /// The logits on the clean prompts with only the circuit's edges: `[batch, pos, d_vocab_out]`.
    /// - Throws: `LensError(.usage)` for a circuit of another graph.
    public func logits(_ circuit: Circuit) throws -> Tensor {
        guard circuit.graph == graph else { throw LensError(.usage, "a circuit of another model") }
        let run = AblatedRun(graph, parts, circuit, replacement)
        var options = Transformer.Options(hooks: run.hooks)
        options.attentionMask = pair.attentionMask
        guard let logits = try model.run(.tokens(pair.clean), options).logits else { throw LensError(.usage, "the model gave no logits") }
        return logits
    }

    /// The metric with only the circuit's edges: `[]` or `[batch]`.
    public func metric(_ circuit: Circuit) throws -> Tensor { try metric(logits(circuit)) }
}

/// One run in which edges are ablated: what has been written so far, and what readers are given instead.
private final class AblatedRun {
    private let graph: EdgeGraph
    private let parts: Contributions
    /// `[source, batch, pos, d_model]`
    private let replacement: Tensor
    /// The activations of this run that contributions are made of.
    private var cache: ActivationCache
    /// replacement − what is written in this run, for the writers so far, group by group: `[sources, batch × pos × d_model]`.
    private var changes: [PackedMatrix] = []
    /// Layers whose heads, and whose MLPs, are among them.
    private var headLayers = 0, mlpLayers = 0
    /// The readers seen at an activation that miss anything: the writers each misses, 1 or 0, `[reader][source]`.
    private var missing: [(name: String, rows: [[Float]])] = []

    init(_ graph: EdgeGraph, _ parts: Contributions, _ circuit: Circuit, _ replacement: Tensor) {
        self.graph = graph
        self.parts = parts
        self.replacement = replacement
        cache = ActivationCache(nLayers: graph.nLayers)
        for (index, target) in graph.targets.enumerated() {
            let name = target.name(nLayers: graph.nLayers)
            let row = circuit.row(index).prefix(graph.readable(by: target)).map { $0 ? Float(0) : 1 }
            if missing.last?.name == name { missing[missing.count - 1].rows.append(row) } else { missing.append((name, [row])) }
        }
        missing.removeAll { !$0.rows.joined().contains(1) }
    }

    /// Readers that miss nothing are left alone: the whole model's run is bit for bit its own.
    var hooks: [Hook] {
        guard !missing.isEmpty else { return [] }
        let reads = Hook.read(.names(parts.names)) { tensor, at in self.cache.store(at.name, tensor) }
        return [reads] + missing.map { name, rows in
            .edit(.names([name])) { input, _ in input = try self.replaced(input, rows) }
        }
    }

    /// The stream as readers see it: `[batch, pos, head, d_model]`, or without heads.
    private func replaced(_ input: Tensor, _ rows: [[Float]]) throws -> Tensor {
        guard let readable = rows.first?.count, readable > 0 else { return input }
        try write(upTo: readable)
        let place = [input.shape[0], input.shape[1]], width = input.shape[input.rank - 1]
        var sum: Tensor?, first = 0
        for change in changes {
            let count = change.rows, range = first..<first + count
            first += count
            let weights = rows.map { row in range.map { $0 < readable ? row[$0] : 0 } }
            guard weights.joined().contains(1) else { continue }
            let part = try change.product(Tensor(weights.flatMap(\.self), shape: [rows.count, count])).out
            sum = try sum.map { try $0 + part } ?? part
        }
        guard let sum else { return input }
        let byReader = try sum.reshaped([rows.count] + place + [width])
        return try input + (input.rank == 4 ? byReader.movingAxis(0, to: 2).contiguous() : byReader.reshaped(input.shape))
    }

    /// Takes in what writers have written, up to so many.
    private func write(upTo readable: Int) throws {
        var taken = changes.reduce(0) { $0 + $1.rows }
        func add(_ written: Tensor) throws {
            let count = written.shape[0], change = try replacement.at(.range(taken..<taken + count)) - written
            changes.append(try PackedMatrix(change.reshaped([count, change.count / count])))
            taken += count
        }
        if changes.isEmpty { try add(parts.input(cache)) }
        while taken < readable {
            if headLayers == mlpLayers || !graph.hasMLPs {
                try add(parts.heads(headLayers, cache))
                headLayers += 1
            } else {
                try add(parts.mlp(mlpLayers, cache))
                mlpLayers += 1
            }
        }
    }
}
