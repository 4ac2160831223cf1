// Random tokens repeated: the input on which previous-token, duplicate-token and induction heads show themselves, because
// nothing but their kind of attention says anything about what comes next (Elhage et al. 2021, Olsson et al. 2022).

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Sequences of random tokens, each followed by itself.
public struct RepeatedSequences: Sendable {
    /// `[batch, (1 +) 2 × length]`
    public let tokens: IntTensor
    /// Tokens before the repetition begins again.
    public let length: Int
    /// Whether a beginning-of-sequence token stands before them.
    public let hasBOS: Bool

    /// - Parameters:
    ///   - length: tokens of a sequence before it repeats.
    ///   - bos: a token to stand before everything.
    ///   - excluding: tokens never drawn (the special ones).
    ///   - seed: the same seed gives the same tokens.
    /// - Throws: `LensError(.usage)` for a length that does not fit the context, or nothing to draw from.
    public init(for config: ModelConfig, batch: Int = 4, length: Int = 32, bos: Int? = nil, excluding: Set<Int> = [], seed: UInt64 = 0) throws {
        let most = (config.nCtx - (bos == nil ? 0 : 1)) / 2
        guard batch > 0, (2...max(2, most)).contains(length), length <= most else {
            throw LensError(.usage, "repeated sequences do not fit the model", expected: "2 to \(most) tokens, at least one row",
                            found: "\(length) tokens, \(batch) rows")
        }
        let excluded = excluding.union(bos.map { [$0] } ?? [])
        let drawn = (0..<config.dVocab).filter { !excluded.contains($0) }
        guard !drawn.isEmpty else { throw LensError(.usage, "no tokens to draw from", found: "a vocabulary of \(config.dVocab)") }
        var random = SplitMix64(state: seed)
        tokens = try IntTensor(rows: (0..<batch).map { _ in
            let row = (0..<length).map { _ in drawn[Int.random(in: 0..<drawn.count, using: &random)] }
            return (bos.map { [$0] } ?? []) + row + row
        })
        self.length = length
        hasBOS = bos != nil
    }

    /// The first place of the repetition.
    public var repetition: Int { length + (hasBOS ? 1 : 0) }

    /// Attention that a kind of head pays, averaged over sequences and over the queries it says something about:
    /// `[n_layers, n_heads]` each.
    ///
    /// - Previous token: from each position to the one before. Duplicate token: from the repetition to the token's first
    ///   occurrence. Induction: from the repetition to what came after the first occurrence (of the last token, nothing did
    ///   before the repetition itself).
    public func scores(_ model: Transformer) throws -> HeadScores {
        let layers = model.config.nLayers, heads = model.config.nHeads, count = tokens.shape[1]
        var sums = [[Double]](repeating: [Double](repeating: 0, count: layers * heads), count: 3)
        let begin = hasBOS ? 1 : 0, length = length, repetition = repetition
        let read = Hook.read("pattern") { pattern, at in
            guard let layer = at.layer else { return }
            try pattern.withUnsafeElements { elements in
                for row in 0..<pattern.shape[0] {
                    for head in 0..<heads {
                        let base = (row * heads + head) * count * count
                        func attention(_ query: Int, _ key: Int) -> Double { Double(elements[base + query * count + key]) }
                        let place = layer * heads + head
                        for query in begin + 1..<count { sums[0][place] += attention(query, query - 1) }
                        for query in repetition..<count { sums[1][place] += attention(query, query - length) }
                        for query in repetition..<count { sums[2][place] += attention(query, query - length + 1) }
                    }
                }
            }
        }
        // Rows one at a time: patterns of a long sequence are large.
        for row in tokens.rows { _ = try model.run(.tokens(IntTensor(rows: [row])), .init(hooks: [read], returnType: .none)) }
        let rows = Double(tokens.shape[0])
        let queries = [Double(count - begin - 1), Double(length), Double(length)]
        let means = try sums.enumerated().map { kind, sum in
            try Tensor(sum.map { Float($0 / (rows * queries[kind])) }, shape: [layers, heads])
        }
        return HeadScores(previousToken: means[0], duplicateToken: means[1], induction: means[2])
    }

    /// What each head passes on (z), averaged over all sequences and positions: `[n_heads, d_head]` for each layer.
    public func meanOutputs(_ model: Transformer) throws -> [Tensor] {
        let heads = model.config.nHeads, width = heads * model.config.dHead
        var sums = [[Double]](repeating: [Double](repeating: 0, count: width), count: model.config.nLayers)
        let read = Hook.read("z") { z, at in
            guard let layer = at.layer else { return }
            try z.withUnsafeElements { elements in
                for index in elements.indices { sums[layer][index % width] += Double(elements[index]) }
            }
        }
        for row in tokens.rows { _ = try model.run(.tokens(IntTensor(rows: [row])), .init(hooks: [read], returnType: .none)) }
        return try sums.map { try Tensor($0.map { Float($0 / Double(tokens.count)) }, shape: [heads, model.config.dHead]) }
    }

    /// Mean loss of predicting the repetition, in nats: from its second token on, which can be known.
    /// - Parameter hooks: edits of the run, to see what a head is worth.
    public func loss(_ model: Transformer, hooks: [Hook] = []) throws -> Double {
        var total = 0.0, count = 0
        for row in tokens.rows {
            let options = Transformer.Options(hooks: hooks, returnType: .loss, lossPerToken: true)
            guard let losses = try model.run(.tokens(IntTensor(rows: [row])), options).loss else { continue }
            let repeated = try losses.at(.all, .from(repetition)).array
            total += repeated.reduce(0.0) { $0 + Double($1) }
            count += repeated.count
        }
        return total / Double(count)
    }
}

/// How far each head is of each kind: `[n_layers, n_heads]`, 0 to 1.
public struct HeadScores: Sendable {
    public let previousToken: Tensor
    public let duplicateToken: Tensor
    public let induction: Tensor

    /// The kinds by name.
    public var kinds: [(name: String, scores: Tensor)] {
        [("previous_token", previousToken), ("duplicate_token", duplicateToken), ("induction", induction)]
    }
}

extension Tensor {
    /// The heads of `[n_layers, n_heads]` scores, best first.
    public func rankedHeads() throws -> [(head: HeadIndex, score: Float)] {
        guard rank == 2 else { throw LensError(.shape, "not scores of heads", expected: "[n_layers, n_heads]", found: "\(shape)") }
        let width = shape[1]
        return array.enumerated().map { (HeadIndex($0 / max(1, width), $0 % max(1, width)), $1) }
            .sorted { ($0.1.isNaN ? -.infinity : $0.1, $1.0.layer, $1.0.head) > ($1.1.isNaN ? -.infinity : $1.1, $0.0.layer, $0.0.head) }
    }
}

extension Hook {
    /// Replaces what a head passes on (z) by `output`: `[d_head]`, its mean over some inputs; zeros unless given.
    public static func ablation(of head: HeadIndex, to output: Tensor = 0) -> Hook {
        .edit(.names([HookSite.z.name(layer: head.layer)])) { z, _ in try z.set(.all, .all, .at(head.head), to: output) }
    }
}
