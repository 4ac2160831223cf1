// GPT-Neo (Black et al., 2021) and TinyStories (Eldan and Li, 2023).
// Quirks: scores are not scaled; every second layer sees only a window.

import LensFiles
import LensModel
import LensTensor

extension Architecture {
    static let gptNeo = Architecture(
        family: "gpt_neo",
        huggingFaceNames: ["GPTNeoForCausalLM", "GPTNeoModel"],
        modelType: "gpt_neo",
        config: { reader in
            let dModel = try reader.int("hidden_size", default: 2048), heads = try reader.int("num_heads", default: 16)
            guard heads > 0, dModel % heads == 0 else { throw reader.invalid("num_heads", expected: "a divisor of hidden_size \(dModel)") }
            let layers = try reader.int("num_layers", default: 24)
            let mlp = ModelConfig.MLP(width: try reader.int("intermediate_size", default: 4 &* dModel),
                                      activation: try reader.activation("activation_function", default: "gelu_new"))
            var attention = ModelConfig.Attention(scale: 1)
            let size = try reader.int("window_size", default: 256), isLocal = try localLayers(reader, layers)
            if isLocal.contains(true) { attention.window = .init(size: size, isLocal: isLocal) }
            var config = ModelConfig(nLayers: layers, dModel: dModel, nCtx: try reader.int("max_position_embeddings", default: 2048),
                                     nHeads: heads, dHead: dModel / heads, dVocab: try reader.int("vocab_size", default: 50257),
                                     norm: .init(.layer, eps: try reader.double("layer_norm_epsilon", default: 1e-5)), mlp: mlp,
                                     position: .learned, attention: attention)
            config.tiesEmbeddings = try reader.bool("tie_word_embeddings", default: true)
            return config
        },
        ignoredKeys: ["resid_dropout", "embed_dropout", "attention_dropout", "classifier_dropout", "summary_activation",
                      "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"],
        prefixes: ["transformer.", ""],
        weights: { config in
            var rules: [WeightRule] = [
                .plain("pos_embed.W_pos", from: "wpe.weight"),
                .plain("blocks.{i}.attn.b_O", from: "h.{i}.attn.attention.out_proj.bias"),
                .linear("blocks.{i}.mlp.W_in", from: "h.{i}.mlp.c_fc.weight"), .plain("blocks.{i}.mlp.b_in", from: "h.{i}.mlp.c_fc.bias"),
                .linear("blocks.{i}.mlp.W_out", from: "h.{i}.mlp.c_proj.weight"), .plain("blocks.{i}.mlp.b_out", from: "h.{i}.mlp.c_proj.bias"),
            ]
            for (projection, name) in [("q_proj", "Q"), ("k_proj", "K"), ("v_proj", "V"), ("out_proj", "O")] {
                rules.append(.linear("blocks.{i}.attn.W_\(name)", from: "h.{i}.attn.attention.\(projection).weight"))
            }
            rules += WeightRule.layerNorm("blocks.{i}.ln1", from: "h.{i}.ln_1") + WeightRule.layerNorm("blocks.{i}.ln2", from: "h.{i}.ln_2")
            rules += WeightRule.layerNorm("ln_final", from: "ln_f")
            return rules + WeightRule.embeddings("wte.weight", head: "lm_head.weight", tied: config.tiesEmbeddings)
        },
        ignoredTensors: ["h.*.attn.attention.bias", "h.*.attn.attention.masked_bias"])

    /// `attention_types`, `[[["global", "local"], 12]]`, written out: whether each layer is local.
    private static func localLayers(_ reader: ConfigReader, _ layers: Int) throws -> [Bool] {
        let problem = reader.invalid("attention_types", expected: "lists of global and local, with their counts, for \(layers) layers")
        // Checked before anything is written out for each.
        guard (0...ModelConfig.mostLayers).contains(layers) else { throw reader.invalid("num_layers", expected: "0...\(ModelConfig.mostLayers)") }
        let fallback: JSON = [[["global", "local"], 12]]
        guard let groups = (reader.value("attention_types") ?? fallback).arrayValue else { throw problem }
        var types: [String] = []
        for group in groups {
            guard let pair = group.arrayValue, pair.count == 2, let names = pair[0].arrayValue?.compactMap(\.stringValue), !names.isEmpty,
                  let count = pair[1].intValue, count >= 0, count <= layers, names.count <= layers else { throw problem }
            for _ in 0..<count where types.count <= layers { types += names }
        }
        // Files also hold the list written out; Hugging Face goes by what it was written from.
        let written = try reader.strings("attention_layers")
        guard types.count == layers, types.allSatisfy({ ["global", "local"].contains($0) }), written == nil || written == types else { throw problem }
        return types.map { $0 == "local" }
    }
}
