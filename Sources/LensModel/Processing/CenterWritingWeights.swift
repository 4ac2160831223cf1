// center_writing_weights: every layer norm first takes the mean over d_model away, so what is written to the residual stream
// may as well have mean zero. Not exact where anything reads the stream without taking its mean away (an RMS norm), or
// where what is written is normalised on its way there.

/// Centres what is written to the residual stream.
struct CenterWritingWeights: ProcessingStep {
    func obstacle(_ weights: WorkingWeights) throws -> String? {
        let config = weights.config
        guard config.norm?.kind == .layer, config.finalNorm?.kind == .layer else {
            return "something other than a layer norm reads the residual stream"
        }
        return config.outputNorm == nil && config.normPlacement == .onInput ? nil : "a norm stands between the weights and the residual stream"
    }

    func prepare(_ weights: WorkingWeights) throws { weights.config.untie() }

    func rewrite(block: String, _ weights: WorkingWeights) throws {
        for writer in weights.writers(block: block) { try weights.center(writer) }
    }

    func rewriteEnds(_ weights: WorkingWeights) throws {
        // A layer norm of the embeddings takes their mean away itself; another norm would notice.
        if weights.config.embedNorm.map({ $0.kind == .layer }) ?? true { try weights.center(StreamWeight(name: "embed.W_E", side: .inputs)) }
        if weights.config.position == .learned { try weights.center(StreamWeight(name: "pos_embed.W_pos", side: .inputs)) }
    }
}
