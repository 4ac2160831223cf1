// MPT (MosaicML, 2023).
// Quirks: biases by distance with slopes of its own for other numbers of heads than powers of two; no bias anywhere, layer
// norms included; queries, keys and values in one tensor, and clipped in some models.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let mpt = Architecture(
        family: "mpt",
        huggingFaceNames: ["MptForCausalLM", "MPTForCausalLM", "MptModel"],
        modelType: "mpt",
        config: { reader in
            let dModel = try reader.int("d_model", default: 2048), heads = try reader.int("n_heads", default: 16)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_heads", expected: "a divisor of d_model \(dModel)") }
            let dHead = dModel / heads, details = try reader.nested("attn_config")
            for (key, value) in [("expansion_ratio", JSON.int(4)), ("no_bias", true), ("logit_scale", nil)] { try reader.require(key, value) }
            for (key, value) in [("alibi", JSON.bool(true)), ("prefix_lm", false), ("qk_ln", false), ("attn_uses_sequence_id", false),
                                 ("attn_type", "multihead_attention")] { try details?.require(key, value) }
            let scale = details?.has("softmax_scale") == true ? 1 / (try details?.positive("softmax_scale") ?? 1) : Double(dHead).squareRoot()
            let most = details?.has("alibi_bias_max") == true ? try details?.positive("alibi_bias_max") ?? 8 : 8
            var config = ModelConfig(nLayers: try reader.int("n_layers", default: 24), dModel: dModel, nCtx: try reader.int("max_seq_len", default: 2048),
                                     nHeads: heads, dHead: dHead, dVocab: try reader.int("vocab_size", default: 50368),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5), hasBias: false),
                                     mlp: .init(width: 4 &* dModel, activation: .gelu), position: .alibi(.mpt(biasMax: most)), attention: .init(scale: scale))
            // Zero is none.
            let clip = try details?.double("clip_qkv", default: 0) ?? 0
            config.attention.clip = clip == 0 ? nil : clip
            config.attention.hasBiases = false
            config.mlp?.hasBiases = false
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            try details?.finish(ignoring: neutralKeys.union(["attn_impl", "attn_pdrop", "is_encoder_decoder"]))
            return config
        },
        ignoredKeys: ["emb_pdrop", "resid_pdrop", "embedding_fraction", "init_config", "init_device", "learned_pos_emb", "norm_type", "tokenizer_name",
                      "verbose", "attn_config"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .linear("blocks.{i}.attn.W_O", from: "blocks.{i}.attn.out_proj.weight"),
                .linear("blocks.{i}.mlp.W_in", from: "blocks.{i}.ffn.up_proj.weight"), .linear("blocks.{i}.mlp.W_out", from: "blocks.{i}.ffn.down_proj.weight"),
            ]
            for (part, name) in ["Q", "K", "V"].enumerated() {
                rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "blocks.{i}.attn.Wqkv.weight", .part(part, of: 3)))
            }
            for (parameter, file) in [("blocks.{i}.ln1", "blocks.{i}.norm_1"), ("blocks.{i}.ln2", "blocks.{i}.norm_2"), ("ln_final", "norm_f")] {
                rules += WeightRule.layerNorm(parameter, from: file)
            }
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: [])
}
