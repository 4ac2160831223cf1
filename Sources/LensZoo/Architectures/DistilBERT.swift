// DistilBERT (Sanh et al., 2019).
// Quirks: BERT's blocks without token types and pooler, under names of their own; sines or a learned table, the file holds
// the rows either way.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let distilBERT = Architecture(
        family: "distilbert",
        huggingFaceNames: ["DistilBertForMaskedLM", "DistilBertModel"],
        modelType: "distilbert",
        config: { reader in
            let dModel = try reader.int("dim", default: 768), heads = try reader.int("n_heads", default: 12)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("n_heads", expected: "a divisor of dim \(dModel)") }
            // The epsilon is in the code: no key says it.
            let norm = ModelConfig.Norm(.layer, eps: 1e-12)
            let mlp = ModelConfig.MLP(width: try reader.int("hidden_dim", default: 3072), activation: try reader.activation("activation", default: "gelu"))
            var attention = ModelConfig.Attention(scale: Double(dModel / heads).squareRoot())
            attention.direction = .bidirectional
            var config = ModelConfig(nLayers: try reader.int("n_layers", default: 6), dModel: dModel,
                                     nCtx: try reader.int("max_position_embeddings", default: 512), nHeads: heads, dHead: dModel / heads,
                                     dVocab: try reader.int("vocab_size", default: 30522), norm: norm, mlp: mlp, position: .learned,
                                     attention: attention)
            config.finalNorm = nil
            config.normPlacement = .onSum
            config.embedNorm = norm
            config.encoderParts = ModelConfig.EncoderParts(mlmHead: reader.architectures.contains("DistilBertModel") ? nil : config.defaultMLMHead)
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true) && config.unembeds
            return config
        },
        ignoredKeys: ["attention_dropout", "dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_"],
        prefixes: ["distilbert.", ""],
        weights: { config in
            let layer = "transformer.layer.{i}"
            var rules: [WeightRule] = [
                .encoderPositions(config, from: "embeddings.position_embeddings.weight"),
                .linear("blocks.{i}.mlp.W_in", from: "\(layer).ffn.lin1.weight"), .plain("blocks.{i}.mlp.b_in", from: "\(layer).ffn.lin1.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "\(layer).ffn.lin2.weight"), .plain("blocks.{i}.mlp.b_out", from: "\(layer).ffn.lin2.bias"),
            ]
            for (name, part) in [("Q", "q_lin"), ("K", "k_lin"), ("V", "v_lin"), ("O", "out_lin")] {
                rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "\(layer).attention.\(part).weight"))
                rules.append(.plain("blocks.{i}.attn.b_\(name)", from: "\(layer).attention.\(part).bias"))
            }
            rules += WeightRule.bertNorm("embed.ln", from: "embeddings.LayerNorm")
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "\(layer).sa_layer_norm")
            rules += WeightRule.layerNorm("blocks.{i}.ln2", from: "\(layer).output_layer_norm")
            if config.encoderParts?.mlmHead != nil {
                rules += WeightRule.layer("mlm_head", from: "vocab_transform") + WeightRule.layerNorm("mlm_head.ln", from: "vocab_layer_norm")
            }
            return rules + WeightRule.encoderEmbeddings(config, "embeddings.word_embeddings.weight", head: "vocab_projector.weight",
                                                        bias: "vocab_projector.bias", or: "vocab_projector.bias")
        },
        ignoredTensors: ["vocab_projector.weight", "embeddings.position_ids"])
}
