// Running a model on text or tokens: with hooks, with a cache, for logits or a loss. Generating has a file of its own.

import LensAnalysis
import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// A model that can run, with the hooks it carries.
public protocol HookedRunning: HookedModel {
    var tokenizer: Tokenizer? { get }
    /// Hooks every run has, before its own.
    var scopedHooks: [Hook] { get }
    /// Tokens that end generation: what the model's generation_config.json or config.json says, else the tokenizer's.
    var eosTokens: Set<Int> { get }
}

extension HookedRunning {
    /// One forward pass, everything about it in `options` (`Transformer.Options`).
    ///
    /// Rows of different lengths are padded on `paddingSide` and masked: each gives what it gives alone.
    /// - Parameters:
    ///   - prependBOS: whether text gets a beginning-of-sequence token; nil: the family's rule.
    /// - Throws: `LensError`; what hooks throw.
    public func run(_ input: some ModelInput, _ options: Transformer.Options = .init(), prependBOS: Bool? = nil,
                    paddingSide: PaddingSide = .right) throws -> Transformer.Output {
        let (tokens, options) = try prepared(input, options, prependBOS: prependBOS, paddingSide: paddingSide)
        return try model.run(tokens, options)
    }

    /// The tokens of a run, and its options with the model's hooks and the mask.
    func prepared(_ input: some ModelInput, _ options: Transformer.Options, prependBOS: Bool?,
                  paddingSide: PaddingSide) throws -> (Transformer.Input, Transformer.Options) {
        let batch = try tokenBatch(input, prependBOS: prependBOS, paddingSide: paddingSide)
        var options = options
        options.hooks = scopedHooks + options.hooks
        if options.attentionMask == nil { options.attentionMask = batch.mask }
        return (.tokens(batch.tokens), options)
    }

    /// Logits: `[batch, pos, d_vocab_out]`.
    public func logits(_ input: some ModelInput, prependBOS: Bool? = nil, paddingSide: PaddingSide = .right) throws -> Tensor {
        try required(run(input, prependBOS: prependBOS, paddingSide: paddingSide).logits)
    }

    /// Next-token cross-entropy in nats: the mean, shape `[]`, or `[batch, pos - 1]` per token.
    public func loss(_ input: some ModelInput, perToken: Bool = false, prependBOS: Bool? = nil,
                     paddingSide: PaddingSide = .right) throws -> Tensor {
        let options = Transformer.Options(returnType: .loss, lossPerToken: perToken)
        return try required(run(input, options, prependBOS: prependBOS, paddingSide: paddingSide).loss)
    }

    /// Logits, with hooks reading and editing activations on the way.
    ///
    /// ```swift
    /// let ablated = try model.runWithHooks("Hello World", hooks: [
    ///     .edit("blocks.5.attn.hook_z") { z, at in z[.all, .all, 3] = 0 }
    /// ])
    /// ```
    public func runWithHooks(_ input: some ModelInput, hooks: [Hook], prependBOS: Bool? = nil,
                             paddingSide: PaddingSide = .right) throws -> Tensor {
        try required(run(input, Transformer.Options(hooks: hooks), prependBOS: prependBOS, paddingSide: paddingSide).logits)
    }

    /// Logits and the activations that `namesFilter` names (all, unless told).
    ///
    /// - Parameters:
    ///   - hooks: edits and reads of this run; the cache holds what they leave.
    ///   - posSlice: positions to keep, on the position axis of every activation.
    ///   - removeBatchDim: drop the batch axis of the cache (the batch must be 1).
    ///   - inclBwd: whether the cache holds gradients too, each beside its activation under the name with `_grad` after it.
    ///   - metric: what the gradients are of; nil: the loss.
    /// - Returns: logits `[batch, pos, d_vocab_out]` (the residual stream `[batch, pos, d_model]` with `stopAtLayer`).
    public func runWithCache(_ input: some ModelInput, namesFilter: ActivationFilter = .all, hooks: [Hook] = [],
                             stopAtLayer: Int? = nil, posSlice: TensorIndex = .all, removeBatchDim: Bool = false, inclBwd: Bool = false,
                             prependBOS: Bool? = nil, paddingSide: PaddingSide = .right, of metric: Metric? = nil) throws -> (Tensor, ActivationCache) {
        let (tokens, options) = try prepared(input, Transformer.Options(hooks: hooks, cache: namesFilter, stopAtLayer: stopAtLayer, posSlice: posSlice,
                                                                        removeBatchDim: removeBatchDim), prependBOS: prependBOS, paddingSide: paddingSide)
        let output = try inclBwd ? runWithBackward(tokens, options, metric) : model.run(tokens, options)
        return (try required(output.logits ?? output.residual), output.cache)
    }

    private func required(_ tensor: Tensor?) throws -> Tensor {
        guard let tensor else { throw LensError(.usage, "the run returned nothing of that kind") }  // unreachable: it was asked for
        return tensor
    }
}
