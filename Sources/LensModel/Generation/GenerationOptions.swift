// What to generate from, how, and what comes of it.

import LensFiles
import LensHooks
import LensTensor

/// What generation starts from: rows, whose lengths may differ.
public enum GenerationInput: Sendable {
    /// Tokens, at least one in each row.
    case tokens([[Int]])
    /// Token embeddings in place of tokens (`hook_embed`'s values, `Transformer.Input.embeddings`), `[pos, d_model]` each.
    case embeddings([Tensor])

    var lengths: [Int] {
        switch self {
        case .tokens(let rows): return rows.map(\.count)
        case .embeddings(let rows): return rows.map { $0.shape.first ?? 0 }
        }
    }

    /// The tokens of each row; none of embeddings.
    var tokens: [[Int]] { if case .tokens(let rows) = self { return rows } else { return lengths.map { _ in [] } } }
}

/// How to generate.
public struct GenerationOptions {
    /// Most tokens to add to each prompt.
    public var maxNewTokens = 10
    public var sampling = Sampling()
    /// A seed for each row in place of `sampling.seed`.
    public var seeds: [UInt64]?
    /// Tokens that end a row; it keeps the one that ended it.
    public var eosTokens: Set<Int> = []
    /// Ends a row for any other reason: asked after each of its tokens, with the row and its new tokens so far.
    public var stopping: ((Int, [Int]) throws -> Bool)?
    /// Keep keys and values between steps. Without, every step recomputes everything: the same tokens, slowly.
    public var usesKeyValueCache = true
    /// A cache to go on from: prompts come after what it holds. All prompts must then be equally long (padding cannot come
    /// after tokens).
    public var keyValues: KeyValueCache?
    /// Positions of the prompt in one pass; nil: all. The numbers do not depend on it.
    public var prefillChunk: Int?
    public var hooks: [Hook] = []
    /// What the encoder of an encoder-decoder reads; the prompts are then what its decoder begins with.
    public var encoderInput: EncoderInput?
    /// Activations to capture over the prompt and every new token but the last.
    public var cache: ActivationFilter = .none
    /// What to return besides tokens.
    public var outputs: GenerationOutputs = []
    /// Stops generation between blocks.
    public var cancellation: Cancellation?

    public init(maxNewTokens: Int = 10, sampling: Sampling = Sampling(), eosTokens: Set<Int> = [], usesKeyValueCache: Bool = true,
                hooks: [Hook] = [], cache: ActivationFilter = .none, outputs: GenerationOutputs = []) {
        self.maxNewTokens = maxNewTokens
        self.sampling = sampling
        self.eosTokens = eosTokens
        self.usesKeyValueCache = usesKeyValueCache
        self.hooks = hooks
        self.cache = cache
        self.outputs = outputs
    }

    /// - Throws: `LensError(.usage)` for values out of range or that do not go together.
    func validate(rows: Int) throws {
        try sampling.validate()
        guard maxNewTokens >= 0 else {
            throw LensError(.usage, "number of new tokens out of range", expected: "at least 0", found: "\(maxNewTokens)")
        }
        if let prefillChunk, prefillChunk < 1 {
            throw LensError(.usage, "prefill chunk out of range", expected: "at least 1 position", found: "\(prefillChunk)")
        }
        if let seeds, seeds.count != rows {
            throw LensError(.usage, "seeds for another number of rows", expected: "\(rows)", found: "\(seeds.count)")
        }
        if !usesKeyValueCache, keyValues != nil {
            throw LensError(.usage, "a key-value cache is given and its use is off")
        }
    }
}

/// What generation is to return besides tokens: what nobody asks for is not kept.
public struct GenerationOutputs: OptionSet, Sendable, Hashable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// The logits each new token was chosen from.
    public static let logits = GenerationOutputs(rawValue: 1)
    /// The logits of the first new token only.
    public static let firstLogits = GenerationOutputs(rawValue: 8)
    /// The log-probability of each new token under the model.
    public static let logProbabilities = GenerationOutputs(rawValue: 2)
    /// The key-value cache, to go on from.
    public static let keyValues = GenerationOutputs(rawValue: 4)
}

/// Why a row ended.
public enum FinishReason: String, Sendable, Hashable {
    /// It has as many new tokens as were asked for.
    case length
    /// One of the tokens that end a row.
    case eos
    /// `GenerationOptions.stopping`: a stop string, or whatever it looks for.
    case stop
    /// The caller was told of a step and said no more.
    case caller
}

/// What generation gives.
public struct Generation: Sendable {
    /// The prompts; empty rows where they were embeddings.
    public let prompts: [[Int]]
    /// Each row's new tokens, the one that ended it included.
    public internal(set) var tokens: [[Int]]
    public internal(set) var finishReasons: [FinishReason]
    /// The logits each token was chosen from, before temperature and penalties: `[batch, steps, d_vocab_out]`. After a row's
    /// end they say nothing.
    public internal(set) var logits: Tensor?
    /// The model's log-probability of each of `tokens`, in nats, before temperature, penalties and cuts.
    public internal(set) var logProbabilities: [[Float]]?
    /// What was captured: as of one run over `sequences` without their last position.
    public internal(set) var cache: ActivationCache?
    /// Holds `sequences` but the last position: to go on, prompt it with each row's last token and whatever follows.
    public internal(set) var keyValues: KeyValueCache?
    /// Prompts, padded on the left with 0, and new tokens; rows that ended go on with `filler`.
    public internal(set) var sequences: IntTensor
    /// What ended rows go on with: the smallest token that ends a row, else 0.
    public let filler: Int
}
