// BERT (Devlin et al., 2019), and the sentence encoders that are a bare BERT.
// Quirks: norms after the sums; the heads a checkpoint has are told by its tensors (a `BertForMaskedLM` may hold the pooler and
// the next-sentence head, a `BertModel` may lack its pooler); the oldest files call a norm's weight and bias gamma and beta.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let bert = Architecture(
        family: "bert",
        huggingFaceNames: ["BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction", "BertModel"],
        modelType: "bert",
        config: { reader in try bertConfig(reader) },
        ignoredKeys: bertIgnoredKeys,
        prefixes: ["bert.", ""],
        weights: { config in
            var rules = bertBody(config)
            if config.encoderParts?.mlmHead != nil {
                rules += WeightRule.layer("mlm_head", from: "cls.predictions.transform.dense")
                rules += WeightRule.bertNorm("mlm_head.ln", from: "cls.predictions.transform.LayerNorm")
            }
            if config.encoderParts?.hasPooler == true { rules += WeightRule.layer("pooler", from: "pooler.dense") }
            if config.encoderParts?.hasNextSentenceHead == true { rules += WeightRule.layer("nsp_head", from: "cls.seq_relationship") }
            return rules + WeightRule.encoderEmbeddings(config, "embeddings.word_embeddings.weight", head: "cls.predictions.decoder.weight",
                                                        bias: "cls.predictions.bias", or: "cls.predictions.decoder.bias")
        },
        ignoredTensors: ["embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"],
        settle: { config, holds in
            guard var parts = config.encoderParts else { return config }
            var config = config
            if parts.mlmHead == nil, holds("cls.predictions.transform.dense.weight") {
                parts.mlmHead = config.defaultMLMHead
                config.tiesEmbeddings = true
            }
            // A class that reads the pooled output must find its pooler; the others take it where it is.
            parts.hasPooler = parts.hasNextSentenceHead || holds("pooler.dense.weight")
            if parts.hasPooler, holds("cls.seq_relationship.weight") { parts.hasNextSentenceHead = true }
            config.encoderParts = parts
            return config
        })

    /// The keys of BERT's and RoBERTa's configurations.
    static func bertConfig(_ reader: ConfigReader) throws -> ModelConfig {
        let dModel = try reader.int("hidden_size", default: 768), heads = try reader.int("num_attention_heads", default: 12)
        guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_attention_heads", expected: "a divisor of hidden_size \(dModel)") }
        try reader.require("position_embedding_type", "absolute")
        try reader.require("is_decoder", false)
        let norm = ModelConfig.Norm(.layer, eps: try reader.double("layer_norm_eps", default: 1e-12))
        let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 3072),
                                  activation: try reader.activation("hidden_act", default: "gelu"))
        var attention = ModelConfig.Attention(scale: Double(dModel / heads).squareRoot())
        attention.direction = .bidirectional
        var config = ModelConfig(nLayers: try reader.int("num_hidden_layers", default: 12), dModel: dModel,
                                 nCtx: try reader.int("max_position_embeddings", default: 512), nHeads: heads, dHead: dModel / heads,
                                 dVocab: try reader.int("vocab_size", default: 30522), norm: norm, mlp: mlp, position: .learned,
                                 attention: attention)
        config.finalNorm = nil
        config.normPlacement = .onSum
        config.embedNorm = norm
        let names = reader.architectures
        var parts = ModelConfig.EncoderParts(tokenTypes: try reader.int("type_vocab_size", default: 2))
        if !names.contains(where: { $0.hasSuffix("Model") || $0.hasSuffix("NextSentencePrediction") }) { parts.mlmHead = config.defaultMLMHead }
        parts.hasNextSentenceHead = names.contains { $0.hasSuffix("ForPreTraining") || $0.hasSuffix("NextSentencePrediction") }
        parts.hasPooler = parts.hasNextSentenceHead || names.contains { $0.hasSuffix("Model") }
        config.encoderParts = parts
        config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true) && config.unembeds
        return config
    }

    static let bertIgnoredKeys: Set<String> = ["attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout", "directionality",
                                               "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
                                               "pooler_size_per_head", "pooler_type"]

    /// Embeddings and blocks, as BERT and RoBERTa name them.
    static func bertBody(_ config: ModelConfig) -> [WeightRule] {
        let layer = "encoder.layer.{i}"
        var rules: [WeightRule] = [
            .encoderPositions(config, from: "embeddings.position_embeddings.weight"),
            .plain("embed.token_type_embed.W_token_type", from: "embeddings.token_type_embeddings.weight"),
            .linear("blocks.{i}.attn.W_O", from: "\(layer).attention.output.dense.weight"), .plain("blocks.{i}.attn.b_O", from: "\(layer).attention.output.dense.bias"),
            .linear("blocks.{i}.mlp.W_in", from: "\(layer).intermediate.dense.weight"), .plain("blocks.{i}.mlp.b_in", from: "\(layer).intermediate.dense.bias"),
            .linear("blocks.{i}.mlp.W_out", from: "\(layer).output.dense.weight"), .plain("blocks.{i}.mlp.b_out", from: "\(layer).output.dense.bias"),
        ]
        for (name, part) in [("Q", "query"), ("K", "key"), ("V", "value")] {
            rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "\(layer).attention.self.\(part).weight"))
            rules.append(.plain("blocks.{i}.attn.b_\(name)", from: "\(layer).attention.self.\(part).bias"))
        }
        return rules + WeightRule.bertNorm("embed.ln", from: "embeddings.LayerNorm")
            + WeightRule.bertNorm("blocks.{i}.ln1", from: "\(layer).attention.output.LayerNorm")
            + WeightRule.bertNorm("blocks.{i}.ln2", from: "\(layer).output.LayerNorm")
    }
}

extension WeightRule {
    /// Weight and bias of a norm, under today's names or TensorFlow's.
    static func bertNorm(_ parameter: String, from source: String) -> [WeightRule] {
        [.plain("\(parameter).w", from: "\(source).weight").or("\(source).gamma"), .plain("\(parameter).b", from: "\(source).bias").or("\(source).beta")]
    }
}

extension ModelConfig {
    /// The masked-language head of BERT's kind: the MLP's activation, the blocks' norm.
    var defaultMLMHead: MLMHead? {
        guard let mlp, let norm else { return nil }
        return MLMHead(activation: mlp.activation, norm: norm)
    }
}

extension ConfigReader {
    /// The classes a configuration names; its class decides which heads a checkpoint should have.
    var architectures: [String] { value("architectures")?.arrayValue?.compactMap(\.stringValue) ?? [] }
}
