// What a model of any kind is: a model on tokens, perhaps a tokenizer, and the hooks it carries; the text of its tokens.

import LensAnalysis
import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText

/// A decoder, an encoder or an encoder-decoder, with the hooks it carries.
public protocol HookedModel: HasTransformer {
    /// nil for a model without text.
    var tokenizer: Tokenizer? { get }
    /// Hooks every run has, before its own.
    var scopedHooks: [Hook] { get }
    /// Tokens that end generation: what the model's generation_config.json or config.json says, else the tokenizer's.
    var eosTokens: Set<Int> { get }
}

/// A model that carries hooks: each of its runs has them, before those given to the run.
public struct HookedScopeOf<Base: HookedModel>: HookedModel {
    let base: Base
    public let scopedHooks: [Hook]

    public var model: Transformer { base.model }
    public var tokenizer: Tokenizer? { base.tokenizer }
    public var eosTokens: Set<Int> { base.eosTokens }
}

extension HookedModel {
    public var config: ModelConfig { model.config }

    /// A parameter under TransformerLens' name and in its shape: `try model["blocks.0.attn.W_Q"]`, `[head, d_model, d_head]`.
    public subscript(_ name: String) -> Tensor {
        get throws { try model.parameters[name] }
    }

    /// The text of tokens. Rows of the embedding that are no token of the tokenizer have none: they add nothing.
    /// - Throws: `LensError(.text)` for a token outside the model's vocabulary, `(.usage)` without a tokenizer.
    public func decoded(_ tokens: [Int], skipSpecialTokens: Bool = false) throws -> String {
        let tokenizer = try requiredTokenizer()
        let rows = tokenizer.vocabularySize..<max(tokenizer.vocabularySize, model.config.dVocab)
        return try tokenizer.decode(tokens: tokens.filter { !rows.contains($0) }, skipSpecialTokens: skipSpecialTokens)
    }

    /// The text of a token.
    public func toString(_ token: Int) throws -> String { try toString([token]) }

    /// The text of tokens, special ones included.
    public func toString(_ tokens: [Int]) throws -> String { try decoded(tokens) }

    /// The text of each row of tokens, special ones included.
    public func toString(_ rows: [[Int]]) throws -> [String] { try rows.map { try toString($0) } }

    /// The text of each row of tokens, special ones included; of a tensor of one axis, one text.
    public func toString(_ tokens: IntTensor) throws -> [String] { try toString(tokens.rank == 1 ? [tokens.array] : tokens.rows) }

    /// The text of each token alone.
    public func toStrTokens(_ tokens: [Int]) throws -> [String] {
        try tokens.map { try decoded([$0]) }
    }

    /// The text of each token alone, of a tensor `[pos]` or `[1, pos]`.
    public func toStrTokens(_ tokens: IntTensor) throws -> [String] { try toStrTokens(try Self.oneRow(tokens)) }

    /// The text of one token.
    public func toSingleStrToken(_ token: Int) throws -> String { try toString([token]) }

    /// Where a token is among others.
    /// - Throws: `LensError(.text)` if it is not among them.
    public func getTokenPosition(_ token: Int, in tokens: [Int], mode: TokenPositionMode = .first) throws -> Int {
        guard let place = mode == .first ? tokens.firstIndex(of: token) : tokens.lastIndex(of: token) else {
            throw LensError(.text, "the token does not occur in the prompt", found: "\(token)")
        }
        return place
    }

    /// Where a token is in a tensor `[pos]` or `[1, pos]`.
    public func getTokenPosition(_ token: Int, in tokens: IntTensor, mode: TokenPositionMode = .first) throws -> Int {
        try getTokenPosition(token, in: try Self.oneRow(tokens), mode: mode)
    }

    static func oneRow(_ tokens: IntTensor) throws -> [Int] {
        guard tokens.rank == 1 || tokens.rows.count == 1 else {
            throw LensError(.shape, "more than one row of tokens", expected: "[pos] or [1, pos]", found: "\(tokens.rows.count) rows")
        }
        return tokens.array
    }

    func requiredTokenizer() throws -> Tokenizer {
        guard let tokenizer else {
            let name = config.tokenizerName
            throw LensError(.usage, "this model has no tokenizer", expected: name.map { "\($0), which its configuration names" } ?? "a folder with tokenizer.json",
                            advice: name.map { "download \($0) (huggingface-cli download), pass its tokenizer, or give tokens instead of text" }
                                ?? "give tokens instead of text")
        }
        return tokenizer
    }

    /// Rows of tokens filled up on the right to one length, and 1 where their places are real.
    /// - Throws: `LensError(.usage)` for no rows, or an empty one.
    public func padded(_ rows: [[Int]], filler: Int? = nil) throws -> (tokens: IntTensor, mask: IntTensor) {
        if rows.isEmpty { throw LensError(.usage, "nothing to run on", expected: "at least one row") }
        if let empty = rows.firstIndex(where: \.isEmpty) {
            throw LensError(.usage, "nothing to run on", at: "row \(empty)", expected: "at least one token")
        }
        let longest = rows.map(\.count).max() ?? 0, pad = filler ?? tokenizer.flatMap { $0.padID ?? $0.eosID } ?? 0
        func filled(_ row: [Int], _ value: Int) -> [Int] { row + Array(repeating: value, count: longest - row.count) }
        return (try IntTensor(rows: rows.map { filled($0, pad) }), try IntTensor(rows: rows.map { filled($0.map { _ in 1 }, 0) }))
    }

    func required(_ tensor: Tensor?, _ what: String) throws -> Tensor {
        guard let tensor else { throw LensError(.usage, what, at: model.config.modelName) }
        return tensor
    }
}

extension ModelConfig.Kind {
    /// The type that runs models of this kind.
    public var typeName: String {
        switch self {
        case .decoder: "HookedTransformer"
        case .encoder: "HookedEncoder"
        case .encoderDecoder: "HookedEncoderDecoder"
        }
    }

    /// - Throws: `LensError(.usage)` for a model of another kind, naming the type that runs it.
    func require(in config: ModelConfig, at path: String) throws {
        guard config.kind != self else { return }
        throw LensError(.usage, "\(typeName) does not run this model", at: path, expected: "a model for \(typeName)",
                        found: config.originalArchitecture ?? "\(config.kind)", advice: "load it with \(config.kind.typeName)")
    }
}
