// The parameters as the forward pass reaches for them: looked up by name once, when the model is made.

import LensTensor

/// Weights of one block.
struct BlockWeights: Sendable {
    let ln1: NormWeights, ln2: NormWeights, ln1Post: NormWeights, ln2Post: NormWeights
    let wQ: PackedMatrix, wK: PackedMatrix, wV: PackedMatrix, wO: PackedMatrix
    let bQ: Tensor?, bK: Tensor?, bV: Tensor?, bO: Tensor?
    let qNorm: NormWeights, kNorm: NormWeights
    let mlp: FeedForwardWeights?
    /// One score for each head.
    let sinks: [Float]?
}

/// What follows attention in a block.
enum FeedForwardWeights: Sendable {
    case dense(MLPWeights)
    case experts(ExpertsWeights)
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

/// All weights of a decoder.
struct Weights: Sendable {
    /// nil when tied: tokens are then gathered from `wU`.
    let wE: EmbeddingTable?
    let embedNorm: NormWeights
    let wPos: EmbeddingTable?
    let blocks: [BlockWeights]
    let lnFinal: NormWeights
    let wU: PackedMatrix
    let bU: Tensor?

    init(_ parameters: Parameters, _ config: ModelConfig) throws {
        wE = parameters.table("embed.W_E")
        embedNorm = NormWeights(parameters, "embed.ln")
        wPos = parameters.table("pos_embed.W_pos")
        blocks = try (0..<config.nLayers).map { try Self.block(parameters, config, "blocks.\($0)", $0) }
        lnFinal = NormWeights(parameters, "ln_final")
        wU = try parameters.matrix("unembed.W_U")
        bU = parameters.tensor("unembed.b_U")
    }

    private static func block(_ parameters: Parameters, _ config: ModelConfig, _ prefix: String, _ layer: Int) throws -> BlockWeights {
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
                       xielu: mlp.activation == .xielu ? XIELU(parameters, "\(prefix).mlp") : nil))
        }
        return BlockWeights(ln1: NormWeights(parameters, "\(prefix).ln1"), ln2: NormWeights(parameters, "\(prefix).ln2"),
                            ln1Post: NormWeights(parameters, "\(prefix).ln1_post"), ln2Post: NormWeights(parameters, "\(prefix).ln2_post"),
                            wQ: try parameters.matrix("\(prefix).attn.W_Q"), wK: try parameters.matrix("\(prefix).attn.\(raw)W_K"),
                            wV: try parameters.matrix("\(prefix).attn.\(raw)W_V"), wO: try parameters.matrix("\(prefix).attn.W_O"),
                            bQ: try bias("attn.b_Q"), bK: try bias("attn.\(raw)b_K"), bV: try bias("attn.\(raw)b_V"),
                            bO: try bias("attn.b_O"), qNorm: NormWeights(parameters, "\(prefix).attn.q_norm"),
                            kNorm: NormWeights(parameters, "\(prefix).attn.k_norm"), mlp: mlp,
                            sinks: parameters.tensor("\(prefix).attn.sinks")?.array)
    }
}
