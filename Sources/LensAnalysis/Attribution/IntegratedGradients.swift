// Integrated gradients (Sundararajan et al., 2017): the gradient averaged over the straight way from a baseline to the value,
// times the difference. Unlike the gradient at one end, what it attributes sums to what the whole difference does
// (completeness), as far as the steps are many enough: the result says how far they were.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Integrated gradients of an activation.
public struct IntegratedGradients: Sendable {
    /// The activation's full name.
    public let name: String
    /// (value − baseline) · mean gradient, element by element, of the activation's shape.
    public let values: Tensor
    /// The mean gradient itself.
    public let gradient: Tensor
    /// The metric where the activation is the baseline, and where it is the value: `[]` or `[batch]`.
    public let start: Tensor, end: Tensor

    /// How far the attributions are from summing to `end − start`, the difference of the two: `[]` or `[batch]`.
    public var completenessGap: Tensor { get throws { try sums - (end - start) } }

    /// The attributions' sum: `[]` or `[batch]`.
    public var sums: Tensor {
        get throws {
            if end.rank == 0 { return try values.reshaped([values.count]).summed(axis: 0) }
            let batch = values.shape.first ?? 1
            return try values.reshaped([batch, batch == 0 ? 0 : values.count / batch]).summed(axis: -1)
        }
    }
}

extension HasTransformer {
    /// Integrated gradients of one activation of a run on `tokens`, from a baseline to a value; the rest of the run is as it is.
    ///
    /// - Parameters:
    ///   - activation: a shorthand with its layer, or a full name: `resid_pre5`, `blocks.3.attn.hook_z`, `embed`.
    ///   - value, baseline: of the activation's shape, or broadcast to it; value nil: what the run has, baseline nil: zeros. Patching attribution is
    ///     `tokens` of the corrupted prompt, the clean run's activation as value and the corrupted one's as baseline.
    ///   - steps: how many gradients are averaged.
    /// - Throws: `LensError(.name)` for an activation the model has not, `(.shape)` for a value that does not fit it.
    public func integratedGradients(_ tokens: IntTensor, activation: String, value: Tensor? = nil, baseline: Tensor? = nil, metric: GradientMetric,
                                    steps: Int = 20, rule: IntegrationRule = .midpoint, attentionMask: IntTensor? = nil,
                                    options: AttributionOptions = AttributionOptions()) throws -> IntegratedGradients {
        let name = try model.config.hookPoint(named: actName(activation)).name
        let pair = try PromptPair(clean: tokens, corrupted: tokens, attentionMask: attentionMask)
        let runs = GradientRuns(model: model, pair: pair, metric: metric, options: options)
        let own = try runs.run(tokens, cache: .names([name])).cache[name].detached()
        let end = try value.map { try $0.detached().broadcast(to: own.shape).contiguous() } ?? own
        let start = try baseline.map { try $0.detached().broadcast(to: own.shape).contiguous() } ?? Tensor(zeros: own.shape)
        let way = try end - start
        func at(_ share: Double) throws -> Hook {
            let point = share == 1 ? end : share == 0 ? start : try start + way.scaled(by: Float(share))
            return .edit(.names([name])) { activation, _ in activation = point }
        }
        func metricAlone(_ share: Double) throws -> Tensor {
            var with = runs.options
            with.hooks.append(try at(share))
            return try GradientRuns(model: model, pair: pair, metric: metric, options: with).run(tokens).metric
        }
        var sum = Tensor(zeros: own.shape)
        let points = try rule.points(steps)
        for (done, share) in points.enumerated() {
            sum = try sum + runs.gradients(tokens, of: .names([name]), hooks: [at(share)]).gradients[name].detached()
            options.progress?(done + 1, points.count)
        }
        let gradient = try sum.scaled(by: 1 / Float(points.count))
        return IntegratedGradients(name: name, values: try way * gradient, gradient: gradient, start: try metricAlone(0), end: try metricAlone(1))
    }
}
