// The backward lens (Katz et al., 2024, "Backward Lens: Projecting Language Model Gradients into the Vocabulary Space"): the gradient
// of a weight matrix is a sum over positions of what came in forwards times what came in backwards (the vector-Jacobian product). Of
// the two, the one of the residual stream's width is read as the logit lens reads: what the step would write, and for whom.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A matrix whose gradient is taken apart. Raw values are the parameters' names.
public enum BackwardLensMatrix: String, Sendable, Hashable, CaseIterable {
    case wQ = "W_Q", wK = "W_K", wV = "W_V", wO = "W_O", wIn = "W_in", wGate = "W_gate", wOut = "W_out"

    /// Whether what comes in forwards has the stream's width (else what comes in backwards has it).
    public var readsStream: Bool { self != .wO && self != .wOut }

    fileprivate var isAttention: Bool { [.wQ, .wK, .wV, .wO].contains(self) }

    func parameter(_ layer: Int) -> String { "blocks.\(layer).\(isAttention ? "attn" : "mlp").\(rawValue)" }
}

/// Rows of numbers for the vocabulary, shortened to their ends.
public struct VocabularyRanking: Sendable {
    /// The largest logits of each position, largest first: `[pos, k]`, and their tokens.
    public let top: Tensor, topTokens: IntTensor
    /// The smallest, smallest first.
    public let bottom: Tensor, bottomTokens: IntTensor
    /// How many tokens have a larger, and how many a smaller logit than the target, at each position; empty without a target. Gradient descent
    /// subtracts: what it makes likelier has small logits.
    public let ranksFromTop: [Int], ranksFromBottom: [Int]
    /// `[pos, d_vocab_out]`, if they were to be kept.
    public let logits: Tensor?

    /// - Parameter logits: `[pos, d_vocab_out]`.
    init(_ logits: Tensor, topK: Int, target: Int?, keepsLogits: Bool) throws {
        let width = logits.shape[1], shape = [logits.shape[0], topK]
        let largest = try logits.topK(topK), smallest = try logits.scaled(by: -1).topK(topK)
        top = try Tensor(largest.values, shape: shape)
        topTokens = try IntTensor(largest.indices, shape: shape)
        bottom = try Tensor(smallest.values.map { -$0 }, shape: shape)
        bottomTokens = try IntTensor(smallest.indices, shape: shape)
        var ranks: ([Int], [Int]) = ([], [])
        if let target {
            try logits.withUnsafeElements { elements in
                for start in stride(from: 0, to: elements.count, by: width) {
                    let own = elements[start + target]
                    ranks.0.append((start..<start + width).count { elements[$0] > own })
                    ranks.1.append((start..<start + width).count { elements[$0] < own })
                }
            }
        }
        (ranksFromTop, ranksFromBottom) = ranks
        self.logits = keepsLogits ? logits : nil
    }
}

/// The gradient of one matrix of one layer.
public struct MatrixGradient: Sendable {
    public let layer: Int
    public let matrix: BackwardLensMatrix
    /// What the matrix multiplies at each position: `[pos, in]` (heads side by side).
    public let forwardInputs: Tensor
    /// The metric's gradient by what it gives: `[pos, out]` (heads side by side).
    public let outputGradients: Tensor
    /// The lengths of the factor that is read: `[pos]`.
    public let norms: Tensor
    /// The factor of the stream's width, through the final norm and the unembedding.
    public let vocabulary: VocabularyRanking
    /// The same of the factor at length 1, if it was asked for.
    public let normalized: VocabularyRanking?

    /// The gradient itself: `[in, out]`, the sum of outer products.
    public func gradient() throws -> Tensor { try forwardInputs.permuted(1, 0).contiguous().matmul(outputGradients) }
}

/// What the backward lens sees.
public struct BackwardLens: AnalysisResult {
    /// `[pos]`
    public let tokens: [Int]
    /// The token whose ranks are given, if there is one.
    public let target: Int?
    /// The metric's value.
    public let metric: Double
    /// By layers and matrices, as they were asked for.
    public let gradients: [MatrixGradient]

    public var axisLabels: [(axis: String, labels: [String])] { [("pos", tokens.map(String.init))] }

    public var tensors: [(name: String, tensor: Tensor)] {
        gradients.flatMap { part -> [(name: String, tensor: Tensor)] in
            let prefix = "\(part.layer).\(part.matrix.rawValue)"
            return [("\(prefix).forward_inputs", part.forwardInputs), ("\(prefix).output_gradients", part.outputGradients), ("\(prefix).norms", part.norms)]
                + (part.vocabulary.logits.map { [("\(prefix).logits", $0)] } ?? [])
        }
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        func tokens(_ ids: IntTensor, _ values: Tensor, _ row: Int) throws -> JSON {
            let k = ids.shape[1], numbers = values.array
            return .array(try (row * k..<(row + 1) * k).map {
                ["token": .int(ids.array[$0]), "text": .string(try token(ids.array[$0])), "logit": .double(Double(numbers[$0]))]
            })
        }
        func ranking(_ ranking: VocabularyRanking, _ row: Int) throws -> JSON {
            ["top": try tokens(ranking.topTokens, ranking.top, row), "bottom": try tokens(ranking.bottomTokens, ranking.bottom, row),
             "target_rank_from_top": ranking.ranksFromTop.isEmpty ? .null : .int(ranking.ranksFromTop[row]),
             "target_rank_from_bottom": ranking.ranksFromBottom.isEmpty ? .null : .int(ranking.ranksFromBottom[row])]
        }
        return ["metric": .double(metric), "target": target.map(JSON.int) ?? .null, "matrices": .array(try gradients.map { part in
            let norms = part.norms.array
            return ["layer": .int(part.layer), "matrix": .string(part.matrix.rawValue), "read": .string(part.matrix.readsStream ? "forward_inputs" : "output_gradients"),
                    "positions": .array(try self.tokens.enumerated().map { row, id in
                        ["token": .int(id), "text": .string(try token(id)), "norm": .double(Double(norms[row])), "vocabulary": try ranking(part.vocabulary, row),
                         "normalized": try part.normalized.map { try ranking($0, row) } ?? .null]
                    })]
        })]
    }
}

extension HasTransformer {
    /// The backward lens of the loss of one token after a text: −log p(target) at the last position (TransformerLens' `BackwardLens.analyze`).
    public func backwardLens(_ tokens: [Int], target: Int, layers: [Int]? = nil, matrices: [BackwardLensMatrix] = [.wIn, .wOut], normalized: Bool = false,
                             topK: Int = 10, keepsLogits: Bool = false) throws -> BackwardLens {
        let answer = GradientMetric.logProbability(answers: [target])
        let loss = GradientMetric("loss") { try answer($0) * Tensor(-1) }
        return try backwardLens(tokens, metric: loss, target: target, layers: layers, matrices: matrices, normalized: normalized, topK: topK, keepsLogits: keepsLogits)
    }

    /// The backward lens of any metric.
    ///
    /// - Parameters:
    ///   - target: the token whose ranks are given.
    ///   - layers: nil: all.
    ///   - matrices: of models with gated MLPs `wGate` too; TransformerLens 3.9 knows GPT-2's `wIn` and `wOut` only.
    ///   - normalized: the factors at length 1 too (the paper's normalised logit lens).
    ///   - topK: how many tokens to keep from each end. - keepsLogits: all of them besides.
    /// - Throws: `LensError(.usage)` for layers, matrices or tokens the model has not, and for a matrix whose product nobody sees before a norm
    ///   (W_O and W_out of Gemma 2 and OLMo 2); `(.shape)` for more tokens than there are.
    public func backwardLens(_ tokens: [Int], metric: GradientMetric, target: Int? = nil, layers: [Int]? = nil, matrices: [BackwardLensMatrix] = [.wIn, .wOut],
                             normalized: Bool = false, topK: Int = 10, keepsLogits: Bool = false) throws -> BackwardLens {
        let model = model, layers = layers ?? Array(0..<model.config.nLayers)
        guard (1...model.config.dVocabOut).contains(topK) else {
            throw LensError(.usage, "how many tokens to name", expected: "1...\(model.config.dVocabOut)", found: "\(topK)")
        }
        if let target, !(0..<model.config.dVocabOut).contains(target) {
            throw LensError(.usage, "token out of range", expected: "0..<\(model.config.dVocabOut)", found: "\(target)")
        }
        let factors = try layers.flatMap { layer in try matrices.map { try LinearFactors(model, layer, $0) } }
        let ids = try IntTensor(rows: [tokens])
        let runs = GradientRuns(model: model, pair: try PromptPair(clean: ids, corrupted: ids), metric: metric, options: AttributionOptions())
        let inputs = Set(factors.map(\.input)).sorted(), outputs = Set(factors.map(\.output)).sorted()
        let found = try runs.gradients(ids, of: .names(outputs), cache: .names(inputs))
        func read(_ rows: Tensor) throws -> VocabularyRanking {
            try VocabularyRanking(model.unembed(rows), topK: topK, target: target, keepsLogits: keepsLogits)
        }
        let parts = try factors.map { factor -> MatrixGradient in
            let (forward, backward) = try factor.pair(found.cache, found.gradients)
            let rows = factor.matrix.readsStream ? forward : backward
            let norms = try Tensor((rows * rows).summed(axis: -1).array.map { $0.squareRoot() }, shape: [rows.shape[0]])
            let divisors = try Tensor(norms.array.map { $0 == 0 ? 1 : $0 }, shape: [rows.shape[0], 1])
            return MatrixGradient(layer: factor.layer, matrix: factor.matrix, forwardInputs: forward, outputGradients: backward, norms: norms,
                                  vocabulary: try read(rows), normalized: normalized ? try read(rows / divisors) : nil)
        }
        return BackwardLens(tokens: tokens, target: target, metric: Statistics.mean(found.metric.array.map(Double.init)), gradients: parts)
    }
}

/// Where the two factors of a matrix' gradient are seen.
private struct LinearFactors {
    let layer: Int
    let matrix: BackwardLensMatrix
    /// The activation it multiplies (before the norm's weight and bias, where there is a norm), and the one it gives.
    let input: String, output: String
    /// The norm's weight and bias.
    private let weight: Tensor?, bias: Tensor?
    /// What its product is multiplied by before it is seen.
    private let scale: Float

    init(_ model: Transformer, _ layer: Int, _ matrix: BackwardLensMatrix) throws {
        let config = model.config
        guard (0..<config.nLayers).contains(layer) else {
            throw LensError(.usage, "no such layer", expected: "0..<\(config.nLayers)", found: "\(layer)")
        }
        guard config.normPlacement != .onSum || config.norm == nil, config.encoder == nil else {
            throw LensError(.usage, "no backward lens for a model that normalises sums or has two stacks")
        }
        let hasMatrix = matrix.isAttention || (model.hasNeurons(layer) && (matrix != .wGate || config.mlp?.gate != nil))
        guard hasMatrix else { throw LensError(.usage, "the layer has no such matrix", at: matrix.parameter(layer)) }
        let isNormed = config.writingNorms(matrix.isAttention ? .attention : .mlp).isEmpty == false
        guard matrix.readsStream || !isNormed else {
            throw LensError(.usage, "what this matrix gives is not seen before a norm", at: matrix.parameter(layer))
        }
        guard config.position != .shortformer || !(matrix == .wQ || matrix == .wK) else {
            throw LensError(.usage, "queries and keys of this model read positions besides the stream", at: matrix.parameter(layer))
        }
        (self.layer, self.matrix) = (layer, matrix)
        scale = matrix.readsStream ? 1 : Float(config.residualScale)
        let isGated = config.mlp?.gate != nil
        let site: HookSite = switch matrix {
        case .wQ: .q
        case .wK: .k
        case .wV: .v
        case .wO: .attnOut
        case .wIn: isGated ? .mlpPreLinear : .mlpPre
        case .wGate: .mlpPre
        case .wOut: .mlpOut
        }
        output = site.name(layer: layer)
        guard matrix.readsStream else {
            (input, weight, bias) = ((matrix == .wO ? HookSite.z : .mlpPost).name(layer: layer), nil, nil)
            return
        }
        guard let norm = config.inputNorm else {
            (input, weight, bias) = ((matrix.isAttention ? HookSite.residPre : .mlpIn).name(layer: layer), nil, nil)
            return
        }
        let name = matrix.isAttention ? "ln1" : "ln2"
        input = (matrix.isAttention ? HookSite.ln1Normalized : .ln2Normalized).name(layer: layer)
        weight = try model.normWeight("blocks.\(layer).\(name).w", norm)
        bias = try model.normWeight("blocks.\(layer).\(name).b", norm)
    }

    /// `[pos, in]` and `[pos, out]`.
    func pair(_ cache: ActivationCache, _ gradients: ActivationCache) throws -> (forward: Tensor, backward: Tensor) {
        func rows(_ tensor: Tensor) throws -> Tensor {
            let row = try tensor.detached().at(.at(0))
            return try row.reshaped([row.shape[0], row.count / max(1, row.shape[0])])
        }
        var forward = try rows(cache[input])
        if weight != nil || bias != nil { forward = try affine(forward, weight: weight, bias: bias) }
        let backward = try rows(gradients[output])
        return (forward, scale == 1 ? backward : try backward.scaled(by: scale))
    }
}
