// Which tokens of the input a number comes from: gradients with respect to the token embeddings (Simonyan et al., 2013; Shrikumar
// et al., 2016; Sundararajan et al., 2017).

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// How input tokens are attributed to.
public enum InputAttributionMethod: String, Sendable, Hashable, CaseIterable {
    /// The length of the gradient of the token's embedding: how much the metric would move, never negative.
    case gradient
    /// The embedding less the baseline, times the gradient.
    case gradientTimesInput = "gradient-times-input"
    /// Integrated gradients from the baseline.
    case integrated
}

/// What the embedding is compared with.
public enum InputBaseline: Sendable {
    /// Zeros. Norms are steep near them: integrated gradients then need many steps, as the completeness gap tells.
    case zero
    /// The mean of the token embeddings of all tokens' table: what a token is on average.
    case mean
    /// Other tokens' embeddings, `[batch, pos]`: a corrupted prompt, or one of padding.
    case tokens(IntTensor)
    /// Anything that broadcasts to `[batch, pos, d_model]`.
    case embeddings(Tensor)
}

/// A number for each input token.
public struct InputAttribution: AnalysisResult {
    public let method: InputAttributionMethod
    /// `[batch, pos]`
    public let tokens: IntTensor
    /// `[batch, pos]`; 0 at padding.
    public let values: Tensor
    /// The metric of the run: `[]` or `[batch]`.
    public let metric: Tensor
    /// The metric at the baseline, where one was used: `[]` or `[batch]`.
    public let baselineMetric: Tensor?
    /// For integrated gradients: how far the values are from summing to the metric less that at the baseline, `[]` or `[batch]`.
    public let completenessGap: Tensor?

    public var axisLabels: [(axis: String, labels: [String])] { [("pos", (0..<(tokens.shape.last ?? 0)).map { "\($0)" })] }

    public var tensors: [(name: String, tensor: Tensor)] {
        var all = [("attribution", values), ("metric", metric)]
        if let baselineMetric { all.append(("baseline_metric", baselineMetric)) }
        if let completenessGap { all.append(("completeness_gap", completenessGap)) }
        return all
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        let width = tokens.shape.last ?? 0, numbers = values.array
        return ["method": .string(method.rawValue), "metric": try metric.json, "baseline_metric": try baselineMetric?.json ?? .null,
                "completeness_gap": try completenessGap?.json ?? .null,
                "rows": .array(try tokens.rows.enumerated().map { row, ids in
                    .array(try ids.enumerated().map { place, id in
                        ["token": .int(id), "text": .string(try token(id)), "value": .double(Double(numbers[row * width + place]))]
                    })
                })]
    }
}

extension HasTransformer {
    /// How much each input token adds to the metric.
    ///
    /// - Parameters:
    ///   - tokens: `[batch, pos]`.
    ///   - steps: of integrated gradients.
    /// - Throws: `LensError(.shape)` for a baseline that does not fit, what the metric throws.
    public func inputAttribution(_ tokens: IntTensor, metric: GradientMetric, method: InputAttributionMethod = .integrated,
                                 baseline: InputBaseline = .zero, steps: Int = 20, rule: IntegrationRule = .midpoint,
                                 attentionMask: IntTensor? = nil, options: AttributionOptions = AttributionOptions()) throws -> InputAttribution {
        let model = model, pair = try PromptPair(clean: tokens, corrupted: tokens, attentionMask: attentionMask)
        let name = model.embeddingName
        let runs = GradientRuns(model: model, pair: pair, metric: metric, options: options)
        func masked(_ values: Tensor) throws -> Tensor {
            guard let attentionMask else { return values }
            return try values * attentionMask.floats
        }
        func result(_ elements: Tensor, _ value: Tensor, _ start: Tensor? = nil, gap: Tensor? = nil) throws -> InputAttribution {
            InputAttribution(method: method, tokens: tokens, values: try masked(elements.summed(axis: -1)), metric: value, baselineMetric: start,
                             completenessGap: gap)
        }
        switch method {
        case .gradient:
            let found = try runs.gradients(tokens, of: .names([name]))
            let squares = try found.gradients[name] * found.gradients[name]
            let lengths = try Tensor(squares.summed(axis: -1).array.map { $0.squareRoot() }, shape: tokens.shape)
            return InputAttribution(method: method, tokens: tokens, values: try masked(lengths), metric: found.metric, baselineMetric: nil, completenessGap: nil)
        case .gradientTimesInput:
            let found = try runs.gradients(tokens, of: .names([name]), cache: .names([name]))
            let start = try embeddings(baseline, like: tokens, runs, name)
            let way = try found.cache[name].detached() - start
            return try result(way * found.gradients[name], found.metric)
        case .integrated:
            let start = try embeddings(baseline, like: tokens, runs, name)
            let found = try integratedGradients(tokens, activation: name, baseline: start, metric: metric, steps: steps, rule: rule,
                                                attentionMask: attentionMask, options: options)
            return try result(found.values, found.end, found.start, gap: found.completenessGap)
        }
    }

    /// The baseline's embeddings; they broadcast to `[batch, pos, d_model]`.
    private func embeddings(_ baseline: InputBaseline, like tokens: IntTensor, _ runs: GradientRuns, _ name: String) throws -> Tensor {
        switch baseline {
        case .zero: return Tensor(zeros: [model.config.dModel])
        case .embeddings(let tensor): return tensor.detached()
        case .tokens(let other):
            guard other.shape == tokens.shape else {
                throw LensError(.shape, "baseline tokens do not fit", expected: "\(tokens.shape)", found: "\(other.shape)")
            }
            return try runs.run(other, cache: .names([name])).cache[name].detached()
        case .mean:
            // What the run makes of each token's row, so that scales and norms of the embeddings count.
            let width = max(1, min(model.config.dVocab, tokens.shape[1]))
            var sum = Tensor(zeros: [model.config.dModel])
            for start in stride(from: 0, to: model.config.dVocab, by: width) {
                let ids = Array(start..<min(model.config.dVocab, start + width))
                let run = Transformer.Options(cache: .names([name]), returnType: .none, stopAtLayer: 0)
                sum = try sum + model.run(.tokens(IntTensor(rows: [ids])), run).cache[name].at(0).summed(axis: 0)
            }
            return try sum.scaled(by: 1 / Float(model.config.dVocab))
        }
    }
}

extension Transformer {
    /// Where token embeddings are seen.
    var embeddingName: String {
        (config.traits.contains(.summedEmbedding) ? HookSite.wordEmbed : HookSite.embed).rawValue
    }
}
