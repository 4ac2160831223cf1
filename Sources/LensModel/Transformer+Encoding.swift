// Running the encoder of an encoder-decoder, before its decoder or alone; and what its input refuses.

import LensFiles
import LensHooks
import LensTensor

/// What an encoder reads.
public struct EncoderInput: Sendable {
    /// `[batch, pos]`
    public var tokens: IntTensor
    /// 1 for real tokens, 0 for padding: `[batch, pos]`; nil: all real.
    public var attentionMask: IntTensor?

    public init(_ tokens: IntTensor, attentionMask: IntTensor? = nil) {
        self.tokens = tokens
        self.attentionMask = attentionMask
    }
}

extension Transformer {
    /// The encoder of an encoder-decoder alone.
    ///
    /// - Returns: its output after the final norm as `residual`, `[batch, pos, d_model]`, and the cache of its sites.
    /// - Throws: `LensError(.usage)` for a model of another kind or input that does not fit; as `run`.
    public func encode(_ input: EncoderInput, _ options: Options = Options()) throws -> Output {
        guard encoder != nil else { throw LensError(.usage, "this model has no encoder beside its decoder", at: config.modelName) }
        let plan = try HookPlan(hooks: options.hooks, caching: options.cache, points: config.hookPoints, nLayers: config.nLayers)
        var options = options, held = KeyValueCache(for: config, batch: input.tokens.shape.first ?? 0)
        options.encoderInput = input
        let cache = try encode(plan, options, batch: held.batch, into: &held) ?? ActivationCache(nLayers: config.nLayers, hasGatedMLP: config.mlp?.gate != nil)
        return Output(residual: held.encoded?.output, cache: options.removeBatchDim ? try cache.removingBatchDim() : cache)
    }

    /// Runs the encoder of an encoder-decoder, unless the cache holds its output. - Returns: the activations cached; nil if it
    /// did not run.
    func encode(_ plan: HookPlan, _ options: Options, batch: Int, into keyValues: inout KeyValueCache) throws -> ActivationCache? {
        guard let encoder else {
            if options.encoderInput != nil { throw LensError(.usage, "this model has no encoder to read that input", at: config.modelName) }
            return nil
        }
        if keyValues.encoded != nil { return nil }
        guard let input = options.encoderInput else {
            throw LensError(.usage, "an encoder-decoder needs something to encode", expected: "encoder tokens [batch, pos]")
        }
        let shape = try checkedShape(.tokens(input.tokens))
        guard shape.batch == batch else {
            throw LensError(.usage, "encoder and decoder have batches of different sizes", expected: "\(batch) rows to encode", found: "\(shape.batch)")
        }
        let mask = try checkedMask(input.attentionMask, shape)
        var none = KeyValueCache(for: encoder.config, batch: batch)
        let pass = try ForwardPass(self, stack: .encoder, plan: plan, .tokens(input.tokens), newMask: mask, isWhole: true, taking: &none,
                                   keepsKeyValues: false, encoderOptions(options))
        var tokens = input.tokens
        var stream = try pass.embed(&tokens)
        for layer in 0..<encoder.config.nLayers {
            if Task.isCancelled || options.cancellation?.isCancelled == true { throw LensError(.cancelled, "the run was cancelled", at: "before encoder layer \(layer)") }
            stream = try runBlock(pass, layer, stream, mask, options)
        }
        let output = try pass.finalNorm(stream)
        keyValues.encoded = EncodedInput(output: output, isReal: mask, layers: Array(repeating: nil, count: config.nLayers))
        return pass.cache
    }

    /// What of the options is not about the decoder's positions.
    private func encoderOptions(_ options: Options) -> Options {
        var options = options
        options.promptLength = nil
        return options
    }

    /// Kinds of tokens that the model knows.
    func checkedTokenTypes(_ types: IntTensor?, _ shape: (batch: Int, pos: Int)) throws -> IntTensor? {
        guard let types else { return nil }
        guard let count = config.encoderParts?.tokenTypes else {
            if types.array.allSatisfy({ $0 == 0 }) { return nil }
            throw LensError(.usage, "this model knows no kinds of token", at: config.modelName)
        }
        guard types.shape == [shape.batch, shape.pos], types.array.allSatisfy((0..<count).contains) else {
            throw LensError(.usage, "token types", expected: "[\(shape.batch), \(shape.pos)] of 0..<\(count)", found: "shape \(types.shape), \(types.array.max() ?? 0)")
        }
        return types
    }
}
