// THE table of hook sites: every place in a forward pass where an activation can be read, edited or cached, in firing
// order, with its axes and the traits a model must have for it to exist. Slicing, batch-dimension removal, name parsing,
// documentation and tests all read these rows. To add a site: a case here, its row below, and one `fire` where the
// value is computed. A block's row serves every stack of blocks (`blocks`, a T5's `encoder` and `decoder`): which one is the
// point's business.

/// An axis of an activation.
public enum HookAxis: String, Sendable, Hashable {
    case batch, pos
    /// Positions of the keys: those in the cache and the new ones.
    case keyPos = "key_pos"
    /// Positions of the encoder's output, which cross-attention reads.
    case encoderPos = "encoder_pos"
    case head
    /// Heads of keys and values: fewer than `head` in grouped attention.
    case kvHead = "kv_head"
    case dHead = "d_head"
    /// All heads side by side.
    case heads = "head*d_head"
    /// All heads of keys and values side by side.
    case kvHeads = "kv_head*d_head"
    case dModel = "d_model"
    case dMlp = "d_mlp"
    case dVocab = "d_vocab"
    case expert
    /// The experts that a token goes to.
    case expertPerToken = "expert_per_token"
    /// The tokens that go to one expert, in order of batch and position: another number in every run.
    case routed
    /// Neurons of an expert.
    case dExpert = "d_expert"
    /// Neurons of the expert that every token goes to.
    case dShared = "d_shared"
    /// Size 2: is, or is not, the next sentence.
    case two = "2"
    /// Size 1.
    case one = "1"
}

/// What a model has, as far as the existence of sites goes.
public enum ModelTrait: Sendable, Hashable, CaseIterable {
    /// Positions are embedded and added to the tokens.
    case positionEmbedding
    /// Queries and keys are rotated.
    case rotary
    /// Blocks begin with norms.
    case norm
    case mlp
    /// The layer's MLP is one, not a mixture of experts.
    case denseMLP
    case gatedMLP
    /// Neurons are normalised after the activation function.
    case mlpNorm
    /// The layer's MLP is a mixture of experts.
    case experts
    /// Besides them there is an expert that every token goes to.
    case sharedExpert
    /// The MLP reads what attention wrote, so there is a residual stream between them.
    case residMid
    /// Every head has its own keys and values.
    case ungroupedHeads
    /// Token embeddings are normalised.
    case embedNorm
    /// Queries and keys are normalised.
    case qkNorm
    /// The norm of queries and keys is one over all heads.
    case qkNormOfAllHeads
    /// A block's norms are on what attention and MLP write, not on what they read.
    case normOnOutput
    /// What attention and MLP write is normalised before it is added.
    case outputNorm
    /// Blocks normalise the sum of the residual stream and what was written, in place of what is read.
    case postNorm
    /// The residual stream is normalised after the last block.
    case finalNorm
    /// Tokens become logits.
    case unembedding
    /// Tokens, positions and kinds of token are embedded, summed and normalised together, as in BERT.
    case summedEmbedding
    case tokenTypes
    /// The output is transformed before it is unembedded.
    case mlmHead
    case pooler
    case nextSentenceHead
    /// The stack is read by another.
    case encoder
    /// The stack reads an encoder's output.
    case crossAttention
}

/// A place where an activation can be read, edited or cached. The raw value is TransformerLens' name, `{i}` the layer, `{e}` the
/// expert; `blocks` stands for the stack.
public enum HookSite: String, Sendable, Hashable, CaseIterable {
    case tokens = "hook_tokens"
    case wordEmbed = "embed.hook_embed"
    case wordPosEmbed = "embed.hook_pos_embed"
    case tokenTypeEmbed = "embed.hook_token_type_embed"
    case embedScale = "embed.ln.hook_scale"
    case embedNormalized = "embed.ln.hook_normalized"
    case embed = "hook_embed"
    case posEmbed = "hook_pos_embed"
    case fullEmbed = "hook_full_embed"
    case residPre = "blocks.{i}.hook_resid_pre"
    case attnIn = "blocks.{i}.hook_attn_in"
    // A (position, head) that an edit of these, or of attnIn, changes is normalised by itself: ln1's sites show, and edit,
    // the shared residual stream, which such a head no longer reads.
    case qInput = "blocks.{i}.hook_q_input"
    case kInput = "blocks.{i}.hook_k_input"
    case vInput = "blocks.{i}.hook_v_input"
    case ln1Scale = "blocks.{i}.ln1.hook_scale"
    case ln1Normalized = "blocks.{i}.ln1.hook_normalized"
    case q = "blocks.{i}.attn.hook_q"
    case k = "blocks.{i}.attn.hook_k"
    case v = "blocks.{i}.attn.hook_v"
    case qNormScale = "blocks.{i}.attn.q_norm.hook_scale"
    case qNormNormalized = "blocks.{i}.attn.q_norm.hook_normalized"
    case kNormScale = "blocks.{i}.attn.k_norm.hook_scale"
    case kNormNormalized = "blocks.{i}.attn.k_norm.hook_normalized"
    case rotQ = "blocks.{i}.attn.hook_rot_q"
    case rotK = "blocks.{i}.attn.hook_rot_k"
    case attnScores = "blocks.{i}.attn.hook_attn_scores"
    case pattern = "blocks.{i}.attn.hook_pattern"
    case z = "blocks.{i}.attn.hook_z"
    case result = "blocks.{i}.attn.hook_result"
    case ln1PostScale = "blocks.{i}.ln1_post.hook_scale"
    case ln1PostNormalized = "blocks.{i}.ln1_post.hook_normalized"
    case attnOut = "blocks.{i}.hook_attn_out"
    case residMid = "blocks.{i}.hook_resid_mid"
    case crossAttnIn = "blocks.{i}.hook_cross_attn_in"
    case mlpIn = "blocks.{i}.hook_mlp_in"
    case ln2Scale = "blocks.{i}.ln2.hook_scale"
    case ln2Normalized = "blocks.{i}.ln2.hook_normalized"
    case crossQ = "blocks.{i}.cross_attn.hook_q"
    // Once computed they are kept: a run that goes on from a key-value cache does not fire them again.
    case crossK = "blocks.{i}.cross_attn.hook_k"
    case crossV = "blocks.{i}.cross_attn.hook_v"
    case crossAttnScores = "blocks.{i}.cross_attn.hook_attn_scores"
    case crossPattern = "blocks.{i}.cross_attn.hook_pattern"
    case crossZ = "blocks.{i}.cross_attn.hook_z"
    case crossResult = "blocks.{i}.cross_attn.hook_result"
    case crossAttnOut = "blocks.{i}.hook_cross_attn_out"
    case residMidCross = "blocks.{i}.hook_resid_mid_cross"
    case ln3Scale = "blocks.{i}.ln3.hook_scale"
    case ln3Normalized = "blocks.{i}.ln3.hook_normalized"
    case expertWeights = "blocks.{i}.mlp.hook_expert_weights"
    case expertIndices = "blocks.{i}.mlp.hook_expert_indices"
    // Here hook_pre is what the gate multiplies, and hook_gate the gate: the other way round than in a dense layer.
    case expertGate = "blocks.{i}.mlp.experts.{e}.hook_gate"
    case expertPre = "blocks.{i}.mlp.experts.{e}.hook_pre"
    case expertPost = "blocks.{i}.mlp.experts.{e}.hook_post"
    case sharedGate = "blocks.{i}.mlp.shared_expert.hook_gate"
    case sharedPre = "blocks.{i}.mlp.shared_expert.hook_pre"
    case sharedPost = "blocks.{i}.mlp.shared_expert.hook_post"
    case mlpPre = "blocks.{i}.mlp.hook_pre"
    case mlpPreLinear = "blocks.{i}.mlp.hook_pre_linear"
    case mlpMid = "blocks.{i}.mlp.hook_mid"
    case mlpNormScale = "blocks.{i}.mlp.ln.hook_scale"
    case mlpNormNormalized = "blocks.{i}.mlp.ln.hook_normalized"
    case mlpPost = "blocks.{i}.mlp.hook_post"
    case ln2PostScale = "blocks.{i}.ln2_post.hook_scale"
    case ln2PostNormalized = "blocks.{i}.ln2_post.hook_normalized"
    case mlpOut = "blocks.{i}.hook_mlp_out"
    case residPost = "blocks.{i}.hook_resid_post"
    case normalizedResidPost = "blocks.{i}.hook_normalized_resid_post"
    case encoderFinalScale = "encoder_final_ln.hook_scale"
    case encoderFinalNormalized = "encoder_final_ln.hook_normalized"
    case decoderFinalScale = "decoder_final_ln.hook_scale"
    case decoderFinalNormalized = "decoder_final_ln.hook_normalized"
    case lnFinalScale = "ln_final.hook_scale"
    case lnFinalNormalized = "ln_final.hook_normalized"
    case poolerOut = "pooler.hook_pooler_out"
    case nextSentenceOut = "nsp_head.hook_nsp_out"
    case mlmScale = "mlm_head.ln.hook_scale"
    case mlmNormalized = "mlm_head.ln.hook_normalized"
    case unembedIn = "unembed.hook_in"
    case unembedOut = "unembed.hook_out"

    /// A row of the table.
    public struct Row: Sendable {
        /// Axes of the activation, outermost first.
        public let axes: [HookAxis]
        /// Traits a model must have.
        public let requires: [ModelTrait]
        /// Traits it must not have: the value then stands elsewhere in the table.
        public let excludes: [ModelTrait]
        /// Costs so much that `all` leaves it out: it exists only where it is named.
        public let isOnDemand: Bool
        /// What it holds, for the documentation.
        public let about: String

        init(_ axes: [HookAxis], needs requires: [ModelTrait] = [], lacks excludes: [ModelTrait] = [], onDemand: Bool = false, _ about: String) {
            self.axes = axes
            self.requires = requires
            self.excludes = excludes
            isOnDemand = onDemand
            self.about = about
        }

        /// Whether a model with these traits has it.
        public func exists(with traits: Set<ModelTrait>) -> Bool {
            traits.isSuperset(of: requires) && traits.isDisjoint(with: excludes)
        }
    }

    /// This site's row.
    public var row: Row {
        switch self {
        case .tokens: Row([.batch, .pos], onDemand: true, "the input tokens")
        case .embedScale: Row([.batch, .pos, .one], needs: [.embedNorm], "what the embeddings' norm divides by")
        case .embedNormalized: Row([.batch, .pos, .dModel], needs: [.embedNorm], "embeddings normalised, before weight and bias")
        case .wordEmbed: Row([.batch, .pos, .dModel], needs: [.summedEmbedding], "token embeddings")
        case .wordPosEmbed: Row([.batch, .pos, .dModel], needs: [.summedEmbedding], "position embeddings")
        case .tokenTypeEmbed: Row([.batch, .pos, .dModel], needs: [.summedEmbedding, .tokenTypes], "embeddings of the kinds of token: first or second sentence")
        case .fullEmbed: Row([.batch, .pos, .dModel], needs: [.summedEmbedding], "the sum of the embeddings, normalised, with weight and bias")
        case .embed: Row([.batch, .pos, .dModel], lacks: [.summedEmbedding], "token embeddings")
        case .posEmbed: Row([.batch, .pos, .dModel], needs: [.positionEmbedding], lacks: [.summedEmbedding], "position embeddings")
        case .residPre: Row([.batch, .pos, .dModel], "residual stream entering the block")
        case .attnIn: Row([.batch, .pos, .head, .dModel], needs: [.ungroupedHeads], lacks: [.postNorm], onDemand: true,
                          "residual stream as each head reads it, before ln1")
        case .qInput: Row([.batch, .pos, .head, .dModel], onDemand: true, "residual stream as each head's queries read it, before ln1 (rows an edit changes are normalised by themselves)")
        case .kInput: Row([.batch, .pos, .kvHead, .dModel], onDemand: true, "residual stream as each head's keys read it, before ln1")
        case .vInput: Row([.batch, .pos, .kvHead, .dModel], onDemand: true, "residual stream as each head's values read it, before ln1")
        case .ln1Scale, .ln2Scale: Row([.batch, .pos, .one], needs: needsOfNorm, "what the norm divides by")
        case .ln1Normalized, .ln2Normalized: Row([.batch, .pos, .dModel], needs: needsOfNorm, "normalised, before weight and bias")
        case .q: Row([.batch, .pos, .head, .dHead], "queries, before rotation")
        case .k: Row([.batch, .pos, .kvHead, .dHead], "keys of the new positions, before rotation")
        case .v: Row([.batch, .pos, .kvHead, .dHead], "values of the new positions")
        case .qNormScale: Row([.batch, .pos, .head, .one], needs: [.qkNorm], "what the queries' norm divides by, head by head")
        case .qNormNormalized: Row([.batch, .pos, .head, .dHead], needs: [.qkNorm], "queries normalised, before the norm's weight")
        case .kNormScale: Row([.batch, .pos, .kvHead, .one], needs: [.qkNorm], "what the keys' norm divides by, head by head")
        case .kNormNormalized: Row([.batch, .pos, .kvHead, .dHead], needs: [.qkNorm], "keys normalised, before the norm's weight")
        case .rotQ: Row([.batch, .pos, .head, .dHead], needs: [.rotary], "rotated queries")
        case .rotK: Row([.batch, .keyPos, .kvHead, .dHead], needs: [.rotary], "rotated keys, cached ones included")
        case .attnScores: Row([.batch, .head, .pos, .keyPos], "attention scores, scaled and masked (-inf)")
        case .pattern: Row([.batch, .head, .pos, .keyPos], "attention pattern")
        case .z: Row([.batch, .pos, .head, .dHead], "values, weighted by the pattern")
        case .result: Row([.batch, .pos, .head, .dModel], onDemand: true, "what each head writes, without b_O")
        case .ln1PostScale: Row([.batch, .pos, .one], needs: [.outputNorm], "what the norm of attention's output divides by")
        case .ln1PostNormalized: Row([.batch, .pos, .dModel], needs: [.outputNorm], "attention's output normalised, before weight and bias")
        case .attnOut: Row([.batch, .pos, .dModel], "what attention adds to the residual stream")
        case .residMid: Row([.batch, .pos, .dModel], needs: [.residMid], "residual stream between attention and MLP")
        case .crossAttnIn: Row([.batch, .pos, .dModel], needs: [.crossAttention], onDemand: true, "residual stream as cross-attention reads it, before ln2")
        case .crossQ: Row([.batch, .pos, .head, .dHead], needs: [.crossAttention], "cross-attention's queries")
        case .crossK: Row([.batch, .encoderPos, .head, .dHead], needs: [.crossAttention], "cross-attention's keys, of the encoder's output")
        case .crossV: Row([.batch, .encoderPos, .head, .dHead], needs: [.crossAttention], "cross-attention's values, of the encoder's output")
        case .crossAttnScores: Row([.batch, .head, .pos, .encoderPos], needs: [.crossAttention], "cross-attention's scores, masked (-inf)")
        case .crossPattern: Row([.batch, .head, .pos, .encoderPos], needs: [.crossAttention], "cross-attention's pattern")
        case .crossZ: Row([.batch, .pos, .head, .dHead], needs: [.crossAttention], "cross-attention's values, weighted by the pattern")
        case .crossResult: Row([.batch, .pos, .head, .dModel], needs: [.crossAttention], onDemand: true, "what each head of cross-attention writes")
        case .crossAttnOut: Row([.batch, .pos, .dModel], needs: [.crossAttention], "what cross-attention adds to the residual stream")
        case .residMidCross: Row([.batch, .pos, .dModel], needs: [.crossAttention], "residual stream between cross-attention and MLP")
        case .ln3Scale: Row([.batch, .pos, .one], needs: [.crossAttention, .norm, .mlp], "what the norm divides by")
        case .ln3Normalized: Row([.batch, .pos, .dModel], needs: [.crossAttention, .norm, .mlp], "normalised, before weight and bias")
        case .mlpIn: Row([.batch, .pos, .dModel], needs: [.mlp], onDemand: true, "residual stream as the MLP reads it, before ln2")
        case .expertWeights: Row([.batch, .pos, .expert], needs: [.experts], "share of each expert: of all of them, before the best are chosen; where the choice comes first, of those, the others 0")
        case .expertIndices: Row([.batch, .pos, .expertPerToken], needs: [.experts], "the experts each token goes to, best first")
        case .expertGate: Row([.routed, .dExpert], needs: [.experts], "the expert's gate, before the activation function, of the tokens that go to it (TransformerLens orders them by choice, then position)")
        case .expertPre: Row([.routed, .dExpert], needs: [.experts], "what the expert's gate multiplies")
        case .expertPost: Row([.routed, .dExpert], needs: [.experts], "the expert's neurons")
        case .sharedGate: Row([.batch, .pos, .dShared], needs: [.sharedExpert], "the shared expert's gate, before the activation function")
        case .sharedPre: Row([.batch, .pos, .dShared], needs: [.sharedExpert], "what the shared expert's gate multiplies")
        case .sharedPost: Row([.batch, .pos, .dShared], needs: [.sharedExpert], "the shared expert's neurons")
        case .mlpPre: Row([.batch, .pos, .dMlp], needs: [.denseMLP], "before the activation function (gated: the gate)")
        case .mlpPreLinear: Row([.batch, .pos, .dMlp], needs: [.gatedMLP], "what the gate multiplies")
        case .mlpMid: Row([.batch, .pos, .dMlp], needs: [.mlpNorm], "after the activation function, before the norm")
        case .mlpNormScale: Row([.batch, .pos, .one], needs: [.mlpNorm], "what the neurons' norm divides by")
        case .mlpNormNormalized: Row([.batch, .pos, .dMlp], needs: [.mlpNorm], "neurons normalised, before weight and bias")
        case .mlpPost: Row([.batch, .pos, .dMlp], needs: [.denseMLP], "after the activation function (and norm): the neurons")
        case .ln2PostScale: Row([.batch, .pos, .one], needs: [.outputNorm, .mlp], "what the norm of the MLP's output divides by")
        case .ln2PostNormalized: Row([.batch, .pos, .dModel], needs: [.outputNorm, .mlp], "the MLP's output normalised, before weight and bias")
        case .mlpOut: Row([.batch, .pos, .dModel], needs: [.mlp], "what the MLP adds to the residual stream")
        case .residPost: Row([.batch, .pos, .dModel], "residual stream leaving the block")
        case .normalizedResidPost: Row([.batch, .pos, .dModel], needs: [.postNorm], "residual stream leaving the block, normalised by ln2: what the next block reads")
        case .encoderFinalScale: Row([.batch, .pos, .one], needs: [.encoder, .finalNorm], "what the encoder's final norm divides by")
        case .encoderFinalNormalized: Row([.batch, .pos, .dModel], needs: [.encoder, .finalNorm], "the encoder's output normalised, before the weight")
        case .decoderFinalScale: Row([.batch, .pos, .one], needs: [.crossAttention, .finalNorm], "what the decoder's final norm divides by")
        case .decoderFinalNormalized: Row([.batch, .pos, .dModel], needs: [.crossAttention, .finalNorm], "normalised, before the weight")
        case .lnFinalScale: Row([.batch, .pos, .one], needs: [.finalNorm], lacks: [.crossAttention, .encoder], "what the final norm divides by")
        case .lnFinalNormalized: Row([.batch, .pos, .dModel], needs: [.finalNorm], lacks: [.crossAttention, .encoder], "normalised, before weight and bias")
        case .poolerOut: Row([.batch, .dModel], needs: [.pooler], "the first position's output, through a layer and tanh")
        case .nextSentenceOut: Row([.batch, .two], needs: [.nextSentenceHead], "logits of: it is the next sentence, it is not")
        case .mlmScale: Row([.batch, .pos, .one], needs: [.mlmHead], "what the masked-language head's norm divides by")
        case .mlmNormalized: Row([.batch, .pos, .dModel], needs: [.mlmHead], "the masked-language head normalised, before weight and bias")
        case .unembedIn: Row([.batch, .pos, .dModel], needs: [.unembedding], "what W_U multiplies")
        case .unembedOut: Row([.batch, .pos, .dVocab], needs: [.unembedding], "logits, before they are capped")
        }
    }

    /// The axes in a model with these traits, outermost first.
    public func axes(with traits: Set<ModelTrait>) -> [HookAxis] {
        guard traits.contains(.qkNormOfAllHeads) else { return row.axes }
        switch self {
        case .qNormScale, .kNormScale: return [.batch, .pos, .one]
        case .qNormNormalized: return [.batch, .pos, .heads]
        case .kNormNormalized: return [.batch, .pos, .kvHeads]
        default: return row.axes
        }
    }

    private var needsOfNorm: [ModelTrait] { self == .ln2Scale || self == .ln2Normalized ? [.norm, .mlp] : [.norm] }

    /// Whether it belongs to a block.
    public var isInBlock: Bool { rawValue.hasPrefix("blocks.") }

    /// Whether it holds numbers that gradients can be taken by, not integers.
    public var isContinuous: Bool { self != .tokens && self != .expertIndices }

    /// Whether each expert of a layer has one.
    public var isPerExpert: Bool { rawValue.hasPrefix(Self.expertPrefix) }
    private static let expertPrefix = "blocks.{i}.mlp.experts.{e}."

    /// The full name, `blocks.3.attn.hook_z` or `blocks.3.mlp.experts.5.hook_post`.
    public func name(stack: HookStack = .blocks, layer: Int? = nil, expert: Int? = nil) -> String {
        guard isInBlock, let layer else { return rawValue }
        guard isPerExpert, let expert else { return "\(stack.rawValue).\(layer)." + rawValue.dropFirst("blocks.{i}.".count) }
        return "\(stack.rawValue).\(layer).mlp.experts.\(expert)." + rawValue.dropFirst(Self.expertPrefix.count)
    }

    /// The axis that positions are sliced on: the queries' if there is one, else the keys'.
    public var positionAxis: Int? { row.axes.firstIndex(of: .pos) ?? row.axes.firstIndex(of: .keyPos) ?? row.axes.firstIndex(of: .encoderPos) }

    /// Where it stands in the table.
    package var index: Int { Self.indices[self] ?? 0 }
    private static let indices = Dictionary(uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })

    /// Sites that fire later than their rows say in models of a trait: norms of what is written, norms of the sum, the MLP after
    /// cross-attention.
    private static let moves: [(trait: ModelTrait, sites: [HookSite], after: HookSite)] = [
        (.normOnOutput, [.ln1Scale, .ln1Normalized], .result), (.normOnOutput, [.ln2Scale, .ln2Normalized], .mlpPost),
        (.postNorm, [.ln1Scale, .ln1Normalized], .mlpIn), (.postNorm, [.ln2Scale, .ln2Normalized], .residPost),
        (.crossAttention, [.mlpIn], .residMidCross),
    ]

    /// The sites of a model with these traits, in firing order.
    public static func firing(with traits: Set<ModelTrait>) -> [HookSite] {
        moved(by: traits).filter { $0.row.exists(with: traits) }
    }

    /// Every site, in the order that a model with these traits would fire them.
    static func moved(by traits: Set<ModelTrait>) -> [HookSite] {
        var sites = allCases
        for move in moves where traits.contains(move.trait) {
            sites.removeAll(where: move.sites.contains)
            if let place = sites.firstIndex(of: move.after) { sites.insert(contentsOf: move.sites, at: place + 1) }
        }
        return sites
    }
}
