// Qwen 1 (Bai et al., 2023), as its own code on the hub has it: QWenLMHeadModel.
// Quirks: queries, keys and values in one tensor with biases; the MLP's gate is its second projection, and half as wide as the
// file says. Past the length it was trained with, queries grow with the logarithm of the position and the rotation slows down
// by steps, where the file switches these on.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let qwen = Architecture(
        family: "qwen",
        huggingFaceNames: ["QWenLMHeadModel", "QWenModel"],
        modelType: "qwen",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 4096), heads = try reader.int("num_attention_heads", default: 32)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let dHead = dModel / heads, trained = try reader.int("seq_length", default: 8192)
            guard trained > 1 else { throw reader.invalid("seq_length", expected: "at least 2") }
            try reader.require("kv_channels", .int(dHead))
            try reader.require("no_bias", true)
            // Part of each head, as its code computes it.
            let turning = try reader.double("rotary_pct", default: 1)
            guard turning > 0, turning <= 1, let dim = Int(exactly: (Double(dHead) * turning).rounded(.down)) else {
                throw reader.invalid("rotary_pct", expected: "above 0, up to 1")
            }
            var rotary = Rotary(dim: dim, base: try reader.double("rotary_emb_base", default: 10_000))
            let positions = try reader.int("max_position_embeddings", default: trained)
            let grows = try reader.bool("use_dynamic_ntk", default: true)
            if grows { rotary.scaling = .dynamicSteps(originalContext: trained) }
            let isScaled = try reader.bool("scale_attn_weights", default: true)
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 22016) / 2, activation: .silu, gate: .biasOnEach)
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 32), dModel: dModel, nCtx: grows ? max(positions, trained) : trained,
                                     nHeads: heads, dHead: dHead, dVocab: try reader.int("vocab_size", default: 151_936),
                                     norm: .init(.rms, eps: try reader.double("layer_norm_epsilon", default: 1e-6)), mlp: mlp, position: .rotary(rotary),
                                     attention: .init(scale: isScaled ? Double(dHead).squareRoot() : 1))
            if try reader.bool("use_logn_attn", default: true) { config.attention.logScalingFrom = trained }
            config.mlp?.hasBiases = false
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            config.defaultPrependBOS = false
            // Keys and values kept in eight bits: another arithmetic.
            try reader.require("use_cache_quantization", false)
            return config
        },
        ignoredKeys: ["attn_dropout_prob", "emb_dropout_prob", "bf16", "fp16", "fp32", "use_flash_attn", "use_cache_kernel", "softmax_in_fp32", "onnx_safe",
                      "embd_pdrop", "resid_pdrop", "attn_pdrop", "rotary_emb", "apply_residual_connection_post_layernorm", "params_dtype", "activation"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("blocks.{i}.ln1.w", from: "h.{i}.ln_1.weight"), .plain("blocks.{i}.ln2.w", from: "h.{i}.ln_2.weight"), .plain("ln_final.w", from: "ln_f.weight"),
                .linear("blocks.{i}.attn.W_O", from: "h.{i}.attn.c_proj.weight"),
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.w1.weight"), .linear("blocks.{i}.mlp.W_gate", from: "h.{i}.mlp.w2.weight"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.c_proj.weight"),
            ]
            for (part, name) in ["Q", "K", "V"].enumerated() {
                rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "h.{i}.attn.c_attn.weight", .part(part, of: 3)))
                rules.append(.plain("blocks.{i}.attn.b_\(name)", from: "h.{i}.attn.c_attn.bias", .part(part, of: 3)))
            }
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.rotary_emb.inv_freq", "rotary_emb.inv_freq", "h.*.attn.masked_bias"])
}
