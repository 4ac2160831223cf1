// GPT-J (Wang and Komatsuzaki, 2021).
// Quirks: attention and MLP side by side behind one norm, which is ln1 and ln2 here; rotation of adjacent pairs in a part
// of each head; no biases in attention, one on the output.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gptJ = Architecture(
        family: "gptj",
        huggingFaceNames: ["GPTJForCausalLM", "GPTJModel"],
        modelType: "gptj",
        config: { reader in
            let dModel = try reader.int("n_embd", default: 4096), heads = try reader.int("n_head", default: 16)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_head", expected: "a divisor of n_embd \(dModel)") }
            let dHead = dModel / heads
            let mlp = ModelConfig.MLP(width: try reader.int("n_inner", default: 4 &* dModel),
                                      activation: try reader.activation("activation_function", default: "gelu_new"))
            guard !reader.isNull("rotary_dim") else { throw reader.invalid("rotary_dim", expected: "a number of channels") }
            let rotary = Rotary(dim: try reader.int("rotary_dim", default: 64), adjacentPairs: true)
            var config = ModelConfig(nLayers: try reader.int("n_layer", default: 28), dModel: dModel,
                                     nCtx: try reader.int("n_positions", default: 2048), nHeads: heads, dHead: dHead,
                                     dVocab: try reader.int("vocab_size", default: 50400),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)), mlp: mlp,
                                     position: .rotary(rotary), attention: .init(scale: Double(dHead).squareRoot()))
            config.parallelAttnMLP = true
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: false)
            // Older files say so; Hugging Face reads neither, and always does both.
            try reader.require("rotary", true)
            try reader.require("scale_attn_weights", true)
            return config
        },
        ignoredKeys: ["n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation", "summary_first_dropout",
                      "summary_proj_to_labels", "summary_type", "summary_use_proj"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.fc_in.weight"), .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.fc_in.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.fc_out.weight"), .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.fc_out.bias"),
                .plain("unembed.b_U", from: "lm_head.bias"),
            ]
            for (projection, name) in [("q_proj", "Q"), ("k_proj", "K"), ("v_proj", "V"), ("out_proj", "O")] {
                rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "h.{i}.attn.\(projection).weight"))
            }
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "h.{i}.ln_1") + WeightRule.layerNorm("blocks.{i}.ln2", from: "h.{i}.ln_1")
            rules += WeightRule.layerNorm("ln_final", from: "ln_f")
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.bias", "h.*.attn.masked_bias", "h.*.attn.embed_positions"])
}
