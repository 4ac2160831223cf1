// Generating from text, tokens or embeddings, under TransformerLens' name. What comes back follows what went in, as its
// `return_type="input"` has it: a string for a string, strings for strings, tokens for tokens; `generation` tells everything.

import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// What generation from text gives: tokens and all that was asked for, and the text of it.
public struct TextGeneration: Sendable {
    public let generation: Generation
    /// Each row's prompt and continuation, special tokens left out, cut after a stop string.
    public let texts: [String]
    /// Each row's continuation alone.
    public let continuations: [String]
}

extension HookedRunning {
    /// Continues a prompt, hooks alive and a key-value cache kept.
    ///
    /// - Parameters:
    ///   - sampling: how tokens are chosen; `.greedy` for the most likely.
    ///   - stopAtEOS: end at a token of `eosTokens`.
    ///   - stopStrings: end after any of these texts.
    ///   - hooks: told step and positions; `Hook.edit(_:at:_:)` names positions.
    /// - Returns: prompt and continuation as text, special tokens left out.
    public func generate(_ prompt: String, maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         stopStrings: [String] = [], prependBOS: Bool? = nil, hooks: [Hook] = []) throws -> String {
        try generate([prompt], maxNewTokens: maxNewTokens, sampling: sampling, stopAtEOS: stopAtEOS, stopStrings: stopStrings,
                     prependBOS: prependBOS, hooks: hooks)[0]
    }

    /// Continues several prompts at once; each row gives what it gives alone.
    public func generate(_ prompts: [String], maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         stopStrings: [String] = [], prependBOS: Bool? = nil, hooks: [Hook] = []) throws -> [String] {
        try generation(prompts, GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks), stopAtEOS: stopAtEOS,
                       stopStrings: stopStrings, prependBOS: prependBOS).texts
    }

    /// Continues a batch of tokens. - Returns: prompts and continuations, `[batch, pos + new]`; rows that ended go on with
    /// the token that ends rows, as in TransformerLens.
    public func generate(_ tokens: IntTensor, maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         hooks: [Hook] = []) throws -> IntTensor {
        let rows = tokens.rank == 1 ? [tokens.array] : tokens.rows
        let options = self.options(GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks), stopAtEOS)
        return try model.generate(.tokens(rows), options).sequences
    }

    /// Continues token embeddings, `[batch, pos, d_model]`. - Returns: each row's new tokens, as TransformerLens' for
    /// embeddings.
    public func generate(embeddings: Tensor, maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         hooks: [Hook] = []) throws -> [[Int]] {
        guard embeddings.rank == 3 else {
            throw LensError(.shape, "embeddings to continue", expected: "[batch, pos, \(model.config.dModel)]", found: "\(embeddings.shape)")
        }
        let rows = try (0..<embeddings.shape[0]).map { try embeddings.at(.at($0)).contiguous() }
        let options = self.options(GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks), stopAtEOS)
        return try model.generate(.embeddings(rows), options).tokens
    }

    /// Continues rows of tokens. - Returns: each row's new tokens, the ending one included.
    public func generate(tokens: [[Int]], maxNewTokens: Int = 10, sampling: Sampling = Sampling(), stopAtEOS: Bool = true,
                         hooks: [Hook] = [], onTokens: ([Int?]) throws -> Bool = { _ in true }) throws -> [[Int]] {
        let options = self.options(GenerationOptions(maxNewTokens: maxNewTokens, sampling: sampling, hooks: hooks), stopAtEOS)
        return try model.generate(tokens, options, onTokens: onTokens)
    }

    /// Continues text or tokens and tells everything `options` asks for: text, tokens, logits, log-probabilities, captured
    /// activations, the key-value cache.
    ///
    /// - Parameters:
    ///   - onText: told each step's new text of each row; false stops.
    /// - Throws: `LensError(.usage)` for stop strings without a tokenizer, and what `Transformer.generate` throws.
    public func generation(_ input: some ModelInput, _ options: GenerationOptions = GenerationOptions(), stopAtEOS: Bool = true,
                           stopStrings: [String] = [], prependBOS: Bool? = nil,
                           onText: ([String]) throws -> Bool = { _ in true }) throws -> TextGeneration {
        let rows: [[Int]]
        switch input.modelInput {
        case .texts(let texts): rows = try texts.map { try tokens(of: $0, prependBOS: prependBOS) }
        case .tokens(let given): rows = given
        }
        return try generation(of: rows, options, stopAtEOS: stopAtEOS, stopStrings: stopStrings, onText: onText)
    }
}

extension HookedModel {
    /// Continues rows of tokens and tells everything `options` asks for.
    func generation(of rows: [[Int]], _ options: GenerationOptions, stopAtEOS: Bool, stopStrings: [String],
                    onText: ([String]) throws -> Bool) throws -> TextGeneration {
        var options = self.options(options, stopAtEOS)
        guard tokenizer != nil else {
            if !stopStrings.isEmpty { throw LensError(.usage, "stop strings need a tokenizer", found: "a model without one") }
            let empty = rows.map { _ in "" }
            return TextGeneration(generation: try model.generate(.tokens(rows), options) { _ in try onText(empty) }, texts: empty, continuations: empty)
        }
        var watchers = try rows.map { try TextWatcher(prompt: $0, stops: stopStrings) { try self.decoded($0, skipSpecialTokens: true) } }
        var added = rows.map { _ in "" }
        let others = options.stopping
        options.stopping = { row, new in
            if let last = new.last { added[row] = try watchers[row].add(last) }
            return try watchers[row].hasStopped || others?(row, new) == true
        }
        let eos = options.eosTokens
        let generation = try model.generate(.tokens(rows), options) { tokens in
            // A row that a token ends is not asked whether it stops.
            for (row, token) in tokens.enumerated() { if let token, eos.contains(token) { added[row] = try watchers[row].add(token) } }
            defer { added = rows.map { _ in "" } }
            return try onText(added)
        }
        return TextGeneration(generation: generation, texts: watchers.map(\.wholeText), continuations: watchers.map(\.continuation))
    }

    /// Tells the text of one row as it comes: what it begins with, what each step adds, what was held back at the end.
    func tell(_ tokens: [Int], _ yield: (String) -> Void, _ generate: @escaping (([String]) throws -> Bool) throws -> TextGeneration) throws {
        let before = try decoded(tokens, skipSpecialTokens: true)
        yield(before)
        var told = before
        let result = try generate { added in
            told += added[0]
            if !added[0].isEmpty { yield(added[0]) }
            return true
        }
        let rest = String(String.UnicodeScalarView(result.texts[0].unicodeScalars.dropFirst(told.unicodeScalars.count)))
        if !rest.isEmpty { yield(rest) }
    }

    /// With this model's hooks and, where asked, its tokens that end rows.
    func options(_ options: GenerationOptions, _ stopAtEOS: Bool) -> GenerationOptions {
        var options = options
        options.hooks = scopedHooks + options.hooks
        if stopAtEOS { options.eosTokens.formUnion(eosTokens) }
        return options
    }
}

extension HookedTransformer {
    /// Continues a text, telling it as it comes. The first element is the prompt's text (TransformerLens' first yield holds
    /// the prompt), then what each step adds, then what was held back of an unfinished character.
    ///
    /// The work runs on a thread of its own; cancelling the reading task stops it before its next block.
    /// - Parameter options: given up by the caller: its hooks run on the stream's thread.
    public func generateStream(_ prompt: String, _ options: sending GenerationOptions = GenerationOptions(), stopAtEOS: Bool = true,
                               stopStrings: [String] = [], prependBOS: Bool? = nil) -> AsyncThrowingStream<String, any Error> {
        let model = self
        return detachedStream(options) { options, yield in
            let tokens = try model.tokens(of: prompt, prependBOS: prependBOS)
            try model.tell(tokens, yield) { onText in
                try model.generation([tokens], options, stopAtEOS: stopAtEOS, stopStrings: stopStrings, onText: onText)
            }
        }
    }
}
