// How far a model in another format is from the same model in float32: of every matrix, of the residual stream after every block,
// and of what is predicted in the end.

import Foundation
import LensFiles
import LensHooks
import LensModel
import LensTensor

/// The distance of a model whose weights are kept in another format, or whose activations are rounded, from an exact one.
public struct FormatError: Sendable, Hashable {
    /// One matrix or table.
    public struct Matrix: Sendable, Hashable {
        public let name: String
        public let format: WeightFormat
        public let activations: ActivationFormat
        /// √(Σ (w' - w)² / Σ w²): what its own format costs, whatever is rounded elsewhere.
        public let relativeError: Double
    }

    /// An activation.
    public struct Stream: Sendable, Hashable {
        /// The hook's name.
        public let name: String
        /// √(Σ (x' - x)² / Σ x²) over all positions: what all that is rounded before it costs together.
        public let relativeError: Double
    }

    /// In TransformerLens' order.
    public let matrices: [Matrix]
    /// What enters the first block, then what leaves each.
    public let streams: [Stream]
    /// KL(exact ‖ rounded) of the next token, the mean over all positions, in nats.
    public let divergence: Double
    /// The share of positions where both find the same token most likely.
    public let agreement: Double
    /// Positions run.
    public let positions: Int
}

/// Σ (x' - x)² and Σ x², in double.
private struct SquareSums {
    var difference = 0.0, size = 0.0

    mutating func add(_ rounded: Tensor, _ exact: Tensor) throws {
        try rounded.withUnsafeElements { rounded in
            try exact.withUnsafeElements { exact in
                for index in 0..<min(rounded.count, exact.count) {
                    let value = Double(exact[index]), off = Double(rounded[index]) - value
                    difference += off * off
                    size += value * value
                }
            }
        }
    }

    /// 0 where nothing differs, of zeros too.
    var relative: Double { difference == 0 ? 0 : (difference / size).squareRoot() }
}

extension Evals {
    /// Compares a model with the same one in float32 (or whatever `exact` is kept in), on rows of tokens.
    ///
    /// - Parameters:
    ///   - exact: of the same configuration, its weights rewritten alike (`processing`).
    ///   - next: the next row of tokens; nil at the end.
    ///   - most: rows to stop after.
    /// - Throws: `LensError(.usage)` for models that cannot be compared, or without a row; what `next` and the models throw.
    public static func formatError(of model: Transformer, against exact: Transformer, most: Int? = nil, progress: (Int) -> Void = { _ in },
                                   next: () throws -> [Int]?) throws -> FormatError {
        try checkComparable(model, exact)
        let blocks = (0..<model.config.nLayers).map { "blocks.\($0).hook_resid_post" }
        let sites = (blocks.isEmpty ? [] : ["blocks.0.hook_resid_pre"]) + blocks
        let run = Transformer.Options(cache: .names(sites))
        var streams = [SquareSums](repeating: SquareSums(), count: sites.count), divergence = 0.0, agreeing = 0, positions = 0, rows = 0
        while rows < most ?? .max, let row = try next() {
            guard !row.isEmpty else { continue }
            let tokens = Transformer.Input.tokens(try IntTensor(rows: [row]))
            let rounded = try model.run(tokens, run), whole = try exact.run(tokens, run)
            for (index, name) in sites.enumerated() { try streams[index].add(rounded.cache[name], whole.cache[name]) }
            guard let q = rounded.logits, let p = whole.logits else { throw LensError(.usage, "this model has no head that makes logits") }
            let found = try compare(p, q)
            divergence += found.divergence
            agreeing += found.agreeing
            positions += row.count
            rows += 1
            progress(rows)
        }
        guard positions > 0 else { throw LensError(.usage, "nothing to compare on", expected: "at least one token") }
        return FormatError(matrices: try matrices(model, exact), streams: zip(sites, streams).map { .init(name: $0, relativeError: $1.relative) },
                           divergence: divergence / Double(positions), agreement: Double(agreeing) / Double(positions), positions: positions)
    }

    private static func checkComparable(_ model: Transformer, _ exact: Transformer) throws {
        func describe(_ model: Transformer) -> [String: [Int]] {
            Dictionary(uniqueKeysWithValues: model.parameters.kept.map { ($0.name, $0.shape) })
        }
        guard model.processing.done == exact.processing.done else {
            throw LensError(.usage, "models whose weights were rewritten differently cannot be compared", expected: exact.processing.description,
                            found: model.processing.description, advice: "load both with processing none")
        }
        guard describe(model) == describe(exact) else {
            throw LensError(.usage, "different models cannot be compared", expected: "the same parameters: \(exact.config.modelName)", found: model.config.modelName)
        }
    }

    /// Weights of two axes and more.
    private static func matrices(_ model: Transformer, _ exact: Transformer) throws -> [FormatError.Matrix] {
        try model.parameters.kept.filter { $0.shape.count >= 2 && $0.name.split(separator: ".").contains { $0.drop(while: { $0 == "_" }).hasPrefix("W_") || $0 == "W" } }.map { kept in
            var sums = SquareSums()
            try sums.add(model.parameters[kept.name], exact.parameters[kept.name])
            return FormatError.Matrix(name: kept.name, format: kept.format, activations: kept.activations, relativeError: sums.relative)
        }
    }

    /// Σ over positions of KL(p ‖ q), and at how many both have the same largest: of logits `[1, pos, d_vocab_out]`.
    private static func compare(_ p: Tensor, _ q: Tensor) throws -> (divergence: Double, agreeing: Int) {
        let width = p.shape.last ?? 0
        return try p.withUnsafeElements { p in
            try q.withUnsafeElements { q in
                var divergence = 0.0, agreeing = 0
                for start in stride(from: 0, to: width > 0 ? p.count : 0, by: width) {
                    let p = UnsafeBufferPointer(rebasing: p[start..<start + width]), q = UnsafeBufferPointer(rebasing: q[start..<start + width])
                    let (pSum, pBest) = logSumExp(p), (qSum, qBest) = logSumExp(q)
                    for index in 0..<width {
                        let logP = Double(p[index]) - pSum, chance = exp(logP)
                        if chance != 0 { divergence += chance * (logP - (Double(q[index]) - qSum)) } // NaN is not passed over
                    }
                    if pBest == qBest { agreeing += 1 }
                }
                return (divergence, agreeing)
            }
        }
    }

    /// log Σ eˣ, and where the largest is (the first).
    private static func logSumExp(_ x: UnsafeBufferPointer<Float>) -> (Double, Int) {
        var best = 0
        for index in x.indices where x[index] > x[best] { best = index }
        let largest = Double(x[best])
        return (largest + log(x.reduce(0.0) { $0 + exp(Double($1) - largest) }), best)
    }
}
