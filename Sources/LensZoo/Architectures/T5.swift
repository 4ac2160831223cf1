// T5 (Raffel et al., 2020): v1.0, v1.1, Flan-T5 and mT5.
// Quirks: two stacks that share token embeddings; a table of relative positions in each stack's first block serves all; scores
// are not scaled; where the unembedding is the embeddings', its input is scaled by d_model^-1/2. Newer configurations
// say `tie_word_embeddings` always, and `scale_decoder_outputs` false where an output matrix of its own is meant.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let t5 = Architecture(
        family: "t5",
        huggingFaceNames: ["T5ForConditionalGeneration", "T5WithLMHeadModel", "MT5ForConditionalGeneration"],
        modelType: "t5",
        config: { reader in
            let dModel = try reader.int("d_model", default: 512)
            let projection = try reader.string("feed_forward_proj", default: "relu")
            var mlp = ModelConfig.MLP(width: try reader.int("d_ff", default: 2048), activation: .relu)
            switch projection {
            case "relu": break
            case "gelu": mlp.activation = .gelu
            case "gated-gelu": (mlp.activation, mlp.gate) = (.geluNew, .biasOnEach)
            case "gated-silu": (mlp.activation, mlp.gate) = (.silu, .biasOnEach)
            case "gated-relu": (mlp.activation, mlp.gate) = (.relu, .biasOnEach)
            default: throw reader.invalid("feed_forward_proj", expected: "relu, gelu, gated-gelu, gated-silu or gated-relu")
            }
            mlp.hasBiases = false
            var attention = ModelConfig.Attention(scale: 1)
            attention.hasBiases = false
            let positions = RelativePositions(buckets: try reader.int("relative_attention_num_buckets", default: 32),
                                              maxDistance: try reader.int("relative_attention_max_distance", default: 128))
            let layers = try reader.int("num_layers", default: 6)
            var config = ModelConfig(nLayers: try reader.int("num_decoder_layers", default: layers), dModel: dModel,
                                     nCtx: try reader.int("n_positions", default: 512), nHeads: try reader.int("num_heads", default: 8),
                                     dHead: try reader.int("d_kv", default: 64), dVocab: try reader.int("vocab_size", default: 32128),
                                     norm: .init(.rms, eps: try reader.double("layer_norm_epsilon", default: 1e-6)), mlp: mlp,
                                     position: .relative(positions), attention: attention)
            let padding = try reader.int("pad_token_id", default: 0)
            config.encoder = .init(nLayers: layers, startToken: try reader.int("decoder_start_token_id", default: padding))
            let ties = try reader.bool("tie_word_embeddings", default: true)
            config.tiesEmbeddings = try reader.bool("scale_decoder_outputs", default: ties)
            if config.tiesEmbeddings, dModel > 0 { config.unembedScale = 1 / Double(dModel).squareRoot() }
            return config
        },
        ignoredKeys: ["dropout_rate", "initializer_factor", "classifier_dropout", "dense_act_fn", "is_gated_act", "output_past"],
        prefixes: [""],
        weights: { config in
            t5Stack("encoder", config).flatMap { $0.expanded(layers: config.encoder?.nLayers ?? 0) } + t5Stack("decoder", config)
                + (config.tiesEmbeddings ? [WeightRule.linear("unembed.W_U", from: "shared.weight").or("encoder.embed_tokens.weight")]
                    : [WeightRule.plain("embed.W_E", from: "shared.weight").or("encoder.embed_tokens.weight"),
                       WeightRule.linear("unembed.W_U", from: "lm_head.weight").or("shared.weight")])
        },
        ignoredTensors: ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                         "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"],
        isEncoderDecoder: true)

    /// The rules of one of the stacks, `encoder` or `decoder`.
    private static func t5Stack(_ stack: String, _ config: ModelConfig) -> [WeightRule] {
        let block = "\(stack).block.{i}", reads = stack == "decoder", last = reads ? 2 : 1
        func attention(_ parameter: String, _ source: String) -> [WeightRule] {
            ["q", "k", "v", "o"].map { .linear("\(stack).{i}.\(parameter).W_\($0.uppercased())", from: "\(block).\(source).\($0).weight") }
        }
        var rules = attention("attn", "layer.0.SelfAttention")
        rules.append(.plain("\(stack).0.attn.rel_pos_bias.weight", from: "\(stack).block.0.layer.0.SelfAttention.relative_attention_bias.weight"))
        rules.append(.plain("\(stack).{i}.ln1.w", from: "\(block).layer.0.layer_norm.weight"))
        if reads {
            rules += attention("cross_attn", "layer.1.EncDecAttention")
            rules.append(.plain("\(stack).{i}.ln2.w", from: "\(block).layer.1.layer_norm.weight"))
        }
        rules.append(.plain("\(stack).{i}.ln\(last + 1).w", from: "\(block).layer.\(last).layer_norm.weight"))
        let dense = "\(block).layer.\(last).DenseReluDense"
        let matrices = config.mlp?.gate == nil ? [("in", "wi"), ("out", "wo")] : [("gate", "wi_0"), ("in", "wi_1"), ("out", "wo")]
        rules += matrices.map { .linear("\(stack).{i}.mlp.W_\($0)", from: "\(dense).\($1).weight") }
        rules.append(.plain("\(stack)_final_ln.w", from: "\(stack).final_layer_norm.weight"))
        return rules
    }
}
