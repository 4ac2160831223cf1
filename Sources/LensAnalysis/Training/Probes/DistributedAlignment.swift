// Distributed alignment search (Geiger et al. 2023, "Finding Alignments Between Interpretable Causal Variables and Distributed
// Neural Representations"): a rotation of an activation such that exchanging a few of the rotated coordinates between two
// inputs changes the output as exchanging a variable of a causal model would.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A pair of inputs, and what the model should say for the first if the variable had the second's value.
public struct Interchange: Sendable, Hashable {
    public let base: [Int]
    public let source: [Int]
    /// The token that is right at the last position.
    public let answer: Int

    public init(base: [Int], source: [Int], answer: Int) {
        self.base = base
        self.source = source
        self.answer = answer
    }
}

/// A subspace of an activation that stands for a variable: the first coordinates of a rotation.
///
/// Only these coordinates are exchanged, so only their directions, orthonormal, are trained; any completion to a whole rotation
/// does the same. After each step they are made orthonormal anew (Gram and Schmidt, in double).
public struct DistributedAlignment: Sendable {
    public let site: String
    /// The position that is exchanged, negative from the end; nil: every one.
    public let position: Int?
    /// `[dimensions, width]`, orthonormal rows.
    public let directions: Tensor
    /// Loss before each step.
    public let losses: [Double]

    /// The share of pairs for which the model, with the subspace of `base` set to `source`'s, says the answer.
    /// - Throws: what runs throw; `LensError(.shape)` for pairs of different lengths.
    public func accuracy(_ model: some HasTransformer, _ pairs: [Interchange]) throws -> Double {
        let logits = try Self.logits(model.model, pairs, site, position, directions)
        let hits = zip(try logits.argmax().array, pairs).count { $0 == $1.answer }
        return pairs.isEmpty ? .nan : Double(hits) / Double(pairs.count)
    }

    /// Trains one; the model does not change.
    /// - Parameters:
    ///   - site: an activation `[batch, pos, width]`.
    ///   - dimensions: of the subspace.
    ///   - batchSize: pairs of a step, taken in turn.
    /// - Throws: `LensError(.name)` for an unknown site; `LensError(.usage)` for sizes that do not fit; what runs throw.
    public static func train(_ model: some HasTransformer, at site: String, position: Int? = -1, dimensions: Int, pairs: [Interchange], width: Int? = nil,
                             batchSize: Int = 64, steps: Int = 100, settings: Optimizer.Settings = Optimizer.Settings(.adam(), learningRate: 0.02), seed: UInt64 = 0) throws -> DistributedAlignment {
        let model = model.model, width = width ?? model.config.dModel
        guard (1...width).contains(dimensions), !pairs.isEmpty, batchSize > 0 else {
            throw LensError(.usage, "a subspace that does not fit", expected: "1 to \(width) dimensions, at least one pair", found: "\(dimensions) dimensions, \(pairs.count) pairs")
        }
        var random = RandomStream(seed: seed, "directions")
        let start = try orthonormal(Tensor((0..<dimensions * width).map { _ in Float(random.normal()) }, shape: [dimensions, width]))
        var optimizer = try Optimizer(settings, parameters: ["directions": start]), losses: [Double] = []
        for step in 0..<steps {
            let chosen = (0..<min(batchSize, pairs.count)).map { pairs[(step * batchSize + $0) % pairs.count] }
            let leaf = (optimizer.parameters["directions"] ?? start).tracked()
            let loss = try logits(model, chosen, site, position, leaf).meanCrossEntropy(targets: chosen.map(\.answer))
            losses.append(Double(try loss.item()))
            try optimizer.step(["directions": gradients(of: loss, to: [leaf])[0]])
            try optimizer.project("directions", orthonormal)
        }
        return DistributedAlignment(site: site, position: position, directions: optimizer.parameters["directions"] ?? start, losses: losses)
    }

    /// Logits at the last position of the bases, the subspace set to the sources': `[pairs, d_vocab_out]`.
    private static func logits(_ model: Transformer, _ pairs: [Interchange], _ site: String, _ position: Int?, _ directions: Tensor) throws -> Tensor {
        let bases = try IntTensor(rows: pairs.map(\.base)), sources = try IntTensor(rows: pairs.map(\.source))
        guard bases.shape == sources.shape else { throw LensError(.shape, "a base and a source of different lengths", expected: "\(bases.shape)", found: "\(sources.shape)") }
        let given = try model.run(.tokens(sources), .init(cache: .names([site]), returnType: .none)).cache[site]
        let transposed = try directions.permuted(1, 0)
        var options = Transformer.Options()
        options.onlyLastLogits = true
        options.hooks = [.edit(.names([site])) { x, _ in
            if let position {
                let old = try x.at(.all, .at(position)), change = try given.at(.all, .at(position)) - old
                try x.set(.all, .at(position), to: old + change.matmul(transposed).matmul(directions))
            } else {
                x = try x + (given - x).matmul(transposed).matmul(directions)
            }
        }]
        let logits = try model.run(.tokens(bases), options).requiredLogits
        return try logits.reshaped([pairs.count, -1])
    }

    /// Rows made orthonormal, in order (Gram and Schmidt, twice over).
    static func orthonormal(_ rows: Tensor) throws -> Tensor {
        let count = rows.shape[0], width = rows.shape[1]
        var values = rows.array.map(Double.init)
        for row in 0..<count {
            for _ in 0..<2 {
                for other in 0..<row {
                    let overlap = (0..<width).reduce(0.0) { $0 + values[row * width + $1] * values[other * width + $1] }
                    for i in 0..<width { values[row * width + i] -= overlap * values[other * width + i] }
                }
            }
            let norm = (0..<width).reduce(0.0) { $0 + values[row * width + $1] * values[row * width + $1] }.squareRoot()
            guard norm > 1e-12 else { throw LensError(.usage, "directions that depend on each other", at: "direction \(row)") }
            for i in 0..<width { values[row * width + i] /= norm }
        }
        return try Tensor(values.map { Float($0) }, shape: rows.shape)
    }
}
