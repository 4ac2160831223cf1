// Generation: a prefill over the prompts, then one position at a time over the key-value cache. Rows of different lengths
// are padded on the left, and give what each gives alone. Hooks stay alive and are told the step and the positions.

import LensFiles
import LensHooks
import LensTensor

/// How to generate.
public struct GenerationOptions {
    /// Most tokens to add to each prompt.
    public var maxNewTokens = 10
    public var sampling = Sampling()
    /// Tokens that end a row.
    public var eosTokens: Set<Int> = []
    /// Keep keys and values between steps. Without, every step recomputes everything: the same tokens, slowly.
    public var usesKeyValueCache = true
    public var hooks: [Hook] = []
    /// What the encoder of an encoder-decoder reads; the prompts are then what its decoder begins with.
    public var encoderInput: EncoderInput?

    public init(maxNewTokens: Int = 10, sampling: Sampling = Sampling(), eosTokens: Set<Int> = [], usesKeyValueCache: Bool = true,
                hooks: [Hook] = []) {
        self.maxNewTokens = maxNewTokens
        self.sampling = sampling
        self.eosTokens = eosTokens
        self.usesKeyValueCache = usesKeyValueCache
        self.hooks = hooks
    }
}

extension Transformer {
    /// Continues each prompt.
    ///
    /// - Parameters:
    ///   - prompts: at least one token each; lengths may differ.
    ///   - onTokens: told each step's new tokens, one for each row (nil for rows that have ended); false stops.
    /// - Returns: each row's new tokens, the ending one included.
    /// - Throws: `LensError(.usage)` for empty prompts, or more positions than the model's context.
    public func generate(_ prompts: [[Int]], _ options: GenerationOptions = GenerationOptions(),
                         onTokens: ([Int?]) throws -> Bool = { _ in true }) throws -> [[Int]] {
        try options.sampling.validate()
        guard options.maxNewTokens >= 0 else {
            throw LensError(.usage, "number of new tokens out of range", expected: "at least 0", found: "\(options.maxNewTokens)")
        }
        guard !prompts.isEmpty, prompts.allSatisfy({ !$0.isEmpty }) else {
            throw LensError(.usage, "nothing to continue", expected: "at least one token in each prompt", found: "an empty prompt")
        }
        let longest = prompts.map(\.count).max() ?? 0
        if let limit = config.positionLimit, options.maxNewTokens > limit || longest + max(0, options.maxNewTokens - 1) > limit {
            throw LensError(.usage, "more tokens than the model's context holds", expected: "at most \(limit)",
                            found: "a prompt of \(longest) and \(options.maxNewTokens) new ones", advice: "ask for fewer new tokens")
        }
        var state = GenerationState(prompts, options, vocabulary: config.dVocab)
        for _ in 0..<options.maxNewTokens {
            if Task.isCancelled { throw LensError(.cancelled, "generation was cancelled") }
            let logits = try step(&state, options)
            let chosen = try state.choose(from: logits)
            if try !onTokens(chosen) || state.allEnded { break }
        }
        return state.newTokens
    }

    /// One forward pass. - Returns: logits of each row's last position, `[batch, 1, d_vocab_out]`.
    private func step(_ state: inout GenerationState, _ options: GenerationOptions) throws -> Tensor {
        var run = Options(hooks: options.hooks)
        run.onlyLastLogits = true
        run.encoderInput = options.encoderInput
        let (tokens, mask) = try state.nextInput(wholeSequence: !options.usesKeyValueCache)
        run.attentionMask = mask
        var logits: Tensor?
        if options.usesKeyValueCache {
            if state.keyValues == nil { state.keyValues = KeyValueCache(for: config, batch: state.batch) }
            logits = try self.run(.tokens(tokens), run, keyValues: &state.keyValues).logits
        } else {
            logits = try self.run(.tokens(tokens), run).logits
        }
        guard let logits else { throw LensError(.usage, "generation without logits") }  // unreachable: logits were asked for
        return try logits.at(.all, .from(-1))
    }
}

/// The rows so far.
private struct GenerationState {
    let batch: Int
    private let prompts: [[Int]]
    private let longest: Int
    private let eosTokens: Set<Int>
    private let vocabulary: Int
    private var samplers: [Sampler]
    private var ended: [Bool]
    private(set) var newTokens: [[Int]]
    var keyValues: KeyValueCache?

    init(_ prompts: [[Int]], _ options: GenerationOptions, vocabulary: Int) {
        batch = prompts.count
        self.prompts = prompts
        longest = prompts.map(\.count).max() ?? 0
        eosTokens = options.eosTokens
        self.vocabulary = vocabulary
        samplers = prompts.map { _ in Sampler(options.sampling) }
        ended = Array(repeating: false, count: prompts.count)
        newTokens = Array(repeating: [], count: prompts.count)
    }

    var allEnded: Bool { ended.allSatisfy(\.self) }

    /// Tokens and mask of the next pass: everything, or the last token of each row once a cache holds the rest. Rows that
    /// have ended go on with token 0; nobody reads what comes of it.
    func nextInput(wholeSequence: Bool) throws -> (IntTensor, IntTensor?) {
        let steps = newTokens.map(\.count).max() ?? 0
        func padded(_ row: Int) -> [Int] { newTokens[row] + Array(repeating: 0, count: steps - newTokens[row].count) }
        if !wholeSequence, keyValues != nil {
            return (try IntTensor(rows: (0..<batch).map { [padded($0).last ?? 0] }), nil)
        }
        let rows = (0..<batch).map { Array(repeating: 0, count: longest - prompts[$0].count) + prompts[$0] + padded($0) }
        let hasPadding = prompts.contains { $0.count != longest }
        let mask = try hasPadding ? IntTensor(rows: (0..<batch).map { row in
            let padding = longest - prompts[row].count
            return Array(repeating: 0, count: padding) + Array(repeating: 1, count: rows[row].count - padding)
        }) : nil
        return (try IntTensor(rows: rows), mask)
    }

    /// Chooses each row's next token. - Returns: nil for rows that had ended.
    mutating func choose(from logits: Tensor) throws -> [Int?] {
        let width = logits.shape[2]
        return try logits.withUnsafeElements { elements in
            try (0..<batch).map { row -> Int? in
                guard !ended[row] else { return nil }
                let token = try samplers[row].next(UnsafeBufferPointer(rebasing: elements[row * width..<(row + 1) * width]))
                guard token < vocabulary else {
                    throw LensError(.usage, "the model chose an output that is no token", expected: "0..<\(vocabulary)", found: "\(token)")
                }
                newTokens[row].append(token)
                ended[row] = eosTokens.contains(token)
                return token
            }
        }
    }
}
