// center_unembed: softmax does not notice a number added to all logits of a position, so W_U and b_U may as well have mean
// zero over the vocabulary. Not exact where the logits are capped: the cap is not linear.

/// Centres the unembedding.
struct CenterUnembed: ProcessingStep {
    func obstacle(_ weights: WorkingWeights) throws -> String? {
        weights.config.outputSoftcap == nil ? nil : "the logits are capped"
    }

    func prepare(_ weights: WorkingWeights) throws { weights.config.untie() }

    func rewriteEnds(_ weights: WorkingWeights) throws {
        try weights.center("unembed.W_U", .outputs)
        if try !weights.isZero("unembed.b_U") { try weights.edit("unembed.b_U") { $0.center(0) } }
    }
}
