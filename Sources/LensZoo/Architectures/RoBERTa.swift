// RoBERTa (Liu et al., 2019), and XLM-RoBERTa and CamemBERT, which are the same in other languages.
// Quirks: BERT's blocks; the rows of the position table up to the padding token's stand for no position; the head is
// called lm_head, always has GELU, and its bias is the unembedding's.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let roberta = Architecture(
        family: "roberta",
        huggingFaceNames: ["RobertaForMaskedLM", "RobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaModel", "CamembertForMaskedLM", "CamembertModel"],
        modelType: "roberta",
        config: { reader in
            var config = try bertConfig(reader)
            let padding = try reader.int("pad_token_id", default: 1)
            guard padding >= 0, padding < config.nCtx - 1 else {
                throw reader.invalid("pad_token_id", expected: "a token below max_position_embeddings \(config.nCtx)")
            }
            config.encoderParts?.unusedPositions = padding + 1
            config.nCtx -= padding + 1
            config.encoderParts?.mlmHead?.activation = .gelu
            return config
        },
        ignoredKeys: bertIgnoredKeys,
        prefixes: ["roberta.", ""],
        weights: { config in
            var rules = bertBody(config)
            if config.encoderParts?.mlmHead != nil {
                rules += WeightRule.layer("mlm_head", from: "lm_head.dense") + WeightRule.layerNorm("mlm_head.ln", from: "lm_head.layer_norm")
            }
            if config.encoderParts?.hasPooler == true { rules += WeightRule.layer("pooler", from: "pooler.dense") }
            return rules + WeightRule.encoderEmbeddings(config, "embeddings.word_embeddings.weight", head: "lm_head.decoder.weight",
                                                        bias: "lm_head.bias", or: "lm_head.decoder.bias")
        },
        ignoredTensors: ["embeddings.position_ids", "lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias"],
        settle: { config, holds in
            var config = config
            config.encoderParts?.hasPooler = holds("pooler.dense.weight")
            return config
        })
}
