// The work of the logit lens: a few positions at a time, all layers of each, and of those the logits of a range of tokens at a
// time, so that no more logits exist at once. A target's own logit comes first, for the others to be held against.

import LensFiles
import LensModel
import LensTensor

/// How much of a lens exists at a time. It changes no bit of a result.
package struct LensChunks: Sendable {
    /// Positions, with all layers of each.
    let places: Int
    let tokens: Int

    package init(places: Int, tokens: Int) {
        self.places = max(1, places)
        self.tokens = max(1, tokens)
    }

    /// Logits that exist at a time: 16 MB of them.
    private static let mostLogits = 4 << 20
    /// Rows for which it is worth going through W_U.
    private static let rows = 512

    init(layers: Int, places: Int) {
        let together = max(1, min(places, Self.rows / max(1, layers)))
        self.init(places: together, tokens: Self.mostLogits / max(1, layers * together))
    }
}

/// Unembeds a stack and gathers what a lens says.
struct LensReading {
    private let model: Transformer
    /// `[n, places, d_model]`
    private let states: Tensor
    /// `[*batch, pos]`
    private let places: [Int]
    private let targets: [Int]?
    private let topK: Int

    private let layers: Int
    private let count: Int
    private var entropy: [Float], divergence: [Float], topTokens: [Int], topLogProbs: [Float]
    private var ranks: [Int] = [], logits: [Float] = [], logProbs: [Float] = []
    private let chunks: LensChunks

    init(_ model: Transformer, _ stack: Tensor, targets: IntTensor?, topK: Int, chunks: LensChunks?) throws {
        self.model = model
        self.topK = topK
        layers = stack.shape[0]
        places = Array(stack.shape[1..<stack.rank - 1])
        count = places.reduce(1, *)
        self.chunks = chunks ?? LensChunks(layers: layers, places: count)
        states = try stack.reshaped([layers, count, model.config.dModel])
        self.targets = try targets.map { try Self.spread($0, over: Array(stack.shape[1..<stack.rank - 1]), below: model.config.dVocabOut) }
        let values = layers * count
        entropy = [Float](repeating: 0, count: values)
        divergence = entropy
        topTokens = [Int](repeating: 0, count: values * topK)
        topLogProbs = [Float](repeating: 0, count: values * topK)
        guard targets != nil else { return }
        ranks = [Int](repeating: 0, count: values)
        logits = entropy
        logProbs = entropy
    }

    /// One token for each place, of one for all, for each row or for each place.
    private static func spread(_ targets: IntTensor, over places: [Int], below bound: Int) throws -> [Int] {
        if let wrong = targets.array.first(where: { !(0..<bound).contains($0) }) {
            throw LensError(.usage, "not an output of this model", expected: "0..<\(bound)", found: "\(wrong)")
        }
        let count = places.reduce(1, *)
        if targets.count == 1 { return Array(repeating: targets.array[0], count: count) }
        if targets.shape == places { return targets.array }
        guard let rows = places.first, targets.shape == [rows] else {
            throw LensError(.shape, "targets of a lens", expected: "one token, one for each row, or \(places)", found: "\(targets.shape)")
        }
        return targets.array.flatMap { Array(repeating: $0, count: count / rows) }
    }

    mutating func read() throws {
        let vocabulary = model.config.dVocabOut
        for first in stride(from: 0, to: count, by: chunks.places) {
            let range = first..<min(first + chunks.places, count)
            let streams = try model.unembedding(states.at(.all, .range(range)))
            let own = try targets.map { try targetLogits($0[range], streams) }
            var reader = try LogitReader(stacks: layers, rows: range.count, topK: topK, targets: own)
            for token in stride(from: 0, to: vocabulary, by: chunks.tokens) {
                if Task.isCancelled { throw LensError(.cancelled, "the lens was cancelled") }
                try reader.read(streams.logits(token..<min(vocabulary, token + chunks.tokens)))
            }
            take(reader, range, own)
        }
    }

    /// The logits of each place's own target: `[layer, place]` flat.
    private func targetLogits(_ targets: ArraySlice<Int>, _ streams: PartialUnembedding) throws -> [Float] {
        var own = [Float](repeating: 0, count: layers * targets.count)
        let width = targets.count, first = targets.startIndex
        for (target, members) in Dictionary(grouping: targets.indices, by: { targets[$0] }) {
            let logits = try streams.logits(target..<target + 1, at: members.count == width ? nil : members.map { $0 - first }).array
            for layer in 0..<layers {
                for (place, member) in members.enumerated() { own[layer * width + member - first] = logits[layer * members.count + place] }
            }
        }
        return own
    }

    /// What a reader found at some places.
    private mutating func take(_ reader: LogitReader, _ range: Range<Int>, _ own: [Float]?) {
        for layer in 0..<layers {
            for row in range.indices {
                let index = layer * count + row, place = layer * range.count + row - range.lowerBound
                entropy[index] = reader.entropy(place)
                divergence[index] = reader.divergence(place)
                for (k, best) in reader.top(place).enumerated() {
                    topTokens[index * topK + k] = best.token
                    topLogProbs[index * topK + k] = reader.logProb(best.logit, place)
                }
                guard let own else { continue }
                ranks[index] = reader.rank(place)
                logits[index] = own[place]
                logProbs[index] = reader.logProb(own[place], place)
            }
        }
    }

    func result(_ labels: [String]) throws -> LogitLens {
        let shape = [layers] + places
        let asked = try targets.map { tokens in
            LogitLens.Targets(tokens: try IntTensor(tokens, shape: places), rank: try IntTensor(ranks, shape: shape),
                              logit: try Tensor(logits, shape: shape), logProb: try Tensor(logProbs, shape: shape))
        }
        return LogitLens(labels: labels, entropy: try Tensor(entropy, shape: shape), klToOutput: try Tensor(divergence, shape: shape),
                         topTokens: try IntTensor(topTokens, shape: shape + [topK]), topLogProbs: try Tensor(topLogProbs, shape: shape + [topK]), targets: asked)
    }
}
