// Generation: the prompts in one pass or in chunks, then one position at a time over the key-value cache. Rows of different
// lengths are padded on the left, and give what each gives alone. Hooks stay alive and are told the step, the positions and
// where the prompt ends; activations are captured on the way. What makes a pass is a protocol: a decoder, or the decoder of
// an encoder-decoder, which brings what its encoder gave.

import LensFiles
import LensHooks
import LensTensor

/// What generation needs of a model: passes over new positions.
package protocol GeneratingModel {
    /// The decoder's configuration.
    var config: ModelConfig { get }
    /// One pass. With a cache the input is new positions, which are added to it; without, everything.
    func pass(_ input: Transformer.Input, _ options: Transformer.Options, keyValues: inout KeyValueCache?) throws -> Transformer.Output
}

extension Transformer: GeneratingModel {
    package func pass(_ input: Input, _ options: Options, keyValues: inout KeyValueCache?) throws -> Output {
        try run(input, options, keyValues: &keyValues)
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
        try generate(.tokens(prompts), options, onTokens: onTokens).tokens
    }

    /// Continues each prompt, and tells everything that was asked for on the way: logits, log-probabilities, captured
    /// activations, the key-value cache.
    ///
    /// - Throws: `LensError(.usage)` for empty prompts, or more positions than the model's context; `(.cancelled)`; what
    ///   hooks, `stopping` and `onTokens` throw.
    public func generate(_ input: GenerationInput, _ options: GenerationOptions = GenerationOptions(),
                         onTokens: ([Int?]) throws -> Bool = { _ in true }) throws -> Generation {
        try GenerationLoop(self, input, options).run(onTokens)
    }
}

/// One generation.
package struct GenerationLoop<Model: GeneratingModel> {
    private let model: Model
    private let options: GenerationOptions
    private var rows: GenerationRows
    private var keyValues: KeyValueCache?
    /// Positions before the prompts.
    private let offset: Int
    private let longest: Int
    private var logits: [Tensor] = []
    private var captured: [ActivationCache] = []

    /// - Throws: `LensError(.usage)` for input that is empty or does not fit the context or the cache.
    package init(_ model: Model, _ input: GenerationInput, _ options: GenerationOptions) throws {
        let lengths = input.lengths
        guard !lengths.isEmpty, lengths.allSatisfy({ $0 > 0 }) else {
            throw LensError(.usage, "nothing to continue", expected: "at least one token in each prompt", found: "an empty prompt")
        }
        try options.validate(rows: lengths.count)
        let longest = lengths.max() ?? 0, held = options.keyValues?.realCounts.max() ?? 0
        if let context = model.config.positionLimit, options.maxNewTokens > context || held + longest + max(0, options.maxNewTokens - 1) > context {
            let before = held > 0 ? "\(held) positions held, " : ""
            throw LensError(.usage, "more tokens than the model's context holds", expected: "at most \(context)",
                            found: "\(before)a prompt of \(longest) and \(options.maxNewTokens) new ones", advice: "ask for fewer new tokens")
        }
        if let cache = options.keyValues {
            guard cache.batch == lengths.count else {
                throw LensError(.usage, "key-value cache of another batch", expected: "\(lengths.count) rows", found: "\(cache.batch)")
            }
            guard cache.count == 0 || lengths.allSatisfy({ $0 == longest }) else {
                throw LensError(.usage, "prompts that continue a key-value cache differ in length", expected: "\(longest) tokens each",
                                found: "\(lengths)", advice: "continue rows by themselves: selecting(rows:)")
            }
        }
        if case .embeddings(let given) = input, let wrong = given.first(where: { $0.rank != 2 || $0.shape[1] != model.config.dModel }) {
            throw LensError(.usage, "not embeddings of this model", expected: "[pos, \(model.config.dModel)]", found: "\(wrong.shape)")
        }
        self.model = model
        self.options = options
        self.longest = longest
        rows = GenerationRows(input, options, vocabulary: model.config.dVocab)
        offset = options.keyValues?.count ?? 0
        if options.usesKeyValueCache {
            keyValues = options.keyValues ?? KeyValueCache(for: model.config, batch: lengths.count)
            // A frozen cache is read here, and left as it is: the generation's own copy grows.
            keyValues?.unfreeze()
        }
    }

    /// Runs it to the end.
    package consuming func run(_ onTokens: ([Int?]) throws -> Bool) throws -> Generation {
        for _ in 0..<options.maxNewTokens {
            if Task.isCancelled || options.cancellation?.isCancelled == true {
                throw LensError(.cancelled, "generation was cancelled")
            }
            let last = try step()
            if options.outputs.contains(.logits) || (rows.steps == 0 && options.outputs.contains(.firstLogits)) { logits.append(last) }
            let chosen = try rows.choose(from: last)
            let goesOn = try onTokens(chosen)
            if !goesOn { rows.finish(.caller) }
            if rows.allEnded { break }
        }
        rows.finish(.length)
        return try result()
    }

    // MARK: Steps

    /// One step. - Returns: logits of each row's last position, `[batch, 1, d_vocab_out]`.
    private mutating func step() throws -> Tensor {
        var run = Transformer.Options(hooks: options.hooks, cache: options.cache)
        run.onlyLastLogits = true
        run.step = rows.steps
        run.promptLength = offset + longest
        run.cancellation = options.cancellation
        run.encoderInput = options.encoderInput
        let output: Transformer.Output
        if keyValues == nil {
            let (input, mask) = try rows.everything()
            run.attentionMask = mask
            output = try model.pass(input, run, keyValues: &keyValues)
            captured = [output.cache]
        } else if rows.steps == 0 {
            output = try prefill(run)
            captured.append(output.cache)
        } else {
            output = try model.pass(.tokens(rows.lastTokens()), run, keyValues: &keyValues)
            captured.append(output.cache)
        }
        guard let logits = output.logits else { throw LensError(.usage, "generation without logits") }  // unreachable: asked for
        return try logits.at(.all, .from(-1)).contiguous()
    }

    /// The prompts, in chunks where that was asked for. - Returns: what the last pass gave.
    private mutating func prefill(_ run: Transformer.Options) throws -> Transformer.Output {
        let (input, mask) = try rows.prompt()
        let chunk = options.prefillChunk ?? longest
        var run = run, begin = 0
        while begin + chunk < longest {
            run.attentionMask = try mask.map { try $0.columns(begin..<begin + chunk) }
            var part = run
            part.returnType = .none
            captured.append(try model.pass(input.positions(begin..<begin + chunk), part, keyValues: &keyValues).cache)
            begin += chunk
        }
        run.attentionMask = try mask.map { try $0.columns(begin..<longest) }
        return try model.pass(input.positions(begin..<longest), run, keyValues: &keyValues)
    }

    private func result() throws -> Generation {
        var result = Generation(prompts: rows.input.tokens, tokens: rows.newTokens, finishReasons: rows.finishReasons.map { $0 ?? .length },
                                sequences: try rows.sequences(), filler: rows.filler)
        if options.outputs.contains(.logProbabilities) { result.logProbabilities = rows.logProbabilities }
        if options.outputs.contains(.keyValues) { result.keyValues = keyValues }
        if !options.outputs.isDisjoint(with: [.logits, .firstLogits]) {
            var all = Tensor(zeros: [rows.batch, logits.count, logits.first?.shape[2] ?? model.config.dVocabOut])
            for (step, one) in logits.enumerated() { all[.all, .span(step, step + 1)] = one }
            result.logits = all
        }
        if let first = captured.first, captured.contains(where: { !$0.isEmpty }) || rows.steps > 0 {
            result.cache = try ActivationCache(joining: captured, nLayers: first.nLayers)
        }
        return result
    }
}

extension Transformer.Input {
    /// Some of its positions.
    fileprivate func positions(_ range: Range<Int>) throws -> Transformer.Input {
        switch self {
        case .tokens(let tokens): return .tokens(try tokens.columns(range))
        case .embeddings(let embeddings, _): return .embeddings(try embeddings.at(.all, .range(range)).contiguous())
        case .residual(let residual, let tokens): return .residual(try residual.at(.all, .range(range)).contiguous(), tokens: try tokens?.columns(range))
        }
    }
}

extension IntTensor {
    /// Columns of a `[rows, columns]` tensor.
    fileprivate func columns(_ range: Range<Int>) throws -> IntTensor { try IntTensor(rows: rows.map { Array($0[range]) }) }
}
