// Direct logit attribution: a token's logit, or its difference to another's, as the sum of what each part of the model wrote in
// that direction (Elhage et al. 2021; Wang et al., "Interpretability in the Wild"). The norm before the unembedding is taken
// at its scale in the run, its weight and bias counted whether folded or not, so that the parts sum to the logits themselves.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// How finely the residual stream is taken apart.
public enum AttributionUnit: String, Sendable, Hashable, CaseIterable {
    /// Embeddings and each sublayer: `embed`, `0_attn_out`, `0_mlp_out`, ….
    case component
    /// Embeddings and each layer: `embed`, `L0`, ….
    case layer
    /// Each head; MLPs whole.
    case head
    /// Each head and each neuron.
    case neuron
}

/// The tokens that an attribution is about.
public struct AnswerTokens: Sendable, Hashable {
    /// The token whose logit counts: one for all rows, or one for each.
    public let correct: [Int]
    /// The token whose logit counts against it; nil: none.
    public let incorrect: [Int]?

    /// - Throws: `LensError(.shape)` if their numbers differ.
    public init(_ correct: [Int], incorrect: [Int]? = nil) throws {
        guard !correct.isEmpty, incorrect.map({ $0.count == correct.count }) ?? true else {
            throw LensError(.shape, "answers in pairs", expected: "at least one correct token, as many incorrect", found: "\(correct.count) and \(incorrect?.count ?? 0)")
        }
        self.correct = correct
        self.incorrect = incorrect
    }

    public init(_ correct: Int, incorrect: Int? = nil) {
        self.correct = [correct]
        self.incorrect = incorrect.map { [$0] }
    }

    /// The pair of a row, of `rows`.
    func pair(_ row: Int, of rows: Int) throws -> (correct: Int, incorrect: Int?) {
        guard correct.count == 1 || correct.count == rows else {
            throw LensError(.shape, "answers do not fit the batch", expected: "1 or \(rows)", found: "\(correct.count)")
        }
        let place = correct.count == 1 ? 0 : row
        return (correct[place], incorrect?[place])
    }
}

/// What each part of the model adds to a logit (or a difference of two).
public struct Attribution: AnalysisResult {
    public let unit: AttributionUnit
    /// Parts: what the first axis of `values` stands for. The last, `unembed_bias`, is what no part of the stream is: b_U and the
    /// final norm's bias.
    public let labels: [String]
    /// `[part, *batch, pos]`; the parts sum to `total`.
    public let values: Tensor
    /// The logit (or difference) itself, before any cap: `[*batch, pos]`.
    public let total: Tensor
    public let answers: AnswerTokens

    public var tensors: [LabelledTensor] { [LabelledTensor("attribution", values, labels), LabelledTensor("total", total)] }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        func tokens(_ ids: [Int]) throws -> JSON { .array(try ids.map { ["token": .int($0), "text": .string(try token($0))] }) }
        return [
            "unit": .string(unit.rawValue), "correct": try tokens(answers.correct), "incorrect": try answers.incorrect.map(tokens) ?? .null,
            "total": try total.json,
            "parts": .array(try labels.enumerated().map { ["label": .string($1), "values": try values.at(.at($0)).json] }),
        ]
    }

    /// Parts by their mean over rows and positions, largest absolute value first.
    public func ranked() throws -> [(label: String, mean: Double)] {
        let means = try labels.indices.map { part in try Double(values.at(.at(part)).mean()) }
        return zip(labels, means).map { (label: $0, mean: $1) }.sorted { abs($0.mean) > abs($1.mean) }
    }
}

extension ActivationCache {
    /// Direct logit attribution over a cached run.
    ///
    /// - Parameters:
    ///   - answers: the token whose logit is taken apart, and the one it is compared with: for all rows, or row by row.
    ///   - posSlice: the positions at which; the last by default.
    /// - Returns: values `[part, *batch, pos]`, the position axis gone if `posSlice` is one place.
    /// - Throws: `LensError(.name)` for activations that are not cached (`all` is enough), `(.shape)` for answers that do not fit the
    ///   batch, `(.usage)` for tokens that the model does not put out.
    public func directLogitAttribution(in model: some HasTransformer, by unit: AttributionUnit = .component, answers: AnswerTokens,
                                       posSlice: AxisSlice = -1) throws -> Attribution {
        let model = model.model
        guard hasBatchDim else {
            let direction = try model.logitDirection(answers.pair(0, of: 1))
            let (values, labels) = try attributed(model, unit, direction, posSlice)
            return Attribution(unit: unit, labels: labels, values: values, total: try values.summed(axis: 0), answers: answers)
        }
        let rows = try stream(model.config.nLayers, model).shape[0]
        var stacks: [Tensor] = [], labels: [String] = []
        for row in 0..<rows {
            let part = try attributed(model, unit, model.logitDirection(answers.pair(row, of: rows)), posSlice, row: row)
            stacks.append(part.stack)
            labels = part.labels
        }
        // [row, part, …] turned.
        let values = try Tensor.stacked(stacks).movingAxis(0, to: 1).contiguous()
        return Attribution(unit: unit, labels: labels, values: values, total: try values.summed(axis: 0), answers: answers)
    }

    /// Parts of one row in one direction: `[part, (pos)]`.
    private func attributed(_ model: Transformer, _ unit: AttributionUnit, _ direction: (vector: Tensor, constant: Float), _ posSlice: AxisSlice,
                            row: Int? = nil) throws -> Labeled {
        let cache = try row.map { try applySliceToBatchDim(.at($0)) } ?? self
        var (stack, labels): Labeled
        switch unit {
        case .component, .layer:
            (stack, labels) = try cache.decomposeResid(in: model, applyLn: true, posSlice: posSlice)
            stack = try stack.matmul(direction.vector)
            if unit == .layer { (stack, labels) = try byLayer(stack, labels) }
        case .head, .neuron:
            (stack, labels) = try cache.getFullResidDecomposition(in: model, expandNeurons: unit == .neuron, applyLn: true, posSlice: posSlice,
                                                                  projectOutputOnto: direction.vector)
        }
        let constant = Tensor(repeating: direction.constant, shape: [1] + stack.shape.dropFirst())
        return (try Tensor.concatenated([stack, constant]), labels + ["unembed_bias"])
    }

    /// Sublayers of a layer, `3_attn_out` and `3_mlp_out`, as one, `L3`.
    private func byLayer(_ stack: Tensor, _ labels: [String]) throws -> Labeled {
        let names = labels.map { label in Int(label.prefix { $0 != "_" }).map { "L\($0)" } ?? label }
        var order: [String] = [], parts: [String: Tensor] = [:]
        for (place, name) in names.enumerated() {
            let part = try stack.at(.at(place))
            if let sum = parts[name] { parts[name] = try sum + part } else {
                parts[name] = part
                order.append(name)
            }
        }
        return (try Tensor.stacked(order.compactMap { parts[$0] }), order)
    }
}

extension Transformer {
    /// What the normalised residual stream (before the final norm's weight) is multiplied by for a logit or a difference of two,
    /// `[d_model]`, and what is added to that.
    func logitDirection(_ pair: (correct: Int, incorrect: Int?)) throws -> (vector: Tensor, constant: Float) {
        func part(_ token: Int) throws -> (Tensor, Float) {
            let column = try tokenToResidualDirection(token)
            var constant = try parameters["unembed.b_U"].at(.at(token)).item(), vector = column
            if let norm = config.finalNorm {
                if let bias = try normWeight("ln_final.b", norm) { constant += try bias.matmul(column).item() }
                if let weight = try normWeight("ln_final.w", norm) { vector = try column * weight }
            }
            return (vector, constant)
        }
        let (vector, constant) = try part(pair.correct)
        guard let incorrect = pair.incorrect else { return (vector, constant) }
        let (otherVector, otherConstant) = try part(incorrect)
        return (try vector - otherVector, constant - otherConstant)
    }
}
