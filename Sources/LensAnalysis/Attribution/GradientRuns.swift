// The runs under every attribution: a clean and a corrupted prompt, and gradients of the metric taken at one of them, or
// averaged over the way from one to the other.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Where gradients are taken.
public enum GradientPoint: Sendable, Hashable {
    /// In the clean run (Syed et al., 2023): what happens when something becomes corrupted.
    case clean
    /// In the corrupted run (Nanda, 2023; TransformerLens' `attribution_patch`): what happens when something is restored.
    case corrupted
    /// Averaged over runs between the two, whose input (the residual stream entering the first layer) is a mixture of both
    /// (Hanna et al., 2024: EAP-IG on inputs, whose papers use `.right`).
    case integrated(steps: Int, rule: IntegrationRule = .right)
}

/// Which points of the way from 0 to 1 an integral is a mean over.
public enum IntegrationRule: String, Sendable, Hashable, CaseIterable {
    /// k / n for k in 1...n: what the papers use.
    case right
    /// (k − ½) / n: its error falls with n².
    case midpoint

    /// The points, each of weight 1 / steps.
    /// - Throws: `LensError(.usage)` for less than one step.
    public func points(_ steps: Int) throws -> [Double] {
        guard steps >= 1 else { throw LensError(.usage, "steps of an integral", expected: "at least 1", found: "\(steps)") }
        return (1...steps).map { (Double($0) - (self == .right ? 0 : 0.5)) / Double(steps) }
    }
}

/// A clean and a corrupted input of the same shape.
public struct PromptPair: Sendable {
    /// `[batch, pos]`
    public let clean: IntTensor
    /// `[batch, pos]`
    public let corrupted: IntTensor
    /// 1 for real tokens, 0 for padding: `[batch, pos]`, of both; nil: all real.
    public let attentionMask: IntTensor?

    /// - Throws: `LensError(.shape)` if they do not fit each other.
    public init(clean: IntTensor, corrupted: IntTensor, attentionMask: IntTensor? = nil) throws {
        guard clean.rank == 2, clean.shape == corrupted.shape else {
            throw LensError(.shape, "prompts that cannot be compared position by position", expected: "two batches of tokens of one shape, [batch, pos]",
                            found: "\(clean.shape) and \(corrupted.shape)")
        }
        guard attentionMask.map({ $0.shape == clean.shape }) ?? true else {
            throw LensError(.shape, "attention mask", expected: "\(clean.shape)", found: "\(attentionMask?.shape ?? [])")
        }
        self.clean = clean
        self.corrupted = corrupted
        self.attentionMask = attentionMask
    }

    /// Rows.
    public var batch: Int { clean.shape[0] }
}

/// How an attribution is run.
public struct AttributionOptions {
    /// Given to every run, before those of the attribution: `.stopGradient("blocks.*.attn.hook_pattern")` freezes the patterns.
    public var hooks: [Hook] = []
    /// Told after each run how many of how many are done.
    public var progress: ((Int, Int) -> Void)?

    public init(hooks: [Hook] = [], progress: ((Int, Int) -> Void)? = nil) {
        self.hooks = hooks
        self.progress = progress
    }
}

/// Runs of one pair of prompts.
struct GradientRuns {
    let model: Transformer
    let pair: PromptPair
    let metric: GradientMetric
    let options: AttributionOptions

    /// A run without gradients.
    func run(_ tokens: IntTensor, cache: ActivationFilter = .none) throws -> (metric: Tensor, cache: ActivationCache) {
        var run = Transformer.Options(hooks: options.hooks, cache: cache)
        run.attentionMask = pair.attentionMask
        let output = try model.run(.tokens(tokens), run)
        return (try metric(logits(output)).detached(), output.cache)
    }

    /// A run with gradients of the metric (of its sum over examples).
    /// - Parameter hooks: after the caller's own.
    func gradients(_ tokens: IntTensor, of filter: ActivationFilter, hooks: [Hook] = [], cache: ActivationFilter = .none) throws
        -> (gradients: ActivationCache, metric: Tensor, cache: ActivationCache) {
        var run = Transformer.Options(hooks: options.hooks + hooks, cache: cache)
        run.attentionMask = pair.attentionMask
        run.gradients = filter
        var value = Tensor(0)
        let found = try model.runWithGradients(.tokens(tokens), run) { output in
            let metric = try metric(logits(output))
            value = metric.detached()
            return metric.rank == 0 ? metric : try metric.summed(axis: 0)
        }
        return (found.activations, value, found.output.cache)
    }

    private func logits(_ output: Transformer.Output) throws -> Tensor {
        guard let logits = output.logits else { throw LensError(.usage, "the model gave no logits") }
        return logits
    }

    /// The runs in which gradients are taken at `point`: tokens, hooks, and each one's weight in the mean.
    /// - Parameters: the residual stream that enters the first layer of each prompt; only asked for where they are mixed.
    private func points(_ point: GradientPoint, clean: Tensor?, corrupted: Tensor?) throws -> [(tokens: IntTensor, hooks: [Hook], weight: Float)] {
        switch point {
        case .clean: return [(pair.clean, [], 1)]
        case .corrupted: return [(pair.corrupted, [], 1)]
        case .integrated(let steps, let rule):
            guard let clean, let corrupted else { return [] }
            let way = try clean - corrupted
            return try rule.points(steps).map { share in
                let mixture = share == 1 ? clean : try corrupted + way.scaled(by: Float(share))
                return (pair.clean, [.edit(.names([Self.input])) { stream, _ in stream = mixture }], 1 / Float(steps))
            }
        }
    }

    /// The residual stream that enters the first layer.
    static let input = HookSite.residPre.name(layer: 0)

    /// - Throws: `LensError(.usage)` for a model without layers: there is nothing between its embeddings and its logits.
    func checkHasLayers() throws {
        guard model.config.nLayers > 0 else { throw LensError(.usage, "a model without layers has no components to attribute to") }
    }
}

/// What two runs hold, and the gradients between them.
struct PairedRuns {
    /// Activations of the two runs, under their full names.
    let clean: ActivationCache, corrupted: ActivationCache
    /// The metric in each: `[]` or `[batch]`.
    let cleanMetric: Tensor, corruptedMetric: Tensor
    /// Gradients at the point asked for; where it is several runs, their mean.
    let gradients: ActivationCache
}

extension GradientRuns {
    /// Activations and gradients of everything `filter` names: one forward pass of each prompt, and as many forward and backward ones as
    /// the point has runs (at the clean or the corrupted run: two passes forward and one back in all).
    func paired(_ filter: ActivationFilter, at point: GradientPoint) throws -> PairedRuns {
        let total = if case .integrated(let steps, _) = point { steps + 2 } else { 2 }
        var done = 0
        func step<R>(_ body: () throws -> R) rethrows -> R {
            defer {
                done += 1
                options.progress?(done, total)
            }
            return try body()
        }
        /// One of the two prompts, with gradients if they are asked for there.
        func end(_ tokens: IntTensor, _ own: GradientPoint) throws -> (cache: ActivationCache, metric: Tensor, gradients: ActivationCache?) {
            guard point == own else {
                let found = try step { try run(tokens, cache: filter) }
                return (found.cache, found.metric, nil)
            }
            let found = try step { try gradients(tokens, of: filter, cache: filter) }
            return (found.cache, found.metric, found.gradients)
        }
        let clean = try end(pair.clean, .clean), corrupted = try end(pair.corrupted, .corrupted)
        var mean = clean.gradients ?? corrupted.gradients
        if mean == nil {
            for way in try steps(of: point) {
                let found = try step { try gradients(way.tokens, of: filter, hooks: way.hooks).gradients }
                mean = try mean.map { try $0.adding(found, times: way.weight) } ?? found.scaled(by: way.weight)
            }
        }
        return PairedRuns(clean: clean.cache, corrupted: corrupted.cache, cleanMetric: clean.metric, corruptedMetric: corrupted.metric,
                          gradients: mean ?? ActivationCache(nLayers: model.config.nLayers))
    }

    /// The runs of a point; the stream they begin with read from two passes through nothing but the embeddings.
    func steps(of point: GradientPoint) throws -> [(tokens: IntTensor, hooks: [Hook], weight: Float)] {
        guard case .integrated = point else { return try points(point, clean: nil, corrupted: nil) }
        try checkHasLayers()
        func input(_ tokens: IntTensor) throws -> Tensor {
            var run = Transformer.Options(hooks: options.hooks, cache: .names([Self.input]), returnType: .none, stopAtLayer: 1)
            run.attentionMask = pair.attentionMask
            return try model.run(.tokens(tokens), run).cache[Self.input]
        }
        return try points(point, clean: input(pair.clean), corrupted: input(pair.corrupted))
    }
}

extension ActivationCache {
    fileprivate func scaled(by factor: Float) throws -> ActivationCache { try mapped { try $0.scaled(by: factor) } }

    fileprivate func adding(_ other: ActivationCache, times factor: Float) throws -> ActivationCache {
        var result = self
        for (name, tensor) in other.entries { result.store(name, try self[name] + tensor.scaled(by: factor)) }
        return result
    }

    private func mapped(_ body: (Tensor) throws -> Tensor) rethrows -> ActivationCache {
        var result = self
        for (name, tensor) in entries { result.store(name, try body(tensor)) }
        return result
    }
}
