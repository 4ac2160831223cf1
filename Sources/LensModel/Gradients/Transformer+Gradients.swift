// A run and the way back: gradients of any scalar made of a run's outputs, at hook sites and of parameters.
//
//     let gradients = try model.runWithGradients(.tokens(tokens), options) { try $0.logits![0, -1, 42] - $0.logits![0, -1, 17] }
//     try gradients.activations["z", 3]                  // [batch, pos, head, d_head]
//     gradients.parameters["blocks.0.attn.W_Q"]          // [head, d_model, d_head]

import LensFiles
import LensHooks
import LensTensor

/// What a run with gradients gives.
public struct Gradients: Sendable {
    /// The scalar that was differentiated: shape `[]` or of one element.
    public let metric: Tensor
    /// The run's own output: the same bits as without gradients.
    public let output: Transformer.Output
    /// The gradient at each site asked for, under the site's name, in firing order. Each is of the activation's shape; zeros
    /// where the metric does not depend on it.
    public let activations: ActivationCache
    /// By TransformerLens' name, in its shape.
    public let parameters: [String: Tensor]

    /// The run's cache, with the gradients after the activations: under the names with `_grad` after them, as TransformerLens'
    /// `incl_bwd` has them.
    public var cache: ActivationCache {
        var both = output.cache
        for (name, gradient) in activations.entries { both.store(name + ActivationCache.gradientSuffix, gradient) }
        return both
    }
}

extension Transformer {
    /// Runs, makes a scalar of the output, and goes back: its gradients at the sites of `options.gradients` and with respect to
    /// `parameters`.
    ///
    /// What nobody asked about is neither kept nor computed; the output has the same bits as without gradients. Hooks that edit
    /// are part of what is differentiated; `Hook.gradient` reads or replaces gradients on the way, `Hook.stopGradient` lets none
    /// through. Where `hook_q_input` and its like split the input of attention, the gradient at ln1's sites is the sum over
    /// queries, keys, values and heads.
    ///
    /// Gradients with respect to an input that is tracked itself (a residual stream, embeddings) come from `run` and
    /// `gradients(of:to:)`.
    /// - Parameter metric: any tensor of one element computed from the output with `Tensor` operations.
    /// - Throws: as `run`; what `metric` throws; `LensError(.shape)` if it gives more than one element; `LensError(.usage)` if
    ///   what it gives depends on nothing asked about, or for a parameter that is not kept as float32.
    public func runWithGradients(_ input: Input, _ options: Options = Options(), parameters filter: ParameterFilter = .none,
                                 of metric: (Output) throws -> Tensor) throws -> Gradients {
        let tracked = try filter.isNone ? nil : parameters.tracking(filter)
        let model = try tracked.map { try Transformer(config: config, parameters: $0.parameters, processing: processing) } ?? self
        let recorder = GradientRecorder(), values = tracked?.values ?? []
        recorder.parameters = values.map(\.value)
        var none: KeyValueCache?
        let output = try model.run(input, options, keyValues: &none, recorder: recorder)
        let scalar = try metric(output)
        let asked = recorder.wantedValues
        guard scalar.isTracked || asked.isEmpty && values.isEmpty else {
            throw LensError(.usage, "the metric depends on nothing whose gradient is asked for", found: "a constant of shape \(scalar.shape)",
                            advice: "compute it from the output with Tensor operations, not from numbers taken out of it")
        }
        let found = try gradients(of: scalar, to: asked + values.map(\.value), hooks: recorder.hooks)
        var activations = ActivationCache(nLayers: config.nLayers, hasGatedMLP: config.mlp?.gate != nil)
        for (at, gradient) in try recorder.gathered(found.prefix(asked.count)) {
            activations.store(at.name, try gradient.positions(options.posSlice, at.site, routed: at.routed, pos: at.positions.count))
        }
        let ofParameters = try zip(values, found.dropFirst(asked.count)).map { ($0.name, try parameters.shaped($1, $0.name)) }
        return Gradients(metric: scalar.detached(), output: output.detached,
                         activations: options.removeBatchDim ? try activations.removingBatchDim() : activations,
                         parameters: Dictionary(uniqueKeysWithValues: ofParameters))
    }
}

extension Transformer.Output {
    /// The same numbers, let go of what they were computed from.
    var detached: Transformer.Output {
        var copy = self
        copy.logits = logits?.detached()
        copy.loss = loss?.detached()
        copy.residual = residual?.detached()
        copy.cache = cache.detached
        return copy
    }
}
