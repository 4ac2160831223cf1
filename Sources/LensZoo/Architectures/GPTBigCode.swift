// GPT-BigCode: StarCoder (Li et al., 2023) and SantaCoder as Hugging Face has it.
// Quirks: GPT-2's shape with one head of keys and values for all, in one tensor behind the queries; or fused head by head.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gptBigCode = Architecture(
        family: "gpt_bigcode",
        huggingFaceNames: ["GPTBigCodeForCausalLM", "GPTBigCodeModel"],
        modelType: "gpt_bigcode",
        config: { reader in
            let dModel = try reader.int("n_embd", default: 768), heads = try reader.int("n_head", default: 12)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_head", expected: "a divisor of n_embd \(dModel)") }
            let dHead = dModel / heads, sharesKeys = try reader.bool("multi_query", default: true) && heads > 1
            let mlp = ModelConfig.MLP(width: try reader.int("n_inner", default: 4 &* dModel),
                                      activation: try reader.activation("activation_function", default: "gelu_pytorch_tanh"))
            let isScaled = try reader.bool("scale_attn_weights", default: true)
            var config = ModelConfig(nLayers: try reader.int("n_layer", default: 12), dModel: dModel,
                                     nCtx: try reader.int("n_positions", default: 1024), nHeads: heads, dHead: dHead,
                                     nKeyValueHeads: sharesKeys ? 1 : nil, dVocab: try reader.int("vocab_size", default: 50257),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)), mlp: mlp,
                                     position: .learned, attention: .init(scale: isScaled ? Double(dHead).squareRoot() : 1))
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32",
                      "num_key_value_heads", "attention_head_type", "inference_runner", "max_batch_size", "max_sequence_length",
                      "pad_key_length", "pre_allocate_kv_cache", "validate_runner_input", "summary_activation", "summary_first_dropout",
                      "summary_proj_to_labels", "summary_type", "summary_use_proj"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("pos_embed.W_pos", from: "wpe.weight"),
                .linear("blocks.{i}.attn.W_O", from: "h.{i}.attn.c_proj.weight"), .plain("blocks.{i}.attn.b_O", from: "h.{i}.attn.c_proj.bias"),
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.c_fc.weight"), .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.c_fc.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.c_proj.weight"), .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.c_proj.bias"),
            ]
            rules += WeightRule.fusedHeads(config, from: "h.{i}.attn.c_attn")
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "h.{i}.ln_1") + WeightRule.layerNorm("blocks.{i}.ln2", from: "h.{i}.ln_2")
            rules += WeightRule.layerNorm("ln_final", from: "ln_f")
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.bias", "h.*.attn.masked_bias"])
}
