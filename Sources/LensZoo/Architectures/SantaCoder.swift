// SantaCoder (Ben Allal et al., 2023) as its own code on the hub has it: GPT2LMHeadCustomModel.
// Quirks: GPT-2's shape with one head of keys and values for all, queries in one tensor and keys and values in another.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let santaCoder = Architecture(
        family: "santacoder",
        huggingFaceNames: ["GPT2LMHeadCustomModel", "GPT2CustomModel"],
        modelType: "gpt2",
        config: { reader in
            try reader.require("attention_head_type", "multiquery")
            try reader.require("scale_attn_by_inverse_layer_idx", false)
            var config = try gpt2.config(reader)
            config.nKeyValueHeads = 1
            return config
        },
        ignoredKeys: gpt2.ignoredKeys,
        prefixes: gpt2.prefixes,
        weights: { config in
            let width = config.dHead
            return gpt2.weights(config).filter { !$0.source.contains("c_attn") } + [
                .conv1D("blocks.{i}.attn.W_Q", from: "h.{i}.attn.q_attn.weight"), .plain("blocks.{i}.attn.b_Q", from: "h.{i}.attn.q_attn.bias"),
                .conv1D("blocks.{i}.attn._W_K", from: "h.{i}.attn.kv_attn.weight", .span(0..<width, of: 2 * width)),
                .plain("blocks.{i}.attn._b_K", from: "h.{i}.attn.kv_attn.bias", .span(0..<width, of: 2 * width)),
                .conv1D("blocks.{i}.attn._W_V", from: "h.{i}.attn.kv_attn.weight", .span(width..<2 * width, of: 2 * width)),
                .plain("blocks.{i}.attn._b_V", from: "h.{i}.attn.kv_attn.bias", .span(width..<2 * width, of: 2 * width)),
            ]
        },
        ignoredTensors: gpt2.ignoredTensors)
}
