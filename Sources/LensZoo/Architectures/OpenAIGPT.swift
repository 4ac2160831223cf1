// GPT, the first (Radford et al., 2018).
// Quirks: GPT-2's tensors, norms after the sums, none at the end; "gelu" means the tanh approximation.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let openAIGPT = Architecture(
        family: "openai-gpt",
        huggingFaceNames: ["OpenAIGPTLMHeadModel", "OpenAIGPTModel"],
        modelType: "openai-gpt",
        config: { reader in
            let dModel = try reader.int("n_embd", default: 768), heads = try reader.int("n_head", default: 12)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_head", expected: "a divisor of n_embd \(dModel)") }
            let name = try reader.string("afn", default: "gelu")
            let activation: Activation? = ["gelu": .geluNew, "relu": .relu, "silu": .silu, "swish": .silu][name]
            guard let activation else { throw reader.invalid("afn", expected: "one of gelu, relu, silu") }
            var config = ModelConfig(nLayers: try reader.int("n_layer", default: 12), dModel: dModel,
                                     nCtx: try reader.int("n_positions", default: 512), nHeads: heads, dHead: dModel / heads,
                                     dVocab: try reader.int("vocab_size", default: 40478),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)),
                                     mlp: .init(width: 4 &* dModel, activation: activation), position: .learned,
                                     attention: .init(scale: Double(dModel / heads).squareRoot()))
            config.finalNorm = nil
            config.normPlacement = .onSum
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["n_ctx", "n_special", "attn_pdrop", "embd_pdrop", "resid_pdrop", "predict_special_tokens", "summary_activation",
                      "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("pos_embed.W_pos", from: "positions_embed.weight"),
                .conv1D("blocks.{i}.attn.W_O", from: "h.{i}.attn.c_proj.weight"), .plain("blocks.{i}.attn.b_O", from: "h.{i}.attn.c_proj.bias"),
                .conv1D("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.c_fc.weight"), .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.c_fc.bias"),
                .conv1D("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.c_proj.weight"), .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.c_proj.bias"),
            ]
            for (part, name) in ["Q", "K", "V"].enumerated() {
                rules.append(.conv1D("blocks.{i}.attn.W_\(name)", from: "h.{i}.attn.c_attn.weight", .part(part, of: 3)))
                rules.append(.plain("blocks.{i}.attn.b_\(name)", from: "h.{i}.attn.c_attn.bias", .part(part, of: 3)))
            }
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "h.{i}.ln_1") + WeightRule.layerNorm("blocks.{i}.ln2", from: "h.{i}.ln_2")
            return rules + WeightRule.embeddings("tokens_embed.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.bias", "position_ids"])
}
