// What encoders and encoder-decoders have beyond blocks, as data: BERT's embeddings and heads, T5's second stack and its
// relative positions.

import LensFiles
import LensHooks
import LensTensor

extension ModelConfig {
    /// What kind of model this is: which of the umbrella's types runs it.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// `HookedTransformer`: tokens to next tokens.
        case decoder
        /// `HookedEncoder`: tokens, seen from both sides, to vectors or to what a mask hides.
        case encoder
        /// `HookedEncoderDecoder`: a text to another.
        case encoderDecoder
    }

    /// What kind of model this is.
    public var kind: Kind { encoder != nil ? .encoderDecoder : encoderParts != nil ? .encoder : .decoder }

    /// What an encoder like BERT has around its blocks. Tokens, positions and kinds of token are embedded, summed, and
    /// normalised by `embedNorm`.
    public struct EncoderParts: Sendable, Hashable {
        /// Kinds of token (first or second sentence); nil where there are none.
        public var tokenTypes: Int?
        /// The head that predicts masked tokens; nil: the output is not unembedded.
        public var mlmHead: MLMHead?
        /// Rows of a checkpoint's position table that stand for no position, before those that do.
        public var unusedPositions = 0
        /// A layer and tanh on the first position's output.
        public var hasPooler = false
        /// Two logits of the pooled output: it is the next sentence, it is not.
        public var hasNextSentenceHead = false

        public init(tokenTypes: Int? = nil, mlmHead: MLMHead? = nil, hasPooler: Bool = false, hasNextSentenceHead: Bool = false) {
            self.tokenTypes = tokenTypes
            self.mlmHead = mlmHead
            self.hasPooler = hasPooler
            self.hasNextSentenceHead = hasNextSentenceHead
        }
    }

    /// A layer, an activation and a norm before the unembedding.
    public struct MLMHead: Sendable, Hashable {
        public var activation: Activation
        public var norm: Norm

        public init(activation: Activation, norm: Norm) {
            self.activation = activation
            self.norm = norm
        }
    }

    /// The encoder of an encoder-decoder: the decoder's sizes and mechanisms, seen from both sides, without cross-attention.
    public struct EncoderStack: Sendable, Hashable {
        public var nLayers: Int
        /// What the decoder's text begins with, before anything is generated.
        public var startToken: Int

        public init(nLayers: Int, startToken: Int = 0) {
            self.nLayers = nLayers
            self.startToken = startToken
        }
    }

    /// Whether blocks normalise the sum of the residual stream and what was written, not what is read.
    var postNorm: Bool { norm != nil && normPlacement == .onSum }

    /// Why no step of weight processing is exact; nil if some may be.
    var processingObstacle: String? {
        if kind != .decoder { return "TransformerLens keeps the weights of encoders as they are" }
        return postNorm ? "its norms do not stand before what reads the residual stream" : nil
    }

    /// Whether the output becomes logits.
    public var unembeds: Bool { encoderParts == nil || encoderParts?.mlmHead != nil }

    /// Positions a sequence can have; nil: any number.
    public var positionLimit: Int? {
        if case .relative = position { return nil }
        return nCtx
    }

    /// The encoder as a configuration of its own; nil for models of one stack.
    var encoderConfig: ModelConfig? {
        guard let encoder else { return nil }
        var config = self
        config.encoder = nil
        config.nLayers = encoder.nLayers
        config.attention.direction = .bidirectional
        return config
    }

    /// Where the token and position embeddings are kept: BERT's have a module of their own.
    var embeddingPrefix: String { encoderParts == nil ? "" : "embed." }

    /// The name of the token embeddings.
    var tokenEmbeddingName: String { embeddingPrefix + "embed.W_E" }

    /// What there is to tell of an encoder, under TransformerLens' names where it has any.
    var encoderFields: [(String, JSON)] {
        var fields: [(String, JSON)] = []
        if let encoder {
            fields += [("n_encoder_layers", .int(encoder.nLayers)), ("decoder_start_token_id", .int(encoder.startToken)),
                       ("tie_word_embeddings", .bool(tiesEmbeddings))]
        }
        if let dEmbed { fields.append(("d_embed", .int(dEmbed))) }
        guard let encoderParts else { return fields }
        return fields + [("token_types", encoderParts.tokenTypes.map(JSON.int) ?? .null), ("mlm_head", .bool(encoderParts.mlmHead != nil)),
                         ("pooler", .bool(encoderParts.hasPooler)), ("nsp_head", .bool(encoderParts.hasNextSentenceHead))]
    }

    // MARK: Hook sites

    /// The traits told here.
    var encoderTraits: Set<ModelTrait> {
        var traits: Set<ModelTrait> = []
        if postNorm { traits.insert(.postNorm) }
        if finalNorm != nil { traits.insert(.finalNorm) }
        if unembeds { traits.insert(.unembedding) }
        if encoder != nil { traits.insert(.crossAttention) }
        guard let encoderParts else { return traits }
        traits.insert(.summedEmbedding)
        if encoderParts.tokenTypes != nil { traits.insert(.tokenTypes) }
        if encoderParts.mlmHead != nil { traits.insert(.mlmHead) }
        if encoderParts.hasPooler { traits.insert(.pooler) }
        if encoderParts.hasNextSentenceHead { traits.insert(.nextSentenceHead) }
        return traits
    }

    /// The stacks in the order in which they run.
    public var hookStacks: [HookStackLayout] {
        guard let encoderConfig else {
            let layerTraits = mlp?.experts == nil ? [] : (0..<nLayers).map { traits(in: $0) }
            return [HookStackLayout(stack: .blocks, nLayers: nLayers, traits: traits, layerTraits: layerTraits, experts: mlp?.experts?.count ?? 0)]
        }
        let encoderTraits = encoderConfig.traits.subtracting([.unembedding]).union([.encoder])
        return [HookStackLayout(stack: .encoder, nLayers: encoderConfig.nLayers, traits: encoderTraits),
                HookStackLayout(stack: .decoder, nLayers: nLayers, traits: traits)]
    }

    // MARK: What does not fit together

    /// - Throws: `LensError(.config)` for a combination no block runs.
    func validateStacks() throws {
        func refuse(_ what: String, at place: String) throws { throw LensError(.config, what, at: place) }
        if case .relative(let positions) = position {
            try positions.validate(bidirectional: attention.direction == .bidirectional || encoder != nil)
        }
        if normPlacement == .onSum, mlp == nil || norm == nil || parallelAttnMLP || outputNorm != nil {
            try refuse("norms of sums need an MLP behind attention, and no other norms", at: "norm_placement")
        }
        if let encoder, !(0...Self.mostLayers).contains(encoder.nLayers) {
            throw LensError(.config, "impossible size", at: "encoder layers", expected: "0...\(Self.mostLayers)", found: "\(encoder.nLayers)")
        }
        if let encoder, !(0..<dVocab).contains(encoder.startToken) {
            throw LensError(.config, "impossible start token", at: "decoder_start_token_id", expected: "0..<\(dVocab)", found: "\(encoder.startToken)")
        }
        if encoder != nil, normPlacement != .onInput || parallelAttnMLP || outputNorm != nil || mlp == nil || nKeyValueHeads != nil || encoderParts != nil {
            try refuse("an encoder-decoder's blocks are pre-norm, ungrouped, with an MLP behind attention", at: "encoder")
        }
        if let dEmbed, !(1...(1 << 30)).contains(dEmbed) {
            throw LensError(.config, "impossible size", at: "word_embed_proj_dim", expected: "1...\(1 << 30)", found: "\(dEmbed)")
        }
        if let types = encoderParts?.tokenTypes, !(1...(1 << 30)).contains(types) {
            throw LensError(.config, "impossible size", at: "type_vocab_size", expected: "1...\(1 << 30)", found: "\(types)")
        }
        if encoderParts?.hasNextSentenceHead == true, encoderParts?.hasPooler == false {
            try refuse("a next-sentence head reads the pooled output", at: "nsp_head")
        }
        if tiesEmbeddings, !unembeds { try refuse("nothing to tie the embeddings to", at: "tie_word_embeddings") }
        guard unembedScale.isFinite, unembedScale != 0 else {
            throw LensError(.config, "impossible unembedding scale", at: "unembed_scale", expected: "a finite number, not 0", found: "\(unembedScale)")
        }
        let norms = [encoderParts?.mlmHead?.norm].compactMap(\.self)
        for norm in norms where !(norm.eps >= 0 && norm.eps.isFinite) {
            throw LensError(.config, "impossible epsilon", at: "mlm_head.ln", expected: "a finite number, at least 0", found: "\(norm.eps)")
        }
    }
}
