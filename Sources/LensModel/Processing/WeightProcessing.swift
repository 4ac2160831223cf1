// Which rewritings of the weights are wanted. TransformerLens' five steps, under its names; each leaves what the model
// computes as it was (up to a constant added to a position's logits) and makes its parts easier to read. What each step
// does is in the file of its name.

import LensFiles

/// How weights are rewritten when a model is loaded (TransformerLens' `process_weights`).
///
/// `.default` takes each of TransformerLens' default steps where it is exact, and records in `model.processing` what it left
/// out and why. A step asked for by name is done or throws:
///
/// ```swift
/// let model = try await HookedTransformer.fromPretrained("gpt2-small")                       // .default
/// let raw = try await HookedTransformer.fromPretrained("gpt2-small", processing: .none)      // Hugging Face's numbers
/// let other = try raw.processWeights(WeightProcessing(centerUnembed: false))                 // the rest as by default
/// let folded = try raw.processWeights(.only(.foldLn))
/// ```
public struct WeightProcessing: Sendable, Hashable {
    /// A rewriting; raw values are TransformerLens' names. They are done in this order.
    public enum Step: String, Sendable, Hashable, CaseIterable {
        /// Weights and biases of the norms go into the matrices that read them.
        case foldLn = "fold_ln"
        /// What is written to the residual stream has mean zero over `d_model`.
        case centerWritingWeights = "center_writing_weights"
        /// W_U has mean zero over the vocabulary.
        case centerUnembed = "center_unembed"
        /// b_V goes into b_O.
        case foldValueBiases = "fold_value_biases"
        /// W_Q and W_K share their product's singular values evenly; W_O is orthogonal.
        case refactorFactoredAttnMatrices = "refactor_factored_attn_matrices"
    }

    /// What is asked of a step.
    enum Wish: Sendable, Hashable { case never, whereExact, always }
    private var wishes: [Step: Wish]

    /// TransformerLens' flags. nil: TransformerLens' default, where it is exact; true: done, or an error; false: not done.
    public init(foldLn: Bool? = nil, centerWritingWeights: Bool? = nil, centerUnembed: Bool? = nil, foldValueBiases: Bool? = nil,
                refactorFactoredAttnMatrices: Bool? = nil) {
        func wish(_ flag: Bool?, _ ifNil: Wish = .whereExact) -> Wish { flag.map { $0 ? .always : .never } ?? ifNil }
        wishes = [
            .foldLn: wish(foldLn), .centerWritingWeights: wish(centerWritingWeights), .centerUnembed: wish(centerUnembed),
            .foldValueBiases: wish(foldValueBiases), .refactorFactoredAttnMatrices: wish(refactorFactoredAttnMatrices, .never),
        ]
    }

    /// TransformerLens' defaults, each step where it is exact: all but `refactorFactoredAttnMatrices`.
    public static let `default` = WeightProcessing()
    /// Nothing: the numbers of the checkpoint.
    public static let none = only()

    /// These steps, and no other.
    public static func only(_ steps: Step...) -> WeightProcessing {
        var result = WeightProcessing()
        for step in Step.allCases { result.wishes[step] = steps.contains(step) ? .always : .never }
        return result
    }

    /// `default` or `none`; nil for another name.
    public init?(name: String) {
        switch name {
        case "default": self = .default
        case "none": self = .none
        default: return nil
        }
    }

    func wish(_ step: Step) -> Wish { wishes[step] ?? .never }
}

/// What has been done to a model's weights.
public struct ProcessingRecord: Sendable, Hashable {
    /// A step that was left out.
    public struct Skipped: Sendable, Hashable {
        public let step: WeightProcessing.Step
        /// Why it would not be exact.
        public let reason: String
    }

    /// Steps done, in their order.
    public internal(set) var done: [WeightProcessing.Step] = []
    /// Steps that were left out because they are not exact for this model.
    public internal(set) var skipped: [Skipped] = []

    public init() {}
}

extension ProcessingRecord: CustomStringConvertible {
    /// One line: `fold_ln, center_unembed; not center_writing_weights (…)`.
    public var description: String {
        let done = done.isEmpty ? "none" : done.map(\.rawValue).joined(separator: ", ")
        return ([done] + skipped.map { "not \($0.step.rawValue) (\($0.reason))" }).joined(separator: "; ")
    }
}
