// A family of models as data: how its `config.json` becomes a ModelConfig, and what its checkpoint's tensors mean. No
// forward pass, and no second list: `Architecture.all` is what loading, documentation and tests read.

import LensFiles
import LensModel

/// One family of models.
public struct Architecture: Sendable {
    /// A short name, `gpt2`: what `tlens models --family` takes.
    public let family: String
    /// Values of `architectures` in a `config.json`.
    public let huggingFaceNames: [String]
    /// Value of `model_type`, for configurations without `architectures`.
    public let modelType: String
    /// Reads a `config.json`. Every key it does not read, and that `ignoredKeys` does not name, is an error.
    let config: @Sendable (ConfigReader) throws -> ModelConfig
    /// Keys that change no number in a forward pass.
    let ignoredKeys: Set<String>
    /// Prefixes of the checkpoint's names, the usual one first: files of the bare model leave it out.
    let prefixes: [String]
    /// Where each parameter comes from.
    let weights: @Sendable (ModelConfig) -> [WeightRule]
    /// Tensors that some checkpoints hold and that are no parameters (globs, without prefix): masks, rotary buffers.
    let ignoredTensors: [String]
    /// Whether its own reading of the configuration looks at `quantization_config`.
    var readsQuantization = false
    /// Whether models read one text and write another.
    var isEncoderDecoder = false
    /// What a checkpoint settles whatever its configuration says: parts that some files of a class hold and others do not.
    /// It is told whether the file holds a tensor of a name, with or without prefix.
    var settle: @Sendable (ModelConfig, (String) -> Bool) -> ModelConfig = { config, _ in config }

    /// Every family. The only list.
    public static let all: [Architecture] = [
        .apertus, .bert, .bloom, .cohere, .cohere2, .distilBERT, .ernie45, .falcon, .gemma, .gemma2, .gemma3, .gemma3Multimodal, .glm4, .gpt2,
        .gptBigCode, .gptJ, .gptNeo, .gptNeoX, .gptOSS, .granite, .graniteMoE, .llama, .ministral, .mistral, .mistral3, .mixtral, .mpt,
        .olmo, .olmo2, .olmo3, .olmoe, .openAIGPT, .opt, .phi, .phi3, .qwen, .qwen2, .qwen2MoE, .qwen3, .qwen3MoE, .roberta, .santaCoder,
        .smolLM3, .stableLM, .starCoder2, .t5,
    ]

    /// The family of a `config.json`.
    /// - Throws: `LensError(.config)` naming the families there are.
    static func find(for json: JSON, at location: String) throws -> Architecture {
        let names = json["architectures"]?.arrayValue?.compactMap(\.stringValue) ?? []
        let modelType = json["model_type"]?.stringValue
        if let found = all.first(where: { family in names.contains { family.huggingFaceNames.contains($0) } }) { return found }
        if names.isEmpty, let found = all.first(where: { $0.modelType == modelType }) { return found }
        let asked = names.first ?? modelType ?? "neither architectures nor model_type"
        throw LensError(.config, "unknown architecture", at: location,
                        expected: "one of \(all.flatMap(\.huggingFaceNames).joined(separator: ", "))", found: asked)
    }

    /// The configuration that a `config.json` describes.
    /// - Throws: `LensError(.config)` for a missing, unknown or unsupported key.
    func modelConfig(_ json: JSON, at location: String) throws -> ModelConfig {
        let reader = try ConfigReader(json, at: location)
        try reader.require("is_encoder_decoder", .bool(isEncoderDecoder))
        try reader.require("add_cross_attention", false)
        if !readsQuantization { try reader.require("quantization_config", nil, because: "load the unquantised weights") }
        var config = try self.config(reader)
        config.originalArchitecture = huggingFaceNames.first
        // A base that grows with the length is for lengths past the one the model was made for.
        if case .rotary(let rotary) = config.position, case .dynamic(let factor, _) = rotary.scaling, factor > 1, factor < 1e6 {
            config.nCtx = min(1 << 30, Int((Double(max(0, min(config.nCtx, 1 << 30))) * factor).rounded(.down)))
        }
        try reader.finish(ignoring: ignoredKeys.union(Self.neutralKeys))
        do { try config.validate() } catch let error as LensError { throw error.located(in: location) }
        return config
    }

    /// The configuration of a checkpoint that holds these tensors.
    func settled(_ config: ModelConfig, _ tensors: any TensorSource) -> ModelConfig {
        settle(config) { name in (prefixes + [""]).contains { tensors.entry($0 + name) != nil } }
    }

    /// Keys of every Hugging Face configuration that change no number in a forward pass: names, training, generation,
    /// classification heads.
    static let neutralKeys: Set<String> = [
        "architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "_name_or_path", "name_or_path",
        "_from_model_config", "_attn_implementation_autoset", "_commit_hash", "auto_map", "tokenizer_class", "prefix",
        "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
        "forced_bos_token_id", "forced_eos_token_id", "begin_suppress_tokens", "suppress_tokens", "bad_words_ids",
        "use_cache", "initializer_range", "gradient_checkpointing", "use_bfloat16", "torchscript", "return_dict",
        "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores", "output_past", "pruned_heads",
        "is_decoder", "cross_attention_hidden_size", "tie_encoder_decoder", "chunk_size_feed_forward", "task_specific_params",
        "problem_type", "finetuning_task", "id2label", "label2id", "num_labels", "max_length", "min_length", "do_sample",
        "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
        "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_return_sequences",
        "exponential_decay_length_penalty", "remove_invalid_values", "tf_legacy_loss", "pretraining_tp",
    ]
}
