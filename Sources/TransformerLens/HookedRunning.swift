// Running a model on text or tokens: with hooks, with a cache, for logits or a loss, and generating.

import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// A model that can run, with the hooks it carries.
public protocol HookedRunning: HookedModel {
    var model: Transformer { get }
    var tokenizer: Tokenizer? { get }
    /// Hooks every run has, before its own.
    var scopedHooks: [Hook] { get }
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
        let batch = try tokenBatch(input, prependBOS: prependBOS, paddingSide: paddingSide)
        var options = options
        options.hooks = scopedHooks + options.hooks
        if options.attentionMask == nil { options.attentionMask = batch.mask }
        return try model.run(.tokens(batch.tokens), options)
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
    /// - Returns: logits `[batch, pos, d_vocab_out]` (the residual stream `[batch, pos, d_model]` with `stopAtLayer`).
    public func runWithCache(_ input: some ModelInput, namesFilter: ActivationFilter = .all, hooks: [Hook] = [],
                             stopAtLayer: Int? = nil, posSlice: TensorIndex = .all, removeBatchDim: Bool = false,
                             prependBOS: Bool? = nil, paddingSide: PaddingSide = .right) throws -> (Tensor, ActivationCache) {
        let options = Transformer.Options(hooks: hooks, cache: namesFilter, stopAtLayer: stopAtLayer, posSlice: posSlice,
                                          removeBatchDim: removeBatchDim)
        let output = try run(input, options, prependBOS: prependBOS, paddingSide: paddingSide)
        return (try required(output.logits ?? output.residual), output.cache)
    }

    /// Continues a prompt, hooks alive and a key-value cache kept.
    ///
    /// - Parameters:
    ///   - sampling: how tokens are chosen; `.greedy` for the most likely.
    ///   - stopAtEOS: end at the tokenizer's end-of-sequence token.
    /// - Returns: prompt and continuation as text, special tokens left out.
    public func generate(_ prompt: String, maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         prependBOS: Bool? = nil, hooks: [Hook] = []) throws -> String {
        try generate([prompt], maxNewTokens: maxNewTokens, sampling: sampling, stopAtEOS: stopAtEOS, prependBOS: prependBOS,
                     hooks: hooks)[0]
    }

    /// Continues several prompts at once; each row gives what it gives alone.
    public func generate(_ prompts: [String], maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         prependBOS: Bool? = nil, hooks: [Hook] = []) throws -> [String] {
        let rows = try prompts.map { try tokens(of: $0, prependBOS: prependBOS) }
        let new = try generate(tokens: rows, maxNewTokens: maxNewTokens, sampling: sampling, stopAtEOS: stopAtEOS, hooks: hooks)
        return try zip(rows, new).map { try decoded($0 + $1, skipSpecialTokens: true) }
    }

    /// Continues rows of tokens. - Returns: each row's new tokens, the ending one included.
    public func generate(tokens: [[Int]], maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         hooks: [Hook] = [], onTokens: ([Int?]) throws -> Bool = { _ in true }) throws -> [[Int]] {
        let eos = stopAtEOS ? tokenizer?.eosID : nil
        let options = GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, eosTokens: Set([eos].compactMap(\.self)),
                                        hooks: scopedHooks + hooks)
        return try model.generate(tokens, options, onTokens: onTokens)
    }

    private func required(_ tensor: Tensor?) throws -> Tensor {
        guard let tensor else { throw LensError(.usage, "the run returned nothing of that kind") }  // unreachable: it was asked for
        return tensor
    }
}
