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

/// A weight, and the side of it that lies along the residual stream.
struct StreamWeight {
    enum Side { case inputs, outputs }
    let name: String
    /// Of W[inputs, outputs], the side of size `d_model`. A row of a table of embeddings is what it takes in.
    let side: Side
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

    /// From here on W_E and W_U are two.
    mutating func untie() {
        tiesEmbeddings = false
        tiedEmbeddingScale = 1
    }
}

extension WorkingWeights {
    /// The norms of a block that come before something, and the weights that read them.
    func readers(block: String) -> [(norm: String, weights: [StreamWeight])] {
        var readers = [("\(block).ln1", [
            StreamWeight(name: "\(block).attn.W_Q", side: .inputs, bias: "\(block).attn.b_Q"),
            StreamWeight(name: config.keyName("W", block), side: .inputs, bias: config.keyName("b", block)),
            StreamWeight(name: config.valueName("W", block), side: .inputs, bias: config.valueName("b", block)),
        ])]
        guard config.mlp != nil else { return readers }
        let dense = ["in", "gate"].map { StreamWeight(name: "\(block).mlp.W_\($0)", side: .inputs, bias: "\(block).mlp.b_\($0)") }
        let routed = ["W_gate", "shared_expert_gate"] + experts(block).flatMap { ["\($0).W_in", "\($0).W_gate"] }
        readers.append(("\(block).ln2", dense.filter { has($0.name) } + linears(block, routed, .inputs)))
        return readers.map { norm, weights in
            (norm, weights.map { StreamWeight(name: $0.name, side: $0.side, bias: $0.bias.flatMap { has($0) ? $0 : nil }) })
        }
    }

    /// The weights and biases of a block that write to the residual stream.
    func writers(block: String) -> [StreamWeight] {
        let plain = ["attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out"].map { StreamWeight(name: "\(block).\($0)", side: .outputs) }
        let routed = linears(block, experts(block).map { "\($0).W_out" }, .outputs)
        return (plain + routed + routed.compactMap(\.bias).map { StreamWeight(name: $0, side: .outputs) }).filter { has($0.name) }
    }

    /// The experts of a block, by their names in its MLP.
    private func experts(_ block: String) -> [String] {
        (0...).lazy.map { "experts.\($0)" }.prefix { self.has("\(block).mlp.\($0).W_in.weight") }
            + (has("\(block).mlp.shared_expert.W_in.weight") ? ["shared_expert"] : [])
    }

    /// Those of an MLP's linear layers that are there.
    private func linears(_ block: String, _ names: [String], _ side: StreamWeight.Side) -> [StreamWeight] {
        names.map { "\(block).mlp.\($0)" }.filter { has("\($0).weight") }
            .map { StreamWeight(name: "\($0).weight", side: side, bias: has("\($0).bias") ? "\($0).bias" : nil) }
    }
}
