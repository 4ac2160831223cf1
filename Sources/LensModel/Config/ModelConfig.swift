// What a transformer is, as data: sizes, and sum types for the mechanisms that differ between families. A family's file
// under LensZoo fills one of these from a `config.json`; a TransformerLens user fills it as `HookedTransformerConfig`.
// It refuses sentinel values: what is not there is nil or its own case.

import LensHooks
import LensTensor

/// The configuration of a decoder. Names are TransformerLens' in Swift's case.
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
    /// The MLP reads the block's input, beside attention.
    public var parallelAttnMLP = false
    /// W_U is W_E transposed, and they are kept once.
    public var tiesEmbeddings = false
    /// Tied, W_E is W_U transposed times this.
    public var tiedEmbeddingScale = 1.0
    /// Logits are c·tanh(logits / c), where given.
    public var outputSoftcap: Double?

    // MARK: What it came from
    public var modelName = "custom"
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

        public init(_ kind: NormKind, eps: Double, hasWeights: Bool = true) {
            self.kind = kind
            self.eps = eps
            self.hasWeights = hasWeights
        }
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
        /// A norm of each head's queries and keys, before they are rotated: its weight `[d_head]` is all heads'.
        public var qkNorm: Norm?
        /// Scores are c·tanh(scores / c), where given.
        public var softcap: Double?
        /// Whether each head has a score that its pattern is normalised with and that has no value (GPT-OSS): rows then sum to less than 1.
        public var hasSinks = false
        /// The rotation of windowed layers, where it is not the others'.
        public var localRotary: Rotary?

        public init(scale: Double) { self.scale = scale }

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

        public enum Direction: String, Sendable, Hashable { case causal, bidirectional }
    }

    /// What hook sites depend on.
    /// - Parameter layer: nil for those outside blocks.
    public func traits(in layer: Int?) -> Set<ModelTrait> {
        var traits: Set<ModelTrait> = []
        if position == .learned || position == .shortformer { traits.insert(.positionEmbedding) }
        if case .rotary = position { traits.insert(.rotary) }
        if norm != nil { traits.insert(.norm) }
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
        if outputNorm != nil { traits.insert(.outputNorm) }
        return traits
    }

    /// Every point where a hook can be, in firing order.
    public var hookPoints: [HookPoint] { HookPoint.all(nLayers: nLayers, experts: mlp?.experts?.count ?? 0, traits: traits(in:)) }

    /// The size of an axis; nil for those that depend on the input.
    public func size(of axis: HookAxis) -> Int? {
        switch axis {
        case .batch, .pos, .keyPos, .routed: return nil
        case .head: return nHeads
        case .kvHead: return kvHeads
        case .dHead: return dHead
        case .dModel: return dModel
        case .dMlp: return mlp?.width
        case .expert: return mlp?.experts?.count
        case .expertPerToken: return mlp?.experts?.perToken
        case .dExpert: return mlp?.experts?.width
        case .dShared: return mlp?.experts?.shared?.width
        case .dVocab: return dVocabOut
        case .one: return 1
        }
    }
}
