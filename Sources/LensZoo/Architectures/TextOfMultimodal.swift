// The text model of folders that hold a vision model besides: Gemma 3 from 4B up, Mistral Small 3.1 and later.
// Quirks: the text model's keys stand under `text_config`, its tensors under `language_model.` (in newer files inside `model.`);
// the vision model's tensors and keys are left alone. Only text goes in.

import LensFiles
import LensModel

extension Architecture {
    static let gemma3Multimodal = gemma3.inMultimodal(family: "gemma3_multimodal", ["Gemma3ForConditionalGeneration", "Gemma3Model"], modelType: "gemma3")
    static let mistral3 = mistral.inMultimodal(family: "mistral3", ["Mistral3ForConditionalGeneration", "Mistral3Model"], modelType: "mistral3")

    /// The family whose text model this is.
    private func inMultimodal(family: String, _ names: [String], modelType: String) -> Architecture {
        let text = self
        return Architecture(
            family: family, huggingFaceNames: names, modelType: modelType,
            config: { reader in
                guard let inner = try reader.nested("text_config") else { throw reader.invalid("text_config", expected: "the text model's configuration") }
                try inner.require("model_type", .string(text.modelType), because: "another text model is not read in this folder")
                var config = try text.config(inner)
                try inner.finish(ignoring: text.ignoredKeys.union(Architecture.neutralKeys))
                // What the whole says counts, as in Hugging Face.
                let isTied = try reader.bool("tie_word_embeddings", default: config.tiesEmbeddings)
                if isTied != config.tiesEmbeddings {
                    guard text.family == "mistral" else { throw reader.invalid("tie_word_embeddings", expected: "\(config.tiesEmbeddings), as in text_config") }
                    config.tiesEmbeddings = isTied
                }
                return config
            },
            ignoredKeys: ["vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index", "image_token_id", "boi_token_id",
                          "eoi_token_id", "multimodal_projector_bias", "projector_hidden_act", "spatial_merge_size", "vision_feature_layer"],
            prefixes: ["model.language_model.", "language_model.model.", "language_model."] + text.prefixes,
            weights: text.weights,
            ignoredTensors: text.ignoredTensors + ["vision_tower.*", "model.vision_tower.*", "multi_modal_projector.*", "model.multi_modal_projector.*"])
    }
}
