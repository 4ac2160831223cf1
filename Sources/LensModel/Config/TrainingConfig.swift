// The `config.json` beside a model that was trained in TransformerLens and put on the hub (Neel Nanda's toys, Redwood's two
// layers, Othello-GPT): a few fields of HookedTransformerConfig among those of the training run, in older spellings
// (`convert_neel_model_config` of TransformerLens). Only what TransformerLens reads of them is read.

import LensFiles
import LensTensor

extension ModelConfig {
    /// Fields that tell such a file from a saved HookedTransformerConfig, which has none of them.
    private static let trainingKeys = ["normalization", "shortformer_pos", "lr", "batch_size", "max_tokens", "weight_decay", "optimizer", "n_epochs",
                                       "num_epochs", "tokens_per_step", "train_loss"]
    private static let architectures = ["neel", "neel-solu-old", "mingpt"]

    /// Whether `json` is a training run's.
    package static func isTrainingConfig(_ json: JSON) -> Bool {
        trainingKeys.contains { json[$0] != nil } || architectures.contains(json["architecture"]?.stringValue ?? "")
    }

    /// - Throws: `LensError(.config)` for a missing or impossible field.
    package init(trainingConfig json: JSON, at location: String) throws {
        let reader = try ConfigReader(json, at: location)
        var fields = JSONObject()
        for key in ["d_model", "n_layers", "d_mlp", "d_head", "n_heads", "n_ctx", "d_vocab", "d_vocab_out", "act_fn", "attn_only", "final_rms", "eps", "tokenizer_name"] {
            if let value = reader.value(key) { fields[key] = value }
        }
        for key in ["d_model", "n_layers", "d_head", "n_heads", "n_ctx", "d_vocab"] { _ = try reader.int(key) }
        let key = json["normalization"] == nil ? "normalization_type" : "normalization"
        fields["normalization_type"] = try reader.isNull(key) ? .null : .string(reader.string(key, default: "LN"))
        let isShortformer = try reader.bool("shortformer_pos", default: false)
        fields["positional_embedding_type"] = .string(isShortformer ? "shortformer" : try reader.string("positional_embedding_type", default: "standard"))
        fields["original_architecture"] = reader.value("architecture") ?? .null
        try self.init(hookedTransformerConfig: .object(fields), at: location)
    }
}
