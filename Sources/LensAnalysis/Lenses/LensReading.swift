// The work of the logit lens: a few positions at a time, all layers of each, so that no more than those logits exist at once.

import LensFiles
import LensModel
import LensTensor

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

    /// Logits that exist at a time, 32 MB of them; with their probabilities three times that.
    private static let mostLogits = 8 << 20

    init(_ model: Transformer, _ stack: Tensor, targets: IntTensor?, topK: Int) throws {
        self.model = model
        self.topK = topK
        layers = stack.shape[0]
        places = Array(stack.shape[1..<stack.rank - 1])
        count = places.reduce(1, *)
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
        let step = max(1, Self.mostLogits / max(1, layers * model.config.dVocabOut))
        for first in stride(from: 0, to: count, by: step) {
            if Task.isCancelled { throw LensError(.cancelled, "the lens was cancelled") }
            let range = first..<min(first + step, count)
            let logits = try model.unembed(states.at(.all, .range(range)))
            let probs = try logits.softmax(), logProbs = try logits.logSoftmax()
            try logits.withUnsafeElements { logits in
                try probs.withUnsafeElements { probs in
                    try logProbs.withUnsafeElements { logProbs in
                        let rows = Rows(logits: logits, probs: probs, logProbs: logProbs, count: range.count)
                        for layer in 0..<layers { for row in range.indices { read(layer, row, row - range.lowerBound, rows) } }
                    }
                }
            }
        }
    }

    /// What exists at a time: `[layer, place, d_vocab_out]`, `count` places.
    private struct Rows {
        let logits: UnsafeBufferPointer<Float>, probs: UnsafeBufferPointer<Float>, logProbs: UnsafeBufferPointer<Float>
        let count: Int
    }

    /// One row of logits: a layer's, at a place, which is the `row`-th of those there.
    private mutating func read(_ layer: Int, _ place: Int, _ row: Int, _ rows: Rows) {
        let width = model.config.dVocabOut, index = layer * count + place
        let start = (layer * rows.count + row) * width, output = ((layers - 1) * rows.count + row) * width
        let (probs, logProbs, logits) = (rows.probs, rows.logProbs, rows.logits)
        var sum = 0.0, distance = 0.0
        for v in 0..<width {
            // 0 · log 0 is 0, in either distribution.
            if probs[start + v] > 0 { sum -= Double(probs[start + v]) * Double(logProbs[start + v]) }
            if probs[output + v] > 0 { distance += Double(probs[output + v]) * (Double(logProbs[output + v]) - Double(logProbs[start + v])) }
        }
        entropy[index] = Float(sum)
        divergence[index] = Float(distance)
        let best = largest(logProbs, from: start, width)
        for (k, token) in best.enumerated() {
            topTokens[index * topK + k] = token
            topLogProbs[index * topK + k] = logProbs[start + token]
        }
        guard let target = targets?[place] else { return }
        let own = logits[start + target]
        ranks[index] = (0..<width).count { logits[start + $0] > own }
        self.logits[index] = own
        self.logProbs[index] = logProbs[start + target]
    }

    /// The `topK` largest of a row, largest first, the earlier of equals first.
    private func largest(_ x: UnsafeBufferPointer<Float>, from start: Int, _ width: Int) -> [Int] {
        var best: [Int] = []
        for v in 0..<width {
            if best.count == topK, let last = best.last, !(x[start + v] > x[start + last]) { continue }
            let place = best.firstIndex { x[start + v] > x[start + $0] } ?? best.count
            best.insert(v, at: place)
            if best.count > topK { best.removeLast() }
        }
        return best
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
