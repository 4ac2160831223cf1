// Running an encoder-decoder on text or tokens, and generating: what the decoder writes after its start token, the
// encoder's output and cross-attention's keys and values computed once.

import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// An encoder-decoder that can run, with the hooks it carries.
public protocol HookedEncodingDecoding: HookedModel {}

extension HookedEncodingDecoding {
    // MARK: Tokens

    /// Tokens of what the encoder reads and their mask, each `[batch, pos]`, filled up on the right.
    ///
    /// - Parameters:
    ///   - addSpecialTokens: whether the tokenizer adds its own (`</s>` at the end).
    ///   - truncate: whether to cut rows to what the configuration says the model was made for. Relative positions have no end.
    public func toTokens(_ input: some ModelInput, addSpecialTokens: Bool = true,
                         truncate: Bool = false) throws -> (tokens: IntTensor, attentionMask: IntTensor) {
        let (tokens, mask) = try padded(rows(input, addSpecialTokens: addSpecialTokens, truncate: truncate))
        return (tokens, mask)
    }

    /// Rows of tokens of what the encoder reads, of their own lengths.
    public func rows(_ input: some ModelInput, addSpecialTokens: Bool = true, truncate: Bool = false) throws -> [[Int]] {
        switch input.modelInput {
        case .texts(let texts):
            var tokenizer = try requiredTokenizer()
            tokenizer.truncation = truncate ? Truncation(maxLength: config.nCtx) : nil
            tokenizer.padding = nil
            return try texts.map { try tokenizer.encoding(text: $0, addSpecialTokens: addSpecialTokens).ids }
        case .tokens(let given): return truncate ? given.map { Array($0.prefix(config.nCtx)) } : given
        }
    }

    /// What the decoder's text begins with.
    public var startToken: Int { config.encoder?.startToken ?? 0 }

    /// Rows of the decoder's tokens: tokens as they are given, text after the start token, nothing given the start token alone.
    public func decoderRows(_ input: (any ModelInput)?, batch: Int) throws -> [[Int]] {
        switch input?.modelInput {
        case nil: return Array(repeating: [startToken], count: batch)
        case .tokens(let rows): return rows
        case .texts(let texts):
            let tokenizer = try requiredTokenizer()
            return try texts.map { try [startToken] + tokenizer.encode(text: $0, addSpecialTokens: false) }
        }
    }

    // MARK: Running

    /// One forward pass, everything about it in `options` (`Transformer.Options`). What concerns positions there is about the
    /// decoder's.
    ///
    /// - Parameters:
    ///   - input: what the encoder reads.
    ///   - decoderInput: what the decoder has written: tokens as they are, text after the start token; nil: the start token.
    ///     Rows of different lengths are filled up on the right and masked.
    ///   - attentionMask: 1 for the encoder's real tokens, `[batch, pos]`; nil: all but what fills up shorter rows.
    /// - Throws: `LensError`; what hooks throw.
    public func run(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, _ options: Transformer.Options = .init(),
                    attentionMask: IntTensor? = nil, addSpecialTokens: Bool = true) throws -> Transformer.Output {
        let (tokens, options) = try prepared(input, decoderInput: decoderInput, options, attentionMask: attentionMask, addSpecialTokens: addSpecialTokens)
        return try model.run(tokens, options)
    }

    /// The decoder's tokens of a run, and its options with the model's hooks, what the encoder reads and the masks.
    func prepared(_ input: some ModelInput, decoderInput: (any ModelInput)?, _ options: Transformer.Options, attentionMask: IntTensor?,
                  addSpecialTokens: Bool = true) throws -> (Transformer.Input, Transformer.Options) {
        let read = try toTokens(input, addSpecialTokens: addSpecialTokens)
        let written = try padded(decoderRows(decoderInput, batch: read.tokens.shape[0]))
        var options = options
        options.hooks = scopedHooks + options.hooks
        options.encoderInput = EncoderInput(read.tokens, attentionMask: attentionMask ?? read.attentionMask)
        options.attentionMask = options.attentionMask ?? written.mask
        return (.tokens(written.tokens), options)
    }

    /// Logits of the decoder's next tokens: `[batch, decoder_pos, d_vocab]`.
    public func logits(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, attentionMask: IntTensor? = nil) throws -> Tensor {
        try runWithHooks(input, decoderInput: decoderInput, hooks: [], attentionMask: attentionMask)
    }

    /// The encoder's output after its final norm: `[batch, pos, d_model]`.
    public func encoderOutput(_ input: some ModelInput, hooks: [Hook] = [], attentionMask: IntTensor? = nil) throws -> Tensor {
        let read = try toTokens(input)
        let output = try model.encode(EncoderInput(read.tokens, attentionMask: attentionMask ?? read.attentionMask), .init(hooks: scopedHooks + hooks))
        return try required(output.residual, "the encoder returned nothing")
    }

    /// Logits, with hooks reading and editing activations of encoder and decoder on the way.
    public func runWithHooks(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, hooks: [Hook],
                             attentionMask: IntTensor? = nil) throws -> Tensor {
        try required(run(input, decoderInput: decoderInput, .init(hooks: hooks), attentionMask: attentionMask).logits, "the run returned no logits")
    }

    /// Logits and the activations that `namesFilter` names (all, unless told).
    /// - Parameters:
    ///   - inclBwd: whether the cache holds gradients too, each beside its activation under the name with `_grad` after it.
    ///   - metric: what the gradients are of; nil: the loss of the decoder's tokens.
    public func runWithCache(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, namesFilter: ActivationFilter = .all,
                             hooks: [Hook] = [], posSlice: TensorIndex = .all, removeBatchDim: Bool = false, inclBwd: Bool = false,
                             attentionMask: IntTensor? = nil, of metric: Metric? = nil) throws -> (Tensor, ActivationCache) {
        let (tokens, options) = try prepared(input, decoderInput: decoderInput, .init(hooks: hooks, cache: namesFilter, posSlice: posSlice,
                                                                                      removeBatchDim: removeBatchDim), attentionMask: attentionMask)
        let output = try inclBwd ? runWithBackward(tokens, options, metric) : model.run(tokens, options)
        return (try required(output.logits, "the run returned no logits"), output.cache)
    }

    // MARK: Generating

    /// What the model writes on reading a text, hooks alive and a key-value cache kept.
    ///
    /// - Parameters:
    ///   - decoderInput: how its text begins; nil: at the start token.
    ///   - stopAtEOS: end at a token of `eosTokens`.
    ///   - stopStrings: end after any of these texts.
    /// - Returns: the text written, special tokens left out, with what it was made to begin with.
    public func generate(_ input: String, decoderInput: (any ModelInput)? = nil, maxNewTokens: Int = 10, sampling: Sampling = Sampling(),
                         stopAtEOS: Bool = true, stopStrings: [String] = [], hooks: [Hook] = []) throws -> String {
        try generate([input], decoderInput: decoderInput, maxNewTokens: maxNewTokens, sampling: sampling, stopAtEOS: stopAtEOS,
                     stopStrings: stopStrings, hooks: hooks)[0]
    }

    /// What the model writes on reading each text; each row gives what it gives alone.
    public func generate(_ inputs: [String], decoderInput: (any ModelInput)? = nil, maxNewTokens: Int = 10, sampling: Sampling = Sampling(),
                         stopAtEOS: Bool = true, stopStrings: [String] = [], hooks: [Hook] = []) throws -> [String] {
        try generation(inputs, decoderInput: decoderInput, .init(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks),
                       stopAtEOS: stopAtEOS, stopStrings: stopStrings).texts
    }

    /// What the model writes on reading rows of tokens. - Returns: each row's new tokens, the ending one included.
    /// - Parameter decoderTokens: how each row begins; nil: with the start token.
    public func generate(tokens: [[Int]], decoderTokens: [[Int]]? = nil, maxNewTokens: Int = 10, sampling: Sampling = Sampling(),
                         stopAtEOS: Bool = true, hooks: [Hook] = [], onTokens: ([Int?]) throws -> Bool = { _ in true }) throws -> [[Int]] {
        var options = self.options(GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks), stopAtEOS)
        let read = try padded(tokens)
        options.encoderInput = EncoderInput(read.tokens, attentionMask: read.mask)
        return try model.generate(decoderTokens ?? decoderRows(nil, batch: tokens.count), options, onTokens: onTokens)
    }

    /// What the model writes on reading texts or tokens, and everything `options` asks for: text, tokens, logits,
    /// log-probabilities, captured activations of encoder and decoder, the key-value cache.
    ///
    /// - Parameter onText: told each step's new text of each row; false stops.
    /// - Throws: `LensError(.usage)` for stop strings without a tokenizer, and what `Transformer.generate` throws.
    public func generation(_ input: some ModelInput, decoderInput: (any ModelInput)? = nil, _ options: GenerationOptions = GenerationOptions(),
                           stopAtEOS: Bool = true, stopStrings: [String] = [],
                           onText: ([String]) throws -> Bool = { _ in true }) throws -> TextGeneration {
        let read = try toTokens(input)
        var options = options
        options.encoderInput = EncoderInput(read.tokens, attentionMask: read.attentionMask)
        return try generation(of: decoderRows(decoderInput, batch: read.tokens.shape[0]), options, stopAtEOS: stopAtEOS,
                              stopStrings: stopStrings, onText: onText)
    }
}

extension HookedEncoderDecoder {
    /// What the model writes on reading a text, told as it comes. The first element is the text its own begins with (none at
    /// the start token), then what each step adds, then what was held back of an unfinished character.
    ///
    /// The work runs on a thread of its own; cancelling the reading task stops it before its next block.
    /// - Parameters:
    ///   - decoderInput: how its text begins; nil: at the start token.
    ///   - options: given up by the caller: its hooks run on the stream's thread.
    public func generateStream(_ input: String, decoderInput: String? = nil, _ options: sending GenerationOptions = GenerationOptions(),
                               stopAtEOS: Bool = true, stopStrings: [String] = []) -> AsyncThrowingStream<String, any Error> {
        let model = self
        return detachedStream(options) { options, yield in
            let begins = try model.decoderRows(decoderInput, batch: 1)
            try model.tell(begins[0], yield) { onText in
                try model.generation(input, decoderInput: begins, options, stopAtEOS: stopAtEOS, stopStrings: stopStrings, onText: onText)
            }
        }
    }
}
