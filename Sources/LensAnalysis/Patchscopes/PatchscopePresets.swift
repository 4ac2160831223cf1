// The paper's uses of a patchscope by name: what goes in as the target, and where. Text reaches them through a tokenizer.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension Patchscope {
    /// Target prompts of the paper.
    public enum Preset: String, Sendable, Hashable, CaseIterable {
        /// The state's own next token, read off by few-shot repetition: what the model would say after it (section 4.1).
        case tokenIdentity = "token-identity"
        /// What an entity is (section 4.3).
        case entityDescription = "entity-description"

        /// The target's text. The place-holder is the last `x`.
        public var prompt: String {
            switch self {
            case .tokenIdentity: return "cat->cat; 135->135; hello->hello; black->black; shoe->shoe; x->"
            case .entityDescription:
                return "Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean multinational major appliance "
                    + "and consumer electronics corporation, x"
            }
        }
    }

    /// A preset's target: the place-holder is the last token whose text holds its `x`.
    public static func target(_ preset: Preset, _ model: Transformer, _ tokenizer: some Tokenizing, tokens: ((String) throws -> [Int])? = nil) throws -> PatchscopePrompt {
        try target(preset.prompt, placeholder: "x", model, tokenizer, tokens: tokens)
    }

    /// Zero-shot feature extraction (section 4.2): a relation as the target, with a place-holder for the subject:
    /// `"The capital of"` asks `"The capital of x"` and the state of the subject goes where `x` is.
    public static func target(relation: String, _ model: Transformer, _ tokenizer: some Tokenizing, tokens: ((String) throws -> [Int])? = nil) throws -> PatchscopePrompt {
        try target(relation + " x", placeholder: "x", model, tokenizer, tokens: tokens)
    }

    /// A target prompt of one's own, patched at the last token whose text holds `placeholder`.
    ///
    /// - Parameter tokens: how text becomes tokens; nil: by the tokenizer alone, with the special tokens it adds.
    /// - Throws: `LensError(.text)` if no token holds it.
    public static func target(_ prompt: String, placeholder: String, _ model: Transformer, _ tokenizer: some Tokenizing,
                              tokens: ((String) throws -> [Int])? = nil) throws -> PatchscopePrompt {
        let ids = try tokens?(prompt) ?? tokenizer.encode(text: prompt, addSpecialTokens: true)
        let place = try ids.lastIndex { try tokenizer.decode(tokens: [$0], skipSpecialTokens: true).contains(placeholder) }
        guard let place else {
            throw LensError(.text, "the place-holder is no token's", at: prompt, expected: "a token that holds \(placeholder)")
        }
        return PatchscopePrompt(model, ids, positions: [place])
    }

    /// The logit lens as a patchscope: the target is the source's own prompt, the target layer the last, and every position
    /// is patched with itself. Only what comes after the last layer is run.
    ///
    /// - Parameter layers: nil: all.
    /// - Returns: `[layer, pos, d_vocab_out]`.
    public static func logitLens(_ model: Transformer, _ tokens: [Int], layers: [Int]? = nil) throws -> Tensor {
        let layers = layers ?? Array(0..<model.config.nLayers), names = layers.map { HookPoint(.residPost, layer: $0).name }
        let cache = try model.run(.tokens(IntTensor(rows: [tokens])), .init(cache: .names(names), returnType: .none)).cache
        let streams = try Tensor(joining: names.map { try cache[$0] }, axis: 0)
        let output = try model.run(.residual(streams), .init(startAtLayer: model.config.nLayers))
        guard let logits = output.logits else { throw LensError(.usage, "the run returned no logits") }  // unreachable: asked for
        return logits
    }
}
