// fold_ln: norm(x)·W + b, with the norm's weight w and bias c, is norm₀(x)·(diag(w)·W) + (b + c·W), where norm₀ has neither.
// After a layer norm, whose output has mean zero over d_model, the matrix is centred over d_model besides: what it lost
// met nothing but that zero. The norms that remain are TransformerLens' LNPre and RMSPre.
//
// Norms between a product and the residual stream (`ln1_post`), of heads (`q_norm`) and of embeddings stay as they are.
// Unlike TransformerLens 3.9: gates are centred and take the norm's bias; a final RMS norm in a model of layer norms does
// not have W_U centred (which would not be exact).

/// Folds norms into what reads them.
struct FoldLn: ProcessingStep {
    func obstacle(_ weights: WorkingWeights) throws -> String? {
        let config = weights.config
        if config.norm != nil, config.normPlacement == .onOutput { return "the norms come after what they would be folded into" }
        if weights.has("pos_embed.W_pos"), config.position != .learned { return "positions come between the norms and what reads them" }
        guard config.norm?.kind == .layer, config.norm?.hasWeights == true else { return nil }
        for block in (0..<config.nLayers).map({ "blocks.\($0)" }) {
            for (norm, readers) in weights.readers(block: block) where try !weights.isZero("\(norm).b") {
                // A dense MLP's gate gets a bias (`prepare`).
                if readers.contains(where: { $0.bias == nil && $0.name != "\(block).mlp.W_gate" }) { return "a norm's bias has nowhere to go" }
            }
        }
        return nil
    }

    func prepare(_ weights: WorkingWeights) throws {
        let config = weights.config
        if config.finalNorm?.hasWeights == true { weights.config.untie() }
        // A gate whose product has no bias has no place for the norm's: it gets one, and the bias that is added after the two
        // have met goes on to b_out.
        guard config.mlp?.gate == .biasAfter, config.norm?.kind == .layer, config.norm?.hasWeights == true else { return }
        if try (0..<config.nLayers).contains(where: { try !weights.isZero("blocks.\($0).ln2.b") }) { weights.config.mlp?.gate = .biasOnEach }
    }

    func rewrite(block: String, _ weights: WorkingWeights) throws {
        // The norm of the neurons (`solu_ln`), which W_out reads.
        if let inner = weights.config.mlp?.norm, inner.hasWeights {
            try fold("\(block).mlp.ln", inner, into: [StreamWeight(name: "\(block).mlp.W_out", side: .inputs, bias: "\(block).mlp.b_out")], weights)
        }
        guard let norm = weights.config.norm, norm.hasWeights else { return }
        if weights.original.mlp?.gate == .biasAfter, weights.config.mlp?.gate == .biasOnEach { try moveBiasAfterGate(block, weights) }
        for (prefix, readers) in weights.readers(block: block) { try fold(prefix, norm, into: readers, weights) }
    }

    func rewriteEnds(_ weights: WorkingWeights) throws {
        guard let norm = weights.config.finalNorm, norm.hasWeights else { return }
        let unembedding = StreamWeight(name: "unembed.W_U", side: .inputs, bias: "unembed.b_U", inputScale: weights.config.unembedScale)
        try fold("ln_final", norm, into: [unembedding], weights)
    }

    func conclude(_ config: inout ModelConfig) {
        config.norm?.hasWeights = false
        config.finalNorm?.hasWeights = false
        config.mlp?.norm?.hasWeights = false
    }

    /// `(act(g)·h + b_in)·W_out + b_out` is `act(g)·h·W_out + (b_out + b_in·W_out)`.
    private func moveBiasAfterGate(_ block: String, _ weights: WorkingWeights) throws {
        let bias = "\(block).mlp.b_in"
        if try weights.isZero(bias) { return }
        try weights.addToBias("\(block).mlp.b_out", weights.product(of: weights.read(bias).values, with: "\(block).mlp.W_out"))
        try weights.edit(bias) { $0.fill(0) }
    }

    private func fold(_ prefix: String, _ norm: ModelConfig.Norm, into readers: [StreamWeight], _ weights: WorkingWeights) throws {
        let scale = try weights.read("\(prefix).w").values
        let shift = norm.kind == .layer ? try weights.read("\(prefix).b").values : []
        for reader in readers {
            if let bias = reader.bias, shift.contains(where: { $0 != 0 }) {
                try weights.addToBias(bias, weights.product(of: shift.map { $0 * reader.inputScale }, with: reader.name))
            }
            try weights.scale(reader.name, by: scale)
            if norm.kind == .layer { try weights.center(reader.name, .inputs) }
        }
    }
}
