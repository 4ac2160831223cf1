// GPT-2 (Radford et al., 2019) and models of its shape: distilgpt2, mGPT, Stanford's CRFM models.
// Quirks: fused queries, keys and values in a Conv1D (weights stored [in, out]); inverse-layer scaling in CRFM's models.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gpt2 = Architecture(
        family: "gpt2",
        huggingFaceNames: ["GPT2LMHeadModel", "GPT2Model"],
        modelType: "gpt2",
        config: { reader in
            let dModel = try reader.int("n_embd", default: 768), heads = try reader.int("n_head", default: 12)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_head", expected: "a divisor of n_embd \(dModel)") }
            let dHead = dModel / heads
            var attention = ModelConfig.Attention(scale: try reader.bool("scale_attn_weights", default: true) ? Double(dHead).squareRoot() : 1)
            attention.scaleByInverseLayer = try reader.bool("scale_attn_by_inverse_layer_idx", default: false)
            let mlp = ModelConfig.MLP(width: try reader.int("n_inner", default: 4 &* dModel),
                                      activation: try reader.activation("activation_function", default: "gelu_new"))
            var config = ModelConfig(nLayers: try reader.int("n_layer", default: 12), dModel: dModel,
                                     nCtx: try reader.int("n_positions", default: 1024), nHeads: heads, dHead: dHead,
                                     dVocab: try reader.int("vocab_size", default: 50257),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)),
                                     mlp: mlp, position: .learned, attention: attention)
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation", "summary_first_dropout",
                      "summary_proj_to_labels", "summary_type", "summary_use_proj", "reorder_and_upcast_attn"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("pos_embed.W_pos", from: "wpe.weight"),
                .plain("blocks.{i}.ln1.w", from: "h.{i}.ln_1.weight"), .plain("blocks.{i}.ln1.b", from: "h.{i}.ln_1.bias"),
                .conv1D("blocks.{i}.attn.W_O", from: "h.{i}.attn.c_proj.weight"),
                .plain("blocks.{i}.attn.b_O", from: "h.{i}.attn.c_proj.bias"),
                .plain("blocks.{i}.ln2.w", from: "h.{i}.ln_2.weight"), .plain("blocks.{i}.ln2.b", from: "h.{i}.ln_2.bias"),
                .conv1D("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.c_fc.weight"),
                .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.c_fc.bias"),
                .conv1D("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.c_proj.weight"),
                .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.c_proj.bias"),
                .plain("ln_final.w", from: "ln_f.weight"), .plain("ln_final.b", from: "ln_f.bias"),
            ]
            for (part, name) in ["Q", "K", "V"].enumerated() {
                rules.append(.conv1D("blocks.{i}.attn.W_\(name)", from: "h.{i}.attn.c_attn.weight", .part(part, of: 3)))
                rules.append(.plain("blocks.{i}.attn.b_\(name)", from: "h.{i}.attn.c_attn.bias", .part(part, of: 3)))
            }
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.bias", "h.*.attn.masked_bias"])
}
