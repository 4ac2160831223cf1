// Runs with gradients on text or tokens, of models of every kind; and TransformerLens' caches that hold gradients beside activations.
//
//     let found = try model.runWithGradients("The capital of France is", options) { try $0.logits![0, -1, paris] }
//     let (logits, cache) = try model.runWithCache("Hello World", inclBwd: true)      // of the loss
//     try cache["z", 3], cache["z_grad", 3]

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A scalar made of a run's output with `Tensor` operations: what is differentiated.
public typealias Metric = (Transformer.Output) throws -> Tensor

extension HookedRunning {
    /// A run and the gradients of `metric` at the sites of `options.gradients` and with respect to `parameters`
    /// (`Transformer.runWithGradients`).
    /// - Throws: `LensError`; what hooks and `metric` throw.
    public func runWithGradients(_ input: some ModelInput, _ options: Transformer.Options = .init(), parameters: ParameterFilter = .none,
                                 prependBOS: Bool? = nil, paddingSide: PaddingSide = .right, of metric: Metric) throws -> Gradients {
        let (tokens, options) = try prepared(input, options, prependBOS: prependBOS, paddingSide: paddingSide)
        return try model.runWithGradients(tokens, options, parameters: parameters, of: metric)
    }
}

extension HookedEncoding {
    /// A run and the gradients of `metric` at the sites of `options.gradients` and with respect to `parameters`
    /// (`Transformer.runWithGradients`).
    /// - Throws: `LensError`; what hooks and `metric` throw.
    public func runWithGradients(_ input: some ModelInput, _ options: Transformer.Options = .init(), parameters: ParameterFilter = .none,
                                 tokenTypeIds: IntTensor? = nil, attentionMask: IntTensor? = nil, addSpecialTokens: Bool = true,
                                 of metric: Metric) throws -> Gradients {
        let batch = try toTokens(input, addSpecialTokens: addSpecialTokens, truncate: false)
        return try runWithGradients((batch.tokens, tokenTypeIds ?? batch.tokenTypeIds, attentionMask ?? batch.attentionMask), options,
                                    parameters: parameters, of: metric)
    }

    /// The same on what `toTokens` gave.
    public func runWithGradients(_ batch: EncoderTokens, _ options: Transformer.Options = .init(), parameters: ParameterFilter = .none,
                                 of metric: Metric) throws -> Gradients {
        try model.runWithGradients(.tokens(batch.tokens), prepared(batch, options), parameters: parameters, of: metric)
    }
}

extension HookedEncodingDecoding {
    /// A run and the gradients of `metric` at the sites of `options.gradients`, of encoder and decoder, and with respect to
    /// `parameters` (`Transformer.runWithGradients`).
    /// - Throws: `LensError`; what hooks and `metric` throw.
    public func runWithGradients(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, _ options: Transformer.Options = .init(),
                                 parameters: ParameterFilter = .none, attentionMask: IntTensor? = nil, addSpecialTokens: Bool = true,
                                 of metric: Metric) throws -> Gradients {
        let (tokens, options) = try prepared(input, decoderInput: decoderInput, options, attentionMask: attentionMask, addSpecialTokens: addSpecialTokens)
        return try model.runWithGradients(tokens, options, parameters: parameters, of: metric)
    }
}

extension HookedModel {
    /// A run whose cache holds, beside each activation, the gradient of `metric` there, under its name and `_grad`.
    func runWithBackward(_ input: Transformer.Input, _ options: Transformer.Options, _ metric: Metric?) throws -> Transformer.Output {
        var options = options
        options.gradients = options.cache
        if metric == nil { options.returnType = .both }
        let gradients = try model.runWithGradients(input, options) { output in
            if let metric { return try metric(output) }
            return try required(output.loss, "this run has no loss to go back from: give a metric")
        }
        var output = gradients.output
        output.cache = gradients.cache
        return output
    }
}
