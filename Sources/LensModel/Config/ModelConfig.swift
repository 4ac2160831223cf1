// What a transformer is, as data: sizes, and sum types for the mechanisms that differ between families. A family's file
// under LensZoo fills one of these from a `config.json`; a TransformerLens user fills it as `HookedTransformerConfig`.
// It refuses sentinel values: what is not there is nil or its own case.

import LensHooks
import LensTensor

/// The configuration of a model. Names are TransformerLens' in Swift's case.
public struct ModelConfig: Sendable, Hashable {
    // MARK: Sizes
    public var nLayers: Int
    /// Width of the residual stream.
    public var dModel: Int
    /// Positions the model was made for.
    public var nCtx: Int
    public var nHeads: Int
    public var dHead: Int
    /// Heads of keys and values in grouped attention; nil: each head has its own.
    public var nKeyValueHeads: Int?
    public var dVocab: Int
    /// Outputs; usually `dVocab`.
    public var dVocabOut: Int

    // MARK: Mechanisms
    public var norm: Norm?
    /// Where a block's norms, ln1 and ln2, stand.
    public var normPlacement = NormPlacement.onInput
    /// The norm before the unembedding; nil for none.
    public var finalNorm: Norm?
    /// A norm of the token embeddings, before anything is added to them.
    public var embedNorm: Norm?
    /// A norm of what attention and MLP write, before it is added to the residual stream; `norm` then comes before them besides.
    public var outputNorm: Norm?
    /// nil: attention only.
    public var mlp: MLP?
    public var position: Position
    public var attention: Attention
    /// What attention and MLP write is multiplied by this before it is added to the residual stream.
    public var residualScale = 1.0
    /// The MLP reads the block's input, beside attention.
    public var parallelAttnMLP = false
    /// W_U is W_E transposed, and they are kept once.
    public var tiesEmbeddings = false
    /// W_E is what a checkpoint holds times this; tied, W_U transposed times this.
    public var tiedEmbeddingScale = 1.0
    /// What W_U multiplies is multiplied by this first.
    public var unembedScale = 1.0
    /// Width of token embeddings that are projected to d_model, and back before the unembedding; nil: they have d_model.
    public var dEmbed: Int?
    /// Logits are c·tanh(logits / c), where given.
    public var outputSoftcap: Double?
    /// What an encoder like BERT has before and after its blocks; nil for a decoder.
    public var encoderParts: EncoderParts?
    /// The encoder whose output this decoder reads, where it is one of an encoder-decoder.
    public var encoder: EncoderStack?

    // MARK: What it came from
    public var modelName = "custom"
    /// The hub repository whose tokenizer it was trained with, where its configuration names one (TransformerLens' `tokenizer_name`).
    public var tokenizerName: String?
    /// `LlamaForCausalLM`, …; nil for a model of TransformerLens' own.
    public var originalArchitecture: String?
    /// Whether text gets a beginning-of-sequence token unless the caller says otherwise.
    public var defaultPrependBOS = true

    public init(nLayers: Int, dModel: Int, nCtx: Int, nHeads: Int, dHead: Int, nKeyValueHeads: Int? = nil, dVocab: Int,
                dVocabOut: Int? = nil, norm: Norm?, mlp: MLP?, position: Position, attention: Attention) {
        self.nLayers = nLayers
        self.dModel = dModel
        self.nCtx = nCtx
        self.nHeads = nHeads
        self.dHead = dHead
        self.nKeyValueHeads = nKeyValueHeads
        self.dVocab = dVocab
        self.dVocabOut = dVocabOut ?? dVocab
        self.norm = norm
        self.finalNorm = norm
        self.mlp = mlp
        self.position = position
        self.attention = attention
    }

    /// Heads of keys and values.
    public var kvHeads: Int { nKeyValueHeads ?? nHeads }

    /// A norm.
    public struct Norm: Sendable, Hashable {
        public var kind: NormKind
        public var eps: Double
        /// False once weight (and bias) have been folded into the next layer: TransformerLens' `LNPre`, `RMSPre`.
        public var hasWeights: Bool
        /// Whether a checkpoint holds a layer norm's bias; where it does not, it is zero.
        public var hasBias = true

        public init(_ kind: NormKind, eps: Double, hasWeights: Bool = true, hasBias: Bool = true) {
            self.kind = kind
            self.eps = eps
            self.hasWeights = hasWeights
            self.hasBias = hasBias
        }
    }

    /// Where a block's norms stand.
    public enum NormPlacement: String, Sendable, Hashable {
        /// On what attention and MLP read.
        case onInput = "input"
        /// On what they write, before it is added to the residual stream; what they read is the stream itself (OLMo 2).
        case onOutput = "output"
        /// On the sum of the residual stream and what was written (BERT, GPT-1, OPT-350m).
        case onSum = "sum"
    }

    /// The feed-forward layer.
    public struct MLP: Sendable, Hashable {
        /// Neurons.
        public var width: Int
        public var activation: Activation
        public var gate: Gate?
        /// Whether a checkpoint holds biases; where it does not, they are zero.
        public var hasBiases = true
        /// A norm of the neurons, after the activation function: `mlp.ln` of TransformerLens' `solu_ln`.
        public var norm: Norm?
        /// Experts that take the MLP's place, in layers that have them.
        public var experts: Experts?

        public init(width: Int, activation: Activation, gate: Gate? = nil) {
            self.width = width
            self.activation = activation
            self.gate = gate
        }

        /// `activation(x·W_gate) * (x·W_in)`, and where the bias b_in goes.
        public enum Gate: Sendable, Hashable {
            /// Each product has its own bias before they meet (Hugging Face's `mlp_bias`).
            case biasOnEach
            /// b_in is added after they meet (models trained in TransformerLens).
            case biasAfter
        }
    }

    /// How positions enter.
    public enum Position: Sendable, Hashable {
        /// A learned embedding, added to the tokens'.
        case learned
        /// A learned embedding, added to the normalised inputs of queries and keys of every block, not of values (Press et al., 2021).
        case shortformer
        /// Queries and keys are rotated.
        case rotary(Rotary)
        /// Scores fall with the distance between query and key.
        case alibi(ALiBi)
        /// A learned number for each head and range of distances is added to scores.
        case relative(RelativePositions)
        /// They do not.
        case none
    }

    /// Attention's mechanisms.
    public struct Attention: Sendable, Hashable {
        /// Scores are divided by this; √d_head usually, 1 for none.
        public var scale: Double
        /// Scores of layer l are divided by l + 1 besides.
        public var scaleByInverseLayer = false
        public var direction: Direction = .causal
        /// Whether a checkpoint holds biases of the projections; where it does not, they are zero.
        public var hasBiases = true
        /// Layers that see only so far back; nil: none.
        public var window: Window?
        /// A norm of queries and keys, before they are rotated.
        public var qkNorm: Norm?
        /// What one norm of queries or keys is over.
        public var qkNormSpan = QKNormSpan.head
        /// Queries, keys and values are kept within ± this, after any norm of theirs.
        public var clip: Double?
        /// Whether each layer's queries and keys are rotated; repeated over the model's layers.
        public var rotatedLayers = [true]
        /// Rotated queries at positions p from this number on are multiplied by log(p + 1) / log(this) (Qwen 1's log-n scaling).
        public var logScalingFrom: Int?
        /// Scores are c·tanh(scores / c), where given.
        public var softcap: Double?
        /// Whether each head has a score that its pattern is normalised with and that has no value (GPT-OSS): rows then sum to less than 1.
        public var hasSinks = false
        /// The rotation of windowed layers, where it is not the others'.
        public var localRotary: Rotary?

        public init(scale: Double) { self.scale = scale }

        /// Whether a layer's queries and keys are rotated, in a model that rotates any.
        func rotates(_ layer: Int) -> Bool { rotatedLayers.isEmpty || rotatedLayers[layer % rotatedLayers.count] }

        /// A query at position p sees the keys after p - size, its own included.
        public struct Window: Sendable, Hashable {
            public var size: Int
            /// Whether each layer is windowed; repeated over the model's layers.
            public var isLocal: [Bool]

            public init(size: Int, isLocal: [Bool] = [true]) {
                self.size = size
                self.isLocal = isLocal
            }

            /// The window of a layer; nil if it sees everything before it.
            func size(in layer: Int) -> Int? { !isLocal.isEmpty && isLocal[layer % isLocal.count] ? size : nil }
        }

        /// What a norm of queries or keys is over.
        public enum QKNormSpan: String, Sendable, Hashable {
            /// Each head; a weight `[d_head]` is all heads'.
            case head
            /// Each head, with weights of its own: `[head, d_head]`.
            case headWithOwnWeights = "head_with_own_weights"
            /// All heads together: `[head × d_head]`.
            case allHeads = "all_heads"
        }

        public enum Direction: String, Sendable, Hashable { case causal, bidirectional }
    }

    /// What hook sites depend on.
    /// - Parameter layer: nil for those outside blocks.
    public func traits(in layer: Int?) -> Set<ModelTrait> {
        var traits: Set<ModelTrait> = []
        if position == .learned || position == .shortformer { traits.insert(.positionEmbedding) }
        traits.formUnion(encoderTraits)
        if case .rotary = position { traits.insert(.rotary) }
        if norm != nil { traits.insert(.norm) }
        if norm != nil, normPlacement == .onOutput { traits.insert(.normOnOutput) }
        if let mlp {
            traits.insert(.mlp)
            if layer.flatMap({ experts(in: $0) }) == nil {
                traits.insert(.denseMLP)
                if mlp.gate != nil { traits.insert(.gatedMLP) }
                if mlp.norm != nil { traits.insert(.mlpNorm) }
            } else {
                traits.insert(.experts)
                if mlp.experts?.shared != nil { traits.insert(.sharedExpert) }
            }
            if !parallelAttnMLP { traits.insert(.residMid) }
        }
        if kvHeads == nHeads { traits.insert(.ungroupedHeads) }
        if embedNorm != nil { traits.insert(.embedNorm) }
        if attention.qkNorm != nil { traits.insert(.qkNorm) }
        if attention.qkNorm != nil, attention.qkNormSpan == .allHeads { traits.insert(.qkNormOfAllHeads) }
        if outputNorm != nil { traits.insert(.outputNorm) }
        return traits
    }

    /// What sites outside blocks depend on; in blocks, those of layers without experts.
    public var traits: Set<ModelTrait> { traits(in: nil) }

    /// Every point where a hook can be, in firing order.
    public var hookPoints: [HookPoint] { HookPoint.all(hookStacks) }

    /// The norm of what attention and MLP read.
    package var inputNorm: Norm? { normPlacement == .onInput ? norm : nil }

    /// Whether something comes between the product that attention or the MLP ends with and the residual stream.
    var changesWhatIsWritten: Bool { outputNorm != nil || (norm != nil && normPlacement == .onOutput) || residualScale != 1 }

    /// The axes of a site's activations in this model, outermost first.
    public func axes(of site: HookSite) -> [HookAxis] { site.axes(with: traits) }

    /// The size of an axis; nil for those that depend on the input.
    public func size(of axis: HookAxis) -> Int? {
        switch axis {
        case .batch, .pos, .keyPos, .encoderPos, .routed: return nil
        case .head: return nHeads
        case .kvHead: return kvHeads
        case .dHead: return dHead
        case .heads: return nHeads * dHead
        case .kvHeads: return kvHeads * dHead
        case .dModel: return dModel
        case .dMlp: return mlp?.width
        case .expert: return mlp?.experts?.count
        case .expertPerToken: return mlp?.experts?.perToken
        case .dExpert: return mlp?.experts?.width
        case .dShared: return mlp?.experts?.shared?.width
        case .dVocab: return dVocabOut
        case .two: return 2
        case .one: return 1
        }
    }
}
