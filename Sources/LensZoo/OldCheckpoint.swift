// State dicts of models that TransformerLens has renamed or turned since they were trained: minGPT's names (Othello-GPT), and the
// old SoLU models, with `norm` for `ln` and, in the smaller ones, matrices the other way round (`convert_mingpt_weights` and
// `convert_neel_solu_old_weights` of TransformerLens). Which it is shows in the tensors' names.

import LensFiles
import LensModel
import LensTensor

/// A checkpoint in an older spelling.
enum OldCheckpoint {
    case minGPT, oldSoLU

    /// nil for a state dict under today's names.
    init?(_ tensors: any TensorSource) {
        if tensors.entry("tok_emb.weight") != nil {
            self = .minGPT
        } else if tensors.names.contains(where: { $0.hasPrefix("norm.") || $0.contains(".norm1.") }) {
            self = .oldSoLU
        } else {
            return nil
        }
    }

    /// Layers up to which the old models' position table, and all their matrices, are the other way round.
    private static let turnedPositions = 8, turnedMatrices = 6

    /// Today's parameters, of the layers and positions that are loaded, not yet read.
    /// - Parameter stored: the configuration of what the file holds.
    /// - Throws: `LensError(.weights)` for tensors that are none, or shapes that do not fit.
    func stored(_ tensors: any TensorSource, stored: ModelConfig, for config: ModelConfig) throws -> StoredParameters {
        try stored.validate()
        try stored.checkLayers(against: tensors)
        let storedSpecs = Dictionary(uniqueKeysWithValues: stored.parameterSpecs.map { ($0.name, $0) })
        var sources: [String: String] = [:]
        for source in tensors.names where !source.hasSuffix(".attn.mask") && !source.hasSuffix(".attn.IGNORE") {
            // Its size too, before it is read: a file can say a tensor is larger than any memory.
            let shape = try tensors.requireEntry(source).shape
            guard let name = today(source), let spec = storedSpecs[name], shape.reduce(1, *) == spec.shape.reduce(1, *) else {
                throw LensError(.weights, "unknown parameter", at: "\(tensors.location): \(source)", expected: "a parameter of this configuration",
                                found: "shape \(shape)")
            }
            sources[name] = source
        }
        return config.savedParameters(from: sources, tensors, stored: storedSpecs) { tensor, spec in
            try fitted(tensor, spec, layers: stored.nLayers, at: "\(tensors.location): \(spec.name)")
        }
    }

    /// Today's name of a tensor.
    private func today(_ source: String) -> String? {
        switch self {
        case .oldSoLU:
            let name = source.split(separator: "norm", omittingEmptySubsequences: false).joined(separator: "ln")
            return name.hasPrefix("ln.") ? "ln_final." + name.dropFirst("ln.".count) : name
        case .minGPT:
            if let name = Self.minGPTNames[source] { return name }
            let parts = source.split(separator: ".", maxSplits: 2).map(String.init)
            guard parts.count == 3, parts[0] == "blocks", let rest = Self.minGPTBlockNames[parts[2]] else { return nil }
            return "blocks.\(parts[1]).\(rest)"
        }
    }

    private static let minGPTNames = ["tok_emb.weight": "embed.W_E", "pos_emb": "pos_embed.W_pos", "head.weight": "unembed.W_U", "head.bias": "unembed.b_U",
                                      "ln_f.weight": "ln_final.w", "ln_f.bias": "ln_final.b"]
    private static let minGPTBlockNames = [
        "ln1.weight": "ln1.w", "ln1.bias": "ln1.b", "ln2.weight": "ln2.w", "ln2.bias": "ln2.b", "mlp.0.weight": "mlp.W_in", "mlp.0.bias": "mlp.b_in",
        "mlp.2.weight": "mlp.W_out", "mlp.2.bias": "mlp.b_out", "attn.query.weight": "attn.W_Q", "attn.query.bias": "attn.b_Q",
        "attn.key.weight": "attn.W_K", "attn.key.bias": "attn.b_K", "attn.value.weight": "attn.W_V", "attn.value.bias": "attn.b_V",
        "attn.proj.weight": "attn.W_O", "attn.proj.bias": "attn.b_O",
    ]

    /// The tensor in today's shape.
    private func fitted(_ tensor: Tensor, _ spec: ParameterSpec, layers: Int, at location: String) throws -> Tensor {
        let leaf = spec.name.split(separator: ".").last.map(String.init) ?? ""
        var result = tensor
        switch self {
        case .oldSoLU:
            let isTurned = leaf == "W_pos" ? layers <= Self.turnedPositions : leaf.hasPrefix("W_") && layers <= Self.turnedMatrices
            if isTurned, tensor.rank == 3 { result = try tensor.permuted(0, 2, 1).contiguous() }
            if isTurned, tensor.rank == 2 { result = try tensor.permuted(1, 0).contiguous() }
        case .minGPT:
            let count = spec.shape.reduce(1, *)
            guard tensor.count == count else { break }
            switch leaf {
            // `[out, in]`, as torch's Linear keeps it.
            case "W_Q", "W_K", "W_V": result = try tensor.reshaped([spec.shape[0], spec.shape[2], spec.shape[1]]).permuted(0, 2, 1).contiguous()
            case "W_O" where tensor.shape == [spec.shape[2], spec.shape[0] * spec.shape[1]],
                 "W_in" where tensor.shape == [spec.shape[1], spec.shape[0]], "W_out" where tensor.shape == [spec.shape[1], spec.shape[0]],
                 "W_U" where tensor.shape == [spec.shape[1], spec.shape[0]]:
                result = try tensor.permuted(1, 0).contiguous().reshaped(spec.shape)
            // Positions are `[1, n_ctx, d_model]`, heads' biases one row.
            case "W_pos", "b_Q", "b_K", "b_V": result = try tensor.reshaped(spec.shape)
            default: break
            }
        }
        guard result.shape == spec.shape else {
            throw LensError(.weights, "tensor of the wrong shape", at: location, expected: "\(spec.shape) for \(spec.name)", found: "\(tensor.shape)")
        }
        return result
    }
}
