// The parameters as the forward pass reaches for them: looked up by name once, when the model is made.

import LensFiles
import LensHooks
import LensTensor

/// Weights of one block.
struct BlockWeights: Sendable {
    let ln1: NormWeights, ln2: NormWeights, ln1Post: NormWeights, ln2Post: NormWeights
    let wQ: PackedMatrix, wK: PackedMatrix, wV: PackedMatrix, wO: PackedMatrix
    let bQ: Tensor?, bK: Tensor?, bV: Tensor?, bO: Tensor?
    let qNorm: NormWeights, kNorm: NormWeights
    let mlp: FeedForwardWeights?
    /// One score for each head: `[head]`.
    let sinks: Tensor?
    /// What heads add to scores by distance; a stack's blocks share it.
    let relative: RelativeBias?
    /// In a decoder that reads an encoder; `ln3` is then the MLP's norm.
    let cross: CrossWeights?
    let ln3: NormWeights
}

/// What follows attention in a block.
enum FeedForwardWeights: Sendable {
    case dense(MLPWeights)
    case experts(ExpertsWeights)
}

/// Weights of one block's cross-attention.
struct CrossWeights: Sendable {
    let wQ: PackedMatrix, wK: PackedMatrix, wV: PackedMatrix, wO: PackedMatrix
    let bQ: Tensor?, bK: Tensor?, bV: Tensor?, bO: Tensor?
}

/// A layer with a bias.
struct LayerWeights: Sendable {
    let w: PackedMatrix, b: Tensor?

    init(_ parameters: Parameters, _ prefix: String) throws {
        w = try parameters.matrix("\(prefix).W")
        b = parameters.tensor("\(prefix).b")
    }
}

/// Weight and bias of a norm, where it has them.
struct NormWeights: Sendable {
    let w: Tensor?, b: Tensor?

    init(w: Tensor?, b: Tensor?) {
        self.w = w
        self.b = b
    }

    init(_ parameters: Parameters, _ prefix: String) {
        w = parameters.tensor("\(prefix).w")
        b = parameters.tensor("\(prefix).b")
    }
}

struct MLPWeights: Sendable {
    let wIn: PackedMatrix, wOut: PackedMatrix, wGate: PackedMatrix?
    let bIn: Tensor?, bOut: Tensor?, bGate: Tensor?
    let norm: NormWeights
    /// The layer's own activation function, where it has learned one.
    var xielu: XIELU?
}

/// All weights of a stack of blocks, with what comes before and after it.
struct Weights: Sendable {
    /// nil when tied: tokens are then gathered from `wU`.
    let wE: EmbeddingTable?
    let embedNorm: NormWeights
    let wPos: EmbeddingTable?
    let wTokenType: EmbeddingTable?
    /// From the width of the embeddings to the model's, and back.
    let embedProjection: PackedMatrix?, unembedProjection: PackedMatrix?
    let blocks: [BlockWeights]
    let lnFinal: NormWeights
    let mlmHead: LayerWeights?, mlmNorm: NormWeights
    let pooler: LayerWeights?, nextSentenceHead: LayerWeights?
    /// nil where the output is not unembedded.
    let wU: PackedMatrix?
    let bU: Tensor?

    /// - Parameter config: the stack's own.
    init(_ parameters: Parameters, _ config: ModelConfig, stack: HookStack = .blocks) throws {
        wE = parameters.table(config.tokenEmbeddingName)
        embedNorm = NormWeights(parameters, "embed.ln")
        wPos = parameters.table("\(config.embeddingPrefix)pos_embed.W_pos")
        wTokenType = parameters.table("embed.token_type_embed.W_token_type")
        embedProjection = try config.dEmbed.map { _ in try parameters.matrix("embed.W_proj") }
        unembedProjection = try config.dEmbed.map { _ in try parameters.matrix("unembed.W_proj") }
        var relative: RelativeBias?
        if case .relative(let positions) = config.position, config.nLayers > 0 {
            let name = "\(stack.rawValue).0.attn.rel_pos_bias.weight"
            guard let weight = parameters.tensor(name) else { throw LensError(.weights, "missing parameter", at: name) }
            relative = try positions.bias(weight, bidirectional: config.attention.direction == .bidirectional)
        }
        blocks = try (0..<config.nLayers).map { try Self.block(parameters, config, "\(stack.rawValue).\($0)", $0, relative) }
        lnFinal = NormWeights(parameters, stack == .blocks ? "ln_final" : "\(stack.rawValue)_final_ln")
        let parts = config.encoderParts
        mlmHead = try parts?.mlmHead.map { _ in try LayerWeights(parameters, "mlm_head") }
        mlmNorm = NormWeights(parameters, "mlm_head.ln")
        pooler = parts?.hasPooler == true ? try LayerWeights(parameters, "pooler") : nil
        nextSentenceHead = parts?.hasNextSentenceHead == true ? try LayerWeights(parameters, "nsp_head") : nil
        wU = config.unembeds ? try parameters.matrix("unembed.W_U") : nil
        bU = parameters.tensor("unembed.b_U")
    }

    /// Logits of what the unembedding is given: `[…, d_model]` to `[…, d_vocab_out]`.
    /// - Throws: `LensError(.usage)` for a model that makes none.
    func logits(ofScaled input: Tensor) throws -> Tensor {
        let (wU, input) = try unembedding(input)
        return try wU.product(input, epilogue: Epilogue(bias: bU)).out
    }

    /// W_U, and what it multiplies.
    func unembedding(_ scaled: Tensor) throws -> (wU: PackedMatrix, input: Tensor) {
        guard let wU else { throw LensError(.usage, "this model has no head that makes logits") }
        return (wU, try unembedProjection?.product(scaled).out ?? scaled)
    }

    /// The same, scaled first as the configuration says.
    func logits(of input: Tensor, _ config: ModelConfig) throws -> Tensor {
        try logits(ofScaled: config.unembedScale == 1 ? input : input.scaled(by: Float(config.unembedScale)))
    }

    private static func block(_ parameters: Parameters, _ config: ModelConfig, _ prefix: String, _ layer: Int,
                              _ relative: RelativeBias?) throws -> BlockWeights {
        /// Biases of heads are kept `[head, d_head]` and added as one row.
        func bias(_ name: String) throws -> Tensor? {
            try parameters.tensor("\(prefix).\(name)").map { try $0.reshaped([$0.count]) }
        }
        let raw = config.nKeyValueHeads == nil ? "" : "_"
        let mlp = try config.mlp.map { mlp -> FeedForwardWeights in
            if let experts = config.experts(in: layer) { return .experts(try ExpertsWeights(parameters, "\(prefix).mlp", experts)) }
            return .dense(MLPWeights(wIn: try parameters.matrix("\(prefix).mlp.W_in"), wOut: try parameters.matrix("\(prefix).mlp.W_out"),
                       wGate: mlp.gate == nil ? nil : try parameters.matrix("\(prefix).mlp.W_gate"),
                       bIn: try bias("mlp.b_in"), bOut: try bias("mlp.b_out"), bGate: try bias("mlp.b_gate"), norm: NormWeights(parameters, "\(prefix).mlp.ln"),
                       xielu: mlp.activation == .xielu ? try XIELU(parameters, "\(prefix).mlp") : nil))
        }
        let cross = try config.encoder.map { _ in
            CrossWeights(wQ: try parameters.matrix("\(prefix).cross_attn.W_Q"), wK: try parameters.matrix("\(prefix).cross_attn.W_K"),
                         wV: try parameters.matrix("\(prefix).cross_attn.W_V"), wO: try parameters.matrix("\(prefix).cross_attn.W_O"),
                         bQ: try bias("cross_attn.b_Q"), bK: try bias("cross_attn.b_K"), bV: try bias("cross_attn.b_V"),
                         bO: try bias("cross_attn.b_O"))
        }
        return BlockWeights(ln1: NormWeights(parameters, "\(prefix).ln1"), ln2: NormWeights(parameters, "\(prefix).ln2"),
                            ln1Post: NormWeights(parameters, "\(prefix).ln1_post"), ln2Post: NormWeights(parameters, "\(prefix).ln2_post"),
                            wQ: try parameters.matrix("\(prefix).attn.W_Q"), wK: try parameters.matrix("\(prefix).attn.\(raw)W_K"),
                            wV: try parameters.matrix("\(prefix).attn.\(raw)W_V"), wO: try parameters.matrix("\(prefix).attn.W_O"),
                            bQ: try bias("attn.b_Q"), bK: try bias("attn.\(raw)b_K"), bV: try bias("attn.\(raw)b_V"),
                            bO: try bias("attn.b_O"), qNorm: NormWeights(parameters, "\(prefix).attn.q_norm"),
                            kNorm: NormWeights(parameters, "\(prefix).attn.k_norm"), mlp: mlp,
                            sinks: parameters.tensor("\(prefix).attn.sinks"),
                            relative: relative, cross: cross, ln3: NormWeights(parameters, "\(prefix).ln3"))
    }
}
