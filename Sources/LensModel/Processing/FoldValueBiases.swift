// fold_value_biases: the rows of an attention pattern sum to one, so z = pattern·(x·W_V) + b_V, and b_V·W_O may as well be
// part of b_O. Where rows do not sum to one (positions that attend to nothing, which no real token reads) it is not exact, nor with
// attention sinks, which take a part of each row, nor where values are clipped.

/// Folds b_V into b_O.
struct FoldValueBiases: ProcessingStep {
    func obstacle(_ weights: WorkingWeights) throws -> String? {
        if weights.has("blocks.0.attn.sinks") { return "attention sinks take a part of each pattern" }
        return weights.config.attention.clip == nil ? nil : "values are clipped with their biases"
    }

    func rewrite(block: String, _ weights: WorkingWeights) throws {
        let config = weights.config, bias = config.valueName("b", block)
        if try weights.isZero(bias) { return }
        let values = try weights.read(bias).values, group = config.nHeads / config.kvHeads
        // [head, d_head], each group's row repeated for its heads.
        let row = (0..<config.nHeads).flatMap { head in values[head / group * config.dHead..<(head / group + 1) * config.dHead] }
        try weights.addToBias("\(block).attn.b_O", weights.product(of: row, with: "\(block).attn.W_O"))
        try weights.edit(bias) { $0.fill(0) }
    }
}
