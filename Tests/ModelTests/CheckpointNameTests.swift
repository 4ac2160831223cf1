// The names that different files of one family use, and the configurations of models that only their names tell apart.

import LensFiles
import LensTensor
import LensTestSupport
import Testing
@testable import LensZoo
import TransformerLens

@Suite struct CheckpointNameTests {
    /// A golden's tensors under names without a prefix.
    private struct Bare: TensorSource {
        let base: SafetensorsFile
        let prefix: String

        var location: String { base.location }
        var names: [String] { base.names.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 } }
        private func stored(_ name: String) -> String { base.entry(prefix + name) == nil ? name : prefix + name }
        func entry(_ name: String) -> TensorEntry? { names.contains(name) ? base.entry(stored(name)) : nil }
        func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
            try base.read(stored(name), elementOffset: elementOffset, elementCount: elementCount, into: buffer)
        }
    }

    @Test(arguments: [("gpt2-tiny", "transformer."), ("opt", "model."), ("opt", "model.decoder."), ("bloom", "transformer."), ("llama-grouped", "model."),
                      ("olmo2", "model."), ("mpt", "transformer."), ("qwen", "transformer."), ("cohere", "model."), ("mistral3", "language_model.")])
    func withoutThePrefix(_ name: String, _ prefix: String) throws {
        let folder = try ModelFolder(path: "\(TestFolders.goldens)/\(name)"), architecture = try #require(folder.architecture)
        let source = Bare(base: try SafetensorsFile(path: folder.path + "/model.safetensors"), prefix: prefix)
        #expect(source.base.names.contains { $0.hasPrefix(prefix) })
        let model = try Transformer(config: folder.config, parameters: WeightLoader(architecture: architecture, config: folder.config, tensors: source).load())
        let tokens = try LawModels.tokens(model, batch: 1, pos: 5)
        expectSameBits(try model.run(.tokens(tokens)).logits, try Models.named(name).run(.tokens(tokens)).logits, name)
    }

    private func config(_ text: String) throws -> ModelConfig {
        let json = try JSON.parse(text)
        return try Architecture.find(for: json, at: "config.json").modelConfig(json, at: "config.json")
    }

    /// As on the hub.
    @Test func yiAndCodeLlamaAreLlamas() throws {
        let yi = try config("""
            {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
             "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
             "num_hidden_layers": 32, "num_key_value_heads": 4, "pad_token_id": 0, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 5000000.0,
             "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.40.0", "use_cache": false, "vocab_size": 64000}
            """)
        #expect(yi.position == .rotary(Rotary(dim: 128, base: 5_000_000)) && yi.nKeyValueHeads == 4)
        let code = try config("""
            {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
             "intermediate_size": 11008, "max_position_embeddings": 16384, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
             "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 1000000, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
             "transformers_version": "4.33.0.dev0", "use_cache": true, "vocab_size": 32016}
            """)
        #expect(code.position == .rotary(Rotary(dim: 128, base: 1_000_000)) && code.nKeyValueHeads == nil && code.nCtx == 16384)
    }

    @Test func stanfordAndMultilingualGPT2() throws {
        let stanford = try config("""
            {"_name_or_path": "gpt2", "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1,
             "eos_token_id": 50256, "gradient_checkpointing": false, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768,
             "n_head": 12, "n_inner": null, "n_layer": 12, "n_positions": 1024, "reorder_and_upcast_attn": true, "resid_pdrop": 0.1,
             "scale_attn_by_inverse_layer_idx": true, "scale_attn_weights": true, "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
             "summary_type": "cls_index", "summary_use_proj": true, "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 1024}},
             "torch_dtype": "float32", "transformers_version": "4.12.5", "use_cache": false, "vocab_size": 50257}
            """)
        #expect(stanford.attention.scaleByInverseLayer)
        let mgpt = try config("""
            {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256,
             "gradient_checkpointing": false, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 2048, "n_embd": 2048, "n_head": 16,
             "n_inner": null, "n_layer": 24, "n_positions": 2048, "resid_pdrop": 0.1, "scale_attn_weights": true, "summary_activation": null, "summary_first_dropout": 0.1,
             "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true, "transformers_version": "4.10.3", "use_cache": true, "vocab_size": 100000}
            """)
        #expect(mgpt.nCtx == 2048 && mgpt.dHead == 128 && mgpt.mlp?.width == 8192)
    }
}
