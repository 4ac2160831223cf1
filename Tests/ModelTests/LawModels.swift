// The models the laws are tested on: one for each branch of the forward pass, and one whose sequences cross the 64-key
// pages and whose products are large enough to be split between threads.

import LensTestSupport
import Testing
import TransformerLens

enum LawModels {
    static let names = ["gpt2-tiny", "gpt2-inverse-layer", "llama-grouped", "llama-full", "llama-bias", "native-parallel", "native-gated-ln",
                        "native-bidirectional", "bloom", "gemma2", "gemma3", "native-no-norm", "native-attn-only",
                        "native-ln-pre", "native-vocab-out", "native-partial-rotary", "olmo2", "cohere-qk-norm", "cohere2", "granite", "mpt",
                        "apertus", "falcon-rw", "llama-rope-yarn", "bert-untied", "roberta", "openai-gpt", "opt-350m",
                        "qwen2-moe-renormalised", "qwen3-moe", "gpt-oss", "native-solu-ln", "native-shortformer"]
    /// Those that TransformerLens' configuration can say.
    static let savable = names.filter { !["bert-untied", "roberta", "openai-gpt", "opt-350m"].contains($0) }
    /// Whose rotation depends on the length: the laws of one pass hold for them, not those of several.
    static let lengthDependent = ["llama-rope-dynamic", "phi3-longrope", "qwen-long"]
    /// Those that can generate: causal, with outputs that are tokens.
    static let generating = causal.filter { $0 != "native-vocab-out" }
    static let causal = names.filter { !["native-bidirectional", "bert-untied", "roberta"].contains($0) }

    /// Long contexts, in code: a GPT-2 and a grouped LLaMA.
    static let long = ["long-gpt2", "long-llama"]

    static func named(_ name: String) throws -> Transformer {
        switch name {
        case "long-gpt2": return try longGPT2.get()
        case "long-llama": return try longLlama.get()
        default: return try Models.named(name)
        }
    }

    private static let longGPT2 = Result {
        try Transformer.random(ModelConfig(nLayers: 2, dModel: 42, nCtx: 300, dHead: 14, actFn: .geluNew, dVocab: 97), seed: 1)
    }
    private static let longLlama = Result {
        try Transformer.random(ModelConfig(nLayers: 2, dModel: 54, nCtx: 300, dHead: 10, nHeads: 6, dMlp: 70, actFn: .silu, dVocab: 97,
                                           normalizationType: "RMS", position: .rotary(Rotary(dim: 10)), gatedMLP: true, nKeyValueHeads: 2), seed: 2)
    }

    /// Random tokens of the model's vocabulary.
    static func tokens(_ model: Transformer, batch: Int, pos: Int, seed: UInt64 = 0) throws -> IntTensor {
        var random = SplitMix64(state: seed)
        return try IntTensor((0..<batch * pos).map { _ in Int.random(in: 0..<model.config.dVocab, using: &random) }, shape: [batch, pos])
    }
}

/// An edit that returns its input: every element read and written back.
func identityEdit(_ filter: ActivationFilter) -> Hook {
    .edit(filter) { tensor, _ in
        try tensor.withUnsafeMutableElements { elements in
            for index in elements.indices { elements[index] = elements[index] }
        }
    }
}

/// An edit that puts the same values in a view with another order of axes, an offset and gaps.
func stridedIdentityEdit(_ filter: ActivationFilter) -> Hook {
    .edit(filter) { tensor, _ in
        let last = tensor.rank - 1
        var wide = Tensor(repeating: .nan, shape: [tensor.shape[last] + 3] + tensor.shape.dropLast())
        let order = [last] + Array(0..<last), back = Array(1...last) + [0]
        let turned = Tensor(storage: tensor.storage, layout: try tensor.layout.permuted(order))
        try wide.assign(turned, at: [.span(2, 2 + tensor.shape[last])])
        let view = try wide.view([.span(2, 2 + tensor.shape[last])])
        tensor = Tensor(storage: view.storage, layout: try view.layout.permuted(back))
    }
}

extension ModelConfig {
    /// Every point's name, on-demand ones included.
    var hookNames: [String] { hookPoints.map(\.name) }
}
