// A model that runs on tokens: configuration, parameters and the run. Immutable and Sendable; hooks are values given to
// a run. Text, files and the hub are other targets' business.

import LensFiles
import LensHooks
import LensTensor

/// A transformer language model on tokens. `HookedTransformer` adds text to it.
public struct Transformer: Sendable {
    public let config: ModelConfig
    public let parameters: Parameters
    /// How the weights were rewritten since they were loaded.
    public let processing: ProcessingRecord
    let weights: Weights
    /// The first of two stacks; nil for models of one.
    let encoder: (config: ModelConfig, weights: Weights)?
    let identity = ModelIdentity()

    public init(config: ModelConfig, parameters: Parameters, processing: ProcessingRecord = ProcessingRecord()) throws {
        try config.validate()
        self.processing = processing
        self.config = config
        self.parameters = parameters
        weights = try Weights(parameters, config, stack: config.encoder == nil ? .blocks : .decoder)
        encoder = try config.encoderConfig.map { ($0, try Weights(parameters, $0, stack: .encoder)) }
    }

    /// From parameters in TransformerLens' names and shapes.
    /// - Throws: `LensError(.weights)` for a missing, unknown or mis-shaped one; `LensError(.config)`.
    public init(config: ModelConfig, parameters: [String: Tensor]) throws {
        try self.init(config: config, parameters: Parameters(tensors: parameters, for: config))
    }

    /// The model with one parameter replaced: `try model.with("blocks.0.attn.W_Q", tensor)`. The rest is shared.
    public func with(_ name: String, _ tensor: Tensor) throws -> Transformer {
        try Transformer(config: config, parameters: parameters.replacing(name, with: tensor), processing: processing)
    }

    // MARK: Running

    /// What a run starts from.
    public enum Input: Sendable {
        /// `[batch, pos]`
        case tokens(IntTensor)
        /// A residual stream entering `startAtLayer`: `[batch, pos, d_model]`, with its tokens if a loss is wanted.
        case residual(Tensor, tokens: IntTensor? = nil)
        /// Token embeddings put in by the caller (what `hook_embed` holds: scaled and normalised, without positions),
        /// `[batch, pos, d_model]`, and tokens `[batch, more]` after them.
        case embeddings(Tensor, then: IntTensor? = nil)
    }

    /// What a run is to return besides its cache.
    public enum ReturnType: String, Sendable, Hashable, CaseIterable { case logits, loss, both, none }

    /// How to run.
    public struct Options {
        public var hooks: [Hook] = []
        /// What the run's `ActivationCache` holds.
        public var cache: ActivationFilter = .none
        public var returnType: ReturnType = .logits
        /// A loss for each position instead of their mean.
        public var lossPerToken = false
        /// 1 for real tokens, 0 for padding or tokens to ignore: `[batch, pos]`; nil: all real.
        public var attentionMask: IntTensor?
        /// The kind of each token (which sentence it is of), `[batch, pos]`, for an encoder with such embeddings; nil: all 0.
        public var tokenTypes: IntTensor?
        /// What the encoder of an encoder-decoder reads. Not read again where a key-value cache holds its output.
        public var encoderInput: EncoderInput?
        /// First layer to run; negative from the end. The input is then a residual stream.
        public var startAtLayer: Int?
        /// First layer not to run; negative from the end. The run then returns the residual stream before it.
        public var stopAtLayer: Int?
        /// Positions the cache keeps, on the position axis of every activation.
        public var posSlice: TensorIndex = .all
        /// Drop the batch axis of the cache (the batch must be 1).
        public var removeBatchDim = false
        /// Logits of the last position only, `[batch, 1, d_vocab_out]`, where nobody looks at the others.
        public var onlyLastLogits = false
        /// Where the prompt ends (`HookContext.promptLength`), padding and cached positions included; nil: all of this pass
        /// is prompt.
        public var promptLength: Int?
        /// The step hooks are told; nil: the cache's number of passes.
        public var step: Int?
        /// Stops the run between blocks, for callers that are no task.
        public var cancellation: Cancellation?
        /// The sites whose gradients a run with gradients returns. `run` itself passes over it.
        public var gradients: ActivationFilter = .none
        /// Whether what blocks compute is not kept for the reverse pass but computed again there, from each block's input: less
        /// memory, one more forward pass, the same bits. Blocks that someone looks into are kept.
        public var recomputesBlocks = false

        public init(hooks: [Hook] = [], cache: ActivationFilter = .none, returnType: ReturnType = .logits,
                    lossPerToken: Bool = false, attentionMask: IntTensor? = nil, startAtLayer: Int? = nil,
                    stopAtLayer: Int? = nil, posSlice: TensorIndex = .all, removeBatchDim: Bool = false) {
            self.hooks = hooks
            self.cache = cache
            self.returnType = returnType
            self.lossPerToken = lossPerToken
            self.attentionMask = attentionMask
            self.startAtLayer = startAtLayer
            self.stopAtLayer = stopAtLayer
            self.posSlice = posSlice
            self.removeBatchDim = removeBatchDim
        }
    }

    /// What a run gives.
    public struct Output: Sendable {
        /// `[batch, pos, d_vocab_out]`, where logits were wanted.
        public var logits: Tensor?
        /// Mean next-token cross-entropy in nats, shape `[]`; or `[batch, pos - 1]` per token.
        public var loss: Tensor?
        /// `[batch, pos, d_model]`: the stream before `stopAtLayer`, where one was given; an encoder's output, where no logits
        /// were wanted.
        public var residual: Tensor?
        public var cache: ActivationCache
    }

    /// One forward pass.
    ///
    /// - Parameter keyValues: positions that came before; the new ones are added to it. nil: none, and none kept.
    /// - Throws: `LensError(.usage)` or `(.shape)` for input that does not fit, `(.name)` for unknown activations,
    ///   `(.cancelled)` when the task is cancelled between blocks, and what hooks throw.
    public func run(_ input: Input, _ options: Options = Options(), keyValues: inout KeyValueCache?) throws -> Output {
        try run(input, options, keyValues: &keyValues, recorder: nil)
    }

    /// The same, with the values of sites whose gradients are asked about given to `recorder`.
    func run(_ input: Input, _ options: Options, keyValues: inout KeyValueCache?, recorder: GradientRecorder?) throws -> Output {
        let plan = try HookPlan(hooks: options.hooks, caching: options.cache, gradients: options.gradients, recorder: recorder,
                                points: config.hookPoints, nLayers: config.nLayers)
        let shape = try checkedShape(input)
        let start = try layerBound(options.startAtLayer, "startAtLayer") ?? 0
        let stop = try layerBound(options.stopAtLayer, "stopAtLayer")
        if options.startAtLayer != nil, !input.isResidual {
            throw LensError(.usage, "startAtLayer needs a residual stream", expected: "[batch, pos, \(config.dModel)]",
                            found: input.tokens == nil ? "embeddings" : "tokens")
        }
        let mask = try checkedMask(options.attentionMask, shape)
        let types = try checkedTokenTypes(options.tokenTypes, shape)
        var held = try checkedCache(keyValues, shape.batch, plan, options)
        let keeps = keyValues != nil, frozen = held.isFrozen ? held : nil, encodedBefore = held.encoded
        let encoderCache = try encode(plan, options, batch: shape.batch, into: &held)
        keyValues = nil
        let before = (count: held.count, recomputable: held.recomputableCount)
        let range = start..<max(start, stop ?? config.nLayers)
        let pass: ForwardPass
        do {
            pass = try ForwardPass(self, stack: config.encoder == nil ? .blocks : .decoder, plan: plan, input, newMask: mask,
                                   isWhole: range == 0..<config.nLayers, taking: &held, keepsKeyValues: keeps, options)
            pass.tokenTypes = types
            if let encoderCache { pass.cache = encoderCache }
        } catch {
            held.undoPass(to: before)
            held.encoded = encodedBefore
            if keeps { keyValues = frozen ?? held }
            throw error
        }
        do {
            let output = try layers(pass, input, range, mask, options, stopped: stop != nil)
            pass.keyValues.dropBehindWindows { plan.wantsAllKeys(in: $0) || !range.contains($0) }
            if keeps { keyValues = frozen ?? pass.keyValues }
            return output
        } catch {
            pass.keyValues.undoPass(to: before)
            pass.keyValues.encoded = encodedBefore
            if keeps { keyValues = frozen ?? pass.keyValues }
            throw error
        }
    }

    func layers(_ pass: ForwardPass, _ input: Input, _ range: Range<Int>, _ mask: [[Bool]], _ options: Options,
                        stopped: Bool) throws -> Output {
        var tokens: IntTensor?
        var stream: Tensor
        switch input {
        case .tokens(let given):
            var given = given
            stream = try pass.embed(&given)
            tokens = given
        case .residual(let residual, let given):
            stream = residual
            tokens = given
        case .embeddings(let embeddings, let then): stream = try pass.embed(embeddings, then: then)
        }
        let onlyLast = wantsOnlyLast(pass, options, stopped: stopped)
        // From the last block's queries on, too, unless someone looks into that block.
        if onlyLast, pass.pos > 1, range.contains(config.nLayers - 1), !pass.plan.touchesBlock(config.nLayers - 1, besidesResidPre: true) {
            pass.narrowingLayer = config.nLayers - 1
        }
        for layer in range {
            if Task.isCancelled || options.cancellation?.isCancelled == true {
                throw LensError(.cancelled, "the run was cancelled", at: "before layer \(layer)")
            }
            stream = try runBlock(pass, layer, stream, mask, options)
        }
        var output = try finish(pass, onlyLast ? stream.at(.all, .from(-1)) : stream, tokens, mask, options, stopped: stopped)
        output.cache = options.removeBatchDim ? try pass.cache.removingBatchDim() : pass.cache
        return output
    }

    /// One forward pass over a whole sequence.
    public func run(_ input: Input, _ options: Options = Options()) throws -> Output {
        var none: KeyValueCache?
        return try run(input, options, keyValues: &none)
    }

    /// Whether only the last position's logits are asked for, and nobody looks at what becomes of the others after the blocks.
    private func wantsOnlyLast(_ pass: ForwardPass, _ options: Options, stopped: Bool) -> Bool {
        options.onlyLastLogits && options.returnType == .logits && !stopped && pass.pos > 0
            && !HookSite.allCases.contains { !$0.isInBlock && $0.index > HookSite.residPost.index && pass.plan.touches($0) }
    }

    private func finish(_ pass: ForwardPass, _ stream: Tensor, _ tokens: IntTensor?, _ mask: [[Bool]], _ options: Options,
                        stopped: Bool) throws -> Output {
        var output = Output(cache: pass.cache)
        if stopped {
            output.residual = stream
            return output
        }
        let normalized = try pass.finalNorm(stream)
        try pass.pooledHeads(normalized)
        if config.kind == .encoder, options.returnType == .none || !config.unembeds { output.residual = normalized }
        // Nothing is returned then, but someone may look at what would have been.
        let isUnembeddingWatched = [HookSite.mlmScale, .mlmNormalized, .unembedIn, .unembedOut].contains { pass.plan.touches($0) }
        guard config.unembeds, options.returnType != .none || isUnembeddingWatched else { return output }
        let logits = try pass.unembed(pass.mlmTransform(normalized))
        if [.logits, .both].contains(options.returnType) { output.logits = logits }
        if [.loss, .both].contains(options.returnType) {
            guard let tokens else {
                throw LensError(.usage, "a loss needs tokens", expected: "the tokens of the residual stream")
            }
            output.loss = try loss(logits, tokens, mask, perToken: options.lossPerToken)
        }
        return output
    }
}
