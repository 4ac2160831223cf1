// Grouped heads with keys and values of their own, so that they can be read, edited and patched for each query head:
// TransformerLens' `ungroup_grouped_query_attention`. A model like any other; only W_K and W_V and their biases are copied.

import LensTensor

extension Transformer {
    /// The model with the keys and values of each group repeated for its heads: `hook_k`, `hook_v`, `hook_k_input` and
    /// `hook_v_input` have `n_heads` heads, and `hook_attn_in` exists. It computes the same numbers.
    /// - Throws: `LensError(.machine)` without the memory.
    public func ungroupingQueryAttention() throws -> Transformer {
        guard config.kvHeads != config.nHeads else { return self }
        var ungrouped = config
        ungrouped.nKeyValueHeads = nil
        var tensors: [String: Tensor] = [:]
        for layer in 0..<config.nLayers {
            for name in ["W_K", "W_V"] { tensors["blocks.\(layer).attn.\(name)"] = try parameters["blocks.\(layer).attn.\(name)"] }
            for name in ["b_K", "b_V"] where parameters.tensor("blocks.\(layer).attn._\(name)") != nil {
                tensors["blocks.\(layer).attn.\(name)"] = try parameters["blocks.\(layer).attn.\(name)"]
            }
        }
        return try Transformer(config: ungrouped, parameters: parameters.carried(to: ungrouped, with: tensors), processing: processing)
    }
}
