// OPT (Zhang et al., 2022).
// Quirks: the first two rows of the position table stand for nothing; ReLU. OPT-350m has norms after the sums, none at the
// end, and narrower embeddings that are projected up and down.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let opt = Architecture(
        family: "opt",
        huggingFaceNames: ["OPTForCausalLM", "OPTModel"],
        modelType: "opt",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 768), heads = try reader.int("num_attention_heads", default: 12)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
            let isPostNorm = try !reader.bool("do_layer_norm_before", default: true)
            let lacksFinalNorm = try reader.bool("_remove_final_layer_norm", default: false) || isPostNorm
            let dEmbed = try reader.int("word_embed_proj_dim", default: dModel)
            let mlp = ModelConfig.MLP(width: try reader.int("ffn_dim", default: 3072),
                                      activation: try reader.activation("activation_function", default: "relu"))
            // The epsilon is torch's default: no key says it.
            let norm = ModelConfig.Norm(.layer, eps: 1e-5, hasWeights: try reader.bool("layer_norm_elementwise_affine", default: true))
            var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 12), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 2048), nHeads: heads, dHead: dModel / heads,
                                     dVocab: try reader.int("vocab_size", default: 50272), norm: norm, mlp: mlp, position: .learned,
                                     attention: .init(scale: Double(dModel / heads).squareRoot()))
            if isPostNorm { config.normPlacement = .onSum }
            if lacksFinalNorm { config.finalNorm = nil }
            if dEmbed != dModel { config.dEmbed = dEmbed }
            config.attention.hasBiases = try reader.bool("enable_bias", default: true)
            config.mlp?.hasBiases = config.attention.hasBiases
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["dropout", "attention_dropout", "activation_dropout", "layerdrop", "init_std"],
        prefixes: ["model.decoder.", "decoder.", ""],
        weights: { config in
            let table = config.nCtx * config.dModel, unused = 2 * config.dModel
            var rules: [WeightRule] = [
                .plain("pos_embed.W_pos", from: "embed_positions.weight", .span(unused..<unused + table, of: unused + table)),
                .linear("blocks.{i}.mlp.W_in", from: "layers.{i}.fc1.weight"), .plain("blocks.{i}.mlp.b_in", from: "layers.{i}.fc1.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "layers.{i}.fc2.weight"), .plain("blocks.{i}.mlp.b_out", from: "layers.{i}.fc2.bias"),
            ]
            rules += WeightRule.llamaAttention(config, biases: ["q_proj", "k_proj", "v_proj", "out_proj"], output: "out_proj")
            if config.norm?.hasWeights == true {
                rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "layers.{i}.self_attn_layer_norm")
                rules += WeightRule.layerNorm("blocks.{i}.ln2", from: "layers.{i}.final_layer_norm")
                if config.finalNorm != nil { rules += WeightRule.layerNorm("ln_final", from: "final_layer_norm") }
            }
            if config.dEmbed != nil {
                rules += [.linear("embed.W_proj", from: "project_in.weight"), .linear("unembed.W_proj", from: "project_out.weight")]
            }
            return rules + WeightRule.embeddings("embed_tokens.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: [])
}
