// What the steps have in common: which matrices read which norm, which weights write to the residual stream. A new component
// (experts, an encoder's layers) is added to these lists, and every step knows it.

import LensFiles

/// One of TransformerLens' steps.
protocol ProcessingStep {
    /// Why it would change what the model computes; nil if it would not.
    func obstacle(_ weights: WorkingWeights) throws -> String?
    /// Makes the configuration what it must be before the weights can be rewritten.
    func prepare(_ weights: WorkingWeights) throws
    /// Rewrites one block.
    func rewrite(block: String, _ weights: WorkingWeights) throws
    /// Rewrites what comes before and after the blocks.
    func rewriteEnds(_ weights: WorkingWeights) throws
    /// What the configuration is once the weights are rewritten.
    func conclude(_ config: inout ModelConfig)
}

extension ProcessingStep {
    func prepare(_ weights: WorkingWeights) throws {}
    func rewrite(block: String, _ weights: WorkingWeights) throws {}
    func rewriteEnds(_ weights: WorkingWeights) throws {}
    func conclude(_ config: inout ModelConfig) {}
}

extension WeightProcessing.Step {
    var implementation: any ProcessingStep {
        switch self {
        case .foldLn: FoldLn()
        case .centerWritingWeights: CenterWritingWeights()
        case .centerUnembed: CenterUnembed()
        case .foldValueBiases: FoldValueBiases()
        case .refactorFactoredAttnMatrices: RefactorFactoredAttnMatrices()
        }
    }
}

/// A weight, and the axis of it that lies along the residual stream.
struct StreamWeight {
    let name: String
    /// The axis of size `d_model`.
    let axis: Int
    /// The bias of the product, where it has one.
    var bias: String?
    /// What the matrix multiplies is multiplied by this first.
    var inputScale = 1.0
}

extension ModelConfig {
    /// `_` before the names of keys' and values' weights in grouped attention.
    private var raw: String { nKeyValueHeads == nil ? "" : "_" }

    func keyName(_ kind: String, _ block: String) -> String { "\(block).attn.\(raw)\(kind)_K" }
    func valueName(_ kind: String, _ block: String) -> String { "\(block).attn.\(raw)\(kind)_V" }

    /// The norms of a block that come before something, and the weights that read them.
    func readers(block: String) -> [(norm: String, weights: [StreamWeight])] {
        var readers = [("\(block).ln1", [
            StreamWeight(name: "\(block).attn.W_Q", axis: 1, bias: "\(block).attn.b_Q"),
            StreamWeight(name: keyName("W", block), axis: 1, bias: keyName("b", block)),
            StreamWeight(name: valueName("W", block), axis: 1, bias: valueName("b", block)),
        ])]
        guard let mlp else { return readers }
        if let experts = experts(of: block) { return readers + [("\(block).ln2", expertReaders(block, experts))] }
        var weights = [StreamWeight(name: "\(block).mlp.W_in", axis: 0, bias: "\(block).mlp.b_in")]
        if let gate = mlp.gate {
            weights.append(StreamWeight(name: "\(block).mlp.W_gate", axis: 0, bias: gate == .biasOnEach ? "\(block).mlp.b_gate" : nil))
        }
        readers.append(("\(block).ln2", weights))
        return readers
    }

    /// The weights and biases of a block that write to the residual stream.
    func writers(block: String) -> [StreamWeight] {
        [StreamWeight(name: "\(block).attn.W_O", axis: 2), StreamWeight(name: "\(block).attn.b_O", axis: 0)]
            + (experts(of: block).map { expertWriters(block, $0) } ?? (mlp == nil ? [] : [StreamWeight(name: "\(block).mlp.W_out", axis: 1), StreamWeight(name: "\(block).mlp.b_out", axis: 0)]))
    }

    /// From here on W_E and W_U are two.
    mutating func untie() {
        tiesEmbeddings = false
        tiedEmbeddingScale = 1
    }
}
