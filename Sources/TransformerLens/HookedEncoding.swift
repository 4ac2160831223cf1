// Running an encoder on text, pairs of texts or tokens: vectors, logits, what stands behind masks, whether one sentence
// follows another.

import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// An encoder that can run, with the hooks it carries.
public protocol HookedEncoding: HookedModel {}

/// What an encoder runs on: rows of one length.
public typealias EncoderTokens = (tokens: IntTensor, tokenTypeIds: IntTensor, attentionMask: IntTensor)

/// Whether one sentence follows another, as BERT's next-sentence head has it.
public struct NextSentencePrediction: Sendable, CustomStringConvertible {
    /// Of: it follows; it does not. `[2]`
    public let logits: Tensor
    /// Which is likelier.
    public let isNext: Bool

    /// TransformerLens' words.
    public var description: String { isNext ? "The sentences are sequential" : "The sentences are NOT sequential" }
}

extension HookedEncoding {
    // MARK: Tokens

    /// Tokens of texts with their kinds and mask, each `[batch, pos]`, filled up on the right.
    ///
    /// - Parameters:
    ///   - addSpecialTokens: whether the tokenizer adds its own ([CLS] and [SEP]).
    ///   - truncate: whether to cut rows to the model's context.
    /// - Throws: `LensError(.text)` for text that cannot be converted, `(.usage)` without a tokenizer or for no tokens.
    public func toTokens(_ input: some ModelInput, addSpecialTokens: Bool = true, truncate: Bool = true) throws -> EncoderTokens {
        switch input.modelInput {
        case .texts(let texts): return try batch(texts.map { ($0, nil) }, addSpecialTokens, truncate)
        case .tokens(let rows):
            let (tokens, mask) = try padded(truncate ? rows.map { Array($0.prefix(config.nCtx)) } : rows)
            return (tokens, try IntTensor(Array(repeating: 0, count: tokens.shape[0] * tokens.shape[1]), shape: tokens.shape), mask)
        }
    }

    /// Tokens of pairs of sentences, the second one's of kind 1.
    public func toTokens(pairs: [(String, String)], addSpecialTokens: Bool = true, truncate: Bool = true) throws -> EncoderTokens {
        try batch(pairs.map { ($0.0, $0.1) }, addSpecialTokens, truncate)
    }

    /// Tokens of a pair of sentences, the second one's of kind 1.
    public func toTokens(_ first: String, _ second: String, addSpecialTokens: Bool = true, truncate: Bool = true) throws -> EncoderTokens {
        try toTokens(pairs: [(first, second)], addSpecialTokens: addSpecialTokens, truncate: truncate)
    }

    private func batch(_ texts: [(String, String?)], _ addSpecialTokens: Bool, _ truncate: Bool) throws -> EncoderTokens {
        var tokenizer = try requiredTokenizer()
        tokenizer.truncation = truncate ? Truncation(maxLength: config.nCtx) : nil
        tokenizer.padding = nil
        let encodings = try texts.map { try tokenizer.encoding(text: $0.0, pair: $0.1, addSpecialTokens: addSpecialTokens) }
        // A model that knows one kind of token has it for all.
        let kinds = config.encoderParts?.tokenTypes ?? 1
        let (tokens, mask) = try padded(encodings.map(\.ids))
        return (tokens, try padded(encodings.map { $0.typeIDs.map { min($0, kinds - 1) } }, filler: 0).tokens, mask)
    }

    // MARK: Running

    /// One forward pass, everything about it in `options` (`Transformer.Options`).
    ///
    /// - Parameters:
    ///   - tokenTypeIds: the kind of each token, `[batch, pos]`; nil: the tokenizer's for text, 0 for tokens.
    ///   - attentionMask: 1 for real tokens, `[batch, pos]`; nil: all but what fills up shorter rows.
    /// - Throws: `LensError`; what hooks throw.
    public func run(_ input: some ModelInput, _ options: Transformer.Options = .init(), tokenTypeIds: IntTensor? = nil,
                    attentionMask: IntTensor? = nil, addSpecialTokens: Bool = true) throws -> Transformer.Output {
        let batch = try toTokens(input, addSpecialTokens: addSpecialTokens, truncate: false)
        return try run((batch.tokens, tokenTypeIds ?? batch.tokenTypeIds, attentionMask ?? batch.attentionMask), options)
    }

    /// One forward pass on what `toTokens` gave.
    public func run(_ batch: EncoderTokens, _ options: Transformer.Options = .init()) throws -> Transformer.Output {
        try model.run(.tokens(batch.tokens), prepared(batch, options))
    }

    /// The options of a run with the model's hooks, kinds of tokens and the mask.
    func prepared(_ batch: EncoderTokens, _ options: Transformer.Options) -> Transformer.Options {
        var options = options
        options.hooks = scopedHooks + options.hooks
        options.tokenTypes = options.tokenTypes ?? batch.tokenTypeIds
        options.attentionMask = options.attentionMask ?? batch.attentionMask
        return options
    }

    /// Logits of every token at every position: `[batch, pos, d_vocab]`.
    /// - Throws: `LensError(.usage)` for a model without a masked-language head.
    public func logits(_ input: some ModelInput, tokenTypeIds: IntTensor? = nil, attentionMask: IntTensor? = nil) throws -> Tensor {
        try runWithHooks(input, hooks: [], tokenTypeIds: tokenTypeIds, attentionMask: attentionMask)
    }

    /// The output of the last block: `[batch, pos, d_model]`. What fills up shorter rows has vectors too: leave them out of a
    /// mean (`toTokens` tells the mask).
    public func encoderOutput(_ input: some ModelInput, tokenTypeIds: IntTensor? = nil, attentionMask: IntTensor? = nil) throws -> Tensor {
        try required(run(input, .init(returnType: .none), tokenTypeIds: tokenTypeIds, attentionMask: attentionMask).residual, "the run returned no output")
    }

    /// The first position's output through the pooler: `[batch, d_model]`.
    /// - Throws: `LensError(.name)` for a model without a pooler.
    public func pooledOutput(_ input: some ModelInput, tokenTypeIds: IntTensor? = nil, attentionMask: IntTensor? = nil) throws -> Tensor {
        let options = Transformer.Options(cache: "pooler.hook_pooler_out", returnType: .none)
        return try run(input, options, tokenTypeIds: tokenTypeIds, attentionMask: attentionMask).cache["pooler.hook_pooler_out"]
    }

    /// Logits, with hooks reading and editing activations on the way.
    public func runWithHooks(_ input: some ModelInput, hooks: [Hook], tokenTypeIds: IntTensor? = nil,
                             attentionMask: IntTensor? = nil) throws -> Tensor {
        let output = try run(input, .init(hooks: hooks), tokenTypeIds: tokenTypeIds, attentionMask: attentionMask)
        return try required(output.logits, "this model has no masked-language head: encoderOutput gives its vectors")
    }

    /// Logits (the encoder's output, for a model without a masked-language head) and the activations that `namesFilter`
    /// names (all, unless told).
    /// - Parameter metric: where given, the cache holds its gradient beside each activation, under the name with `_grad` after it
    ///   (TransformerLens' `incl_bwd`; an encoder has no loss of its own).
    public func runWithCache(_ input: some ModelInput, namesFilter: ActivationFilter = .all, hooks: [Hook] = [],
                             posSlice: TensorIndex = .all, removeBatchDim: Bool = false, tokenTypeIds: IntTensor? = nil,
                             attentionMask: IntTensor? = nil, inclBwdOf metric: Metric? = nil) throws -> (Tensor, ActivationCache) {
        let batch = try toTokens(input, truncate: false), tokens = (batch.tokens, tokenTypeIds ?? batch.tokenTypeIds, attentionMask ?? batch.attentionMask)
        let options = prepared(tokens, .init(hooks: hooks, cache: namesFilter, posSlice: posSlice, removeBatchDim: removeBatchDim))
        let output = try metric.map { try runWithBackward(.tokens(batch.tokens), options, $0) } ?? model.run(.tokens(batch.tokens), options)
        return (try required(output.logits ?? output.residual, "the run returned nothing"), output.cache)
    }

    // MARK: Heads

    /// The token that stands for one that is to be guessed.
    /// - Throws: `LensError(.usage)` for a tokenizer without one.
    public var maskToken: Int {
        get throws {
            let tokenizer = try requiredTokenizer()
            let names = [tokenizer.config.maskToken, "[MASK]", "<mask>"].compactMap(\.self)
            guard let id = names.lazy.compactMap(tokenizer.id).first else { throw LensError(.usage, "this tokenizer has no mask token", expected: "[MASK] or <mask>") }
            return id
        }
    }

    /// The likeliest text behind each mask, row by row.
    public func predictions(_ input: some ModelInput, tokenTypeIds: IntTensor? = nil, attentionMask: IntTensor? = nil) throws -> [[String]] {
        let batch = try toTokens(input, truncate: false), mask = try maskToken
        let output = try run((batch.tokens, tokenTypeIds ?? batch.tokenTypeIds, attentionMask ?? batch.attentionMask))
        let logits = try required(output.logits, "this model has no masked-language head: encoderOutput gives its vectors")
        return try batch.tokens.rows.enumerated().map { row, tokens in
            try tokens.indices.filter { tokens[$0] == mask }.map { place in
                let values = try logits.at(.at(row), .at(place)).array
                return try decoded([values.indices.max { (values[$0], $1) < (values[$1], $0) } ?? 0])
            }
        }
    }

    /// Logits of the next-sentence head for pairs of sentences: `[batch, 2]`, of it follows, it does not.
    /// - Throws: `LensError(.name)` for a model without that head.
    public func nextSentenceLogits(pairs: [(String, String)]) throws -> Tensor {
        let options = Transformer.Options(cache: "nsp_head.hook_nsp_out", returnType: .none)
        return try run(toTokens(pairs: pairs), options).cache["nsp_head.hook_nsp_out"]
    }

    /// Whether `second` follows `first` (TransformerLens' `BertNextSentencePrediction`).
    public func predictNextSentence(_ first: String, _ second: String) throws -> NextSentencePrediction {
        let logits = try nextSentenceLogits(pairs: [(first, second)]).at(0), values = logits.array
        return NextSentencePrediction(logits: logits, isNext: values[0] >= values[1])
    }
}
