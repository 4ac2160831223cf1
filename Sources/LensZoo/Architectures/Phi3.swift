// Phi-3 and Phi-4 (Abdin et al., 2024).
// Quirks: LLaMA's shape, with queries, keys and values in one tensor and gate and up in another; windows where
// `sliding_window` is a number; LongRoPE in its long-context models; rotation of a part of each head in Phi-4-mini.

import LensFiles
import LensModel

extension Architecture {
    static let phi3 = Architecture(
        family: "phi3",
        huggingFaceNames: ["Phi3ForCausalLM", "Phi3Model"],
        modelType: "phi3",
        config: { reader in
            var config = try reader.llamaShaped(LlamaShape(dModel: 3072, width: 8192, layers: 32, heads: 32, vocabulary: 32064,
                                                           positions: 4096, eps: 1e-5)) { width in
                // What older files call yarn is LongRoPE too, as Hugging Face reads them.
                try reader.rotary(dim: width, aliases: ["su": "longrope", "yarn": "longrope"])
            }
            config.attention.window = try reader.isNull("sliding_window") || !reader.has("sliding_window") ? nil
                : .init(size: reader.int("sliding_window"))
            try reader.require("attention_bias", false)
            return config
        },
        ignoredKeys: ["attention_dropout", "embd_pdrop", "resid_pdrop"],
        prefixes: ["model.", ""],
        weights: { config in
            let raw = config.nKeyValueHeads == nil ? "" : "_"
            let queries = config.nHeads * config.dHead, keys = config.kvHeads * config.dHead, total = queries + 2 * keys
            let fused = "layers.{i}.self_attn.qkv_proj.weight", gateUp = "layers.{i}.mlp.gate_up_proj.weight"
            return WeightRule.llamaEnds(config) + [
                .linear("blocks.{i}.attn.W_Q", from: fused, .span(0..<queries, of: total)),
                .linear("blocks.{i}.attn.\(raw)W_K", from: fused, .span(queries..<queries + keys, of: total)),
                .linear("blocks.{i}.attn.\(raw)W_V", from: fused, .span(queries + keys..<total, of: total)),
                .linear("blocks.{i}.attn.W_O", from: "layers.{i}.self_attn.o_proj.weight"),
                .linear("blocks.{i}.mlp.W_gate", from: gateUp, .part(0, of: 2)), .linear("blocks.{i}.mlp.W_in", from: gateUp, .part(1, of: 2)),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.mlp.down_proj.weight"),
            ]
        },
        ignoredTensors: WeightRule.rotaryBuffers)
}
