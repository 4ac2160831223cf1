// Text to tokens and back, under TransformerLens' names, and batches of unequal rows.

import LensFiles
import LensModel
import LensTensor
import LensText

/// Where shorter rows of a batch are padded.
public enum PaddingSide: String, Sendable, Hashable, CaseIterable { case left, right }

/// Which of several places `getTokenPosition` tells.
public enum TokenPositionMode: String, Sendable, Hashable, CaseIterable { case first, last }

extension HookedRunning {
    /// Where batches are padded unless a call says: what the tokenizer's configuration says, else on the right.
    public var defaultPaddingSide: PaddingSide { tokenizer?.config.paddingSide.flatMap(PaddingSide.init) ?? .right }

    /// Tokens of a text, or of several, padded: `[batch, pos]`.
    ///
    /// - Parameters:
    ///   - prependBOS: whether to begin with the beginning-of-sequence token; nil: the family's rule.
    ///   - paddingSide: nil: the tokenizer's own, else the right.
    ///   - truncate: whether to cut rows to the model's context.
    /// - Throws: `LensError(.text)` for text that cannot be converted, `(.usage)` without a tokenizer.
    public func toTokens(_ input: some ModelInput, prependBOS: Bool? = nil, paddingSide: PaddingSide? = nil,
                         truncate: Bool = true) throws -> IntTensor {
        try tokenBatch(input, prependBOS: prependBOS, paddingSide: paddingSide ?? defaultPaddingSide, truncate: truncate).tokens
    }

    /// The text of each token alone, of a text cut to the model's context.
    public func toStrTokens(_ text: String, prependBOS: Bool? = nil) throws -> [String] {
        try toStrTokens(try toTokens(text, prependBOS: prependBOS).array)
    }

    /// The text of each token alone, text by text.
    public func toStrTokens(_ texts: [String], prependBOS: Bool? = nil) throws -> [[String]] {
        try texts.map { try toStrTokens($0, prependBOS: prependBOS) }
    }

    /// The one token of a text.
    /// - Throws: `LensError(.text)` if it is not exactly one.
    public func toSingleToken(_ text: String) throws -> Int {
        let tokens = try tokens(of: text, prependBOS: false)
        guard tokens.count == 1 else {
            throw LensError(.text, "not a single token", at: text, expected: "one token", found: "\(tokens.count)")
        }
        return tokens[0]
    }

    /// Where a token is in a text; positions count a beginning-of-sequence token if there is one.
    public func getTokenPosition(_ token: Int, in text: String, mode: TokenPositionMode = .first,
                                 prependBOS: Bool? = nil) throws -> Int {
        try getTokenPosition(token, in: try toTokens(text, prependBOS: prependBOS).array, mode: mode)
    }

    /// Where a text that is a single token is among tokens.
    public func getTokenPosition(_ token: String, in tokens: [Int], mode: TokenPositionMode = .first) throws -> Int {
        try getTokenPosition(try toSingleToken(token), in: tokens, mode: mode)
    }

    /// Where a text that is a single token is in a text.
    public func getTokenPosition(_ token: String, in text: String, mode: TokenPositionMode = .first,
                                 prependBOS: Bool? = nil) throws -> Int {
        try getTokenPosition(try toSingleToken(token), in: text, mode: mode, prependBOS: prependBOS)
    }

    /// Tokens of one text.
    func tokens(of text: String, prependBOS: Bool?) throws -> [Int] {
        try requiredTokenizer().tokens(of: text, prependBOS: prependBOS ?? model.config.defaultPrependBOS, isRequired: prependBOS == true)
    }

    /// Rows padded to one length, and which of their places are real (nil if all are).
    func tokenBatch(_ input: some ModelInput, prependBOS: Bool?, paddingSide: PaddingSide,
                    truncate: Bool = false) throws -> (tokens: IntTensor, mask: IntTensor?) {
        var rows: [[Int]]
        switch input.modelInput {
        case .texts(let texts): rows = try texts.map { try tokens(of: $0, prependBOS: prependBOS) }
        case .tokens(let given): rows = given
        }
        if truncate { rows = rows.map { Array($0.prefix(longestRow(input.modelInput, prependBOS: prependBOS))) } }
        let longest = rows.map(\.count).max() ?? 0
        guard rows.contains(where: { $0.count != longest }) else { return (try IntTensor(rows: rows), nil) }
        if let empty = rows.firstIndex(where: \.isEmpty) {
            throw LensError(.usage, "nothing to run on", at: "row \(empty)", expected: "at least one token")
        }
        let pad = tokenizer.flatMap { $0.padID ?? $0.eosID ?? $0.bosID } ?? 0
        func padded(_ row: [Int], with filler: Int) -> [Int] {
            let filling = Array(repeating: filler, count: longest - row.count)
            return paddingSide == .left ? filling + row : row + filling
        }
        return (try IntTensor(rows: rows.map { padded($0, with: pad) }),
                try IntTensor(rows: rows.map { padded(Array(repeating: 1, count: $0.count), with: 0) }))
    }

    /// How many tokens of a row are kept: the context, and one less of text without its beginning-of-sequence token, which
    /// TransformerLens takes off after cutting.
    private func longestRow(_ input: ModelInputKind, prependBOS: Bool?) -> Int {
        guard case .texts = input, let tokenizer, tokenizer.bosID != nil,
              !(prependBOS ?? model.config.defaultPrependBOS) else { return model.config.nCtx }
        return max(0, model.config.nCtx - 1)
    }
}

extension Tokenizer {
    /// Tokens of a text, with or without the beginning-of-sequence token whatever the tokenizer does by itself.
    ///
    /// As in TransformerLens, a tokenizer without one uses its end-of-sequence token.
    /// - Parameters:
    ///   - prependBOS: nil leaves it to the tokenizer.
    ///   - isRequired: whether it is an error that there is no such token.
    public func tokens(of text: String, prependBOS: Bool?, isRequired: Bool = false) throws -> [Int] {
        guard let prependBOS else { return try encode(text: text, addSpecialTokens: true) }
        // TransformerLens has a tokenizer that names its token add that one, and nothing else.
        if let bosID { return try (prependBOS ? [bosID] : []) + encode(text: text, addSpecialTokens: false) }
        var tokens = try encode(text: text, addSpecialTokens: true)
        guard let bos = eosID else {
            if isRequired { throw LensError(.usage, "no beginning-of-sequence token to prepend", expected: "a tokenizer with one") }
            return tokens
        }
        if prependsBOS {
            if !prependBOS, tokens.first == bos { tokens.removeFirst() }
        } else if prependBOS {
            tokens.insert(bos, at: 0)
        }
        return tokens
    }
}
