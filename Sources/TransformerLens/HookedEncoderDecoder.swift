// A model that reads one text and writes another, with its tokenizer: T5 and its like. Getting started:
//
//     let model = try await HookedEncoderDecoder.fromPretrained("t5-small")
//     let text = try model.generate("translate English to German: Hello, do you like apples?")
//     let (logits, cache) = try model.runWithCache("Hello World")
//     try cache["decoder.0.cross_attn.hook_pattern"]     // [batch, head, pos, encoder_pos]
//
// Weights are as they are: nothing is folded or centred.

import LensFiles
import LensHooks
import LensHub
import LensModel
import LensTensor
import LensText
import LensZoo

/// A transformer encoder-decoder with every activation in reach.
public struct HookedEncoderDecoder: Sendable, HookedEncodingDecoding {
    /// The model on tokens.
    public let model: Transformer
    /// nil for a model without text.
    public let tokenizer: Tokenizer?
    public var scopedHooks: [Hook] { [] }
    /// Tokens that end generation; several where the model's files say so.
    public var eosTokens: Set<Int>

    /// - Parameter eosTokens: tokens that end generation; nil: the tokenizer's.
    /// - Throws: `LensError(.usage)` for a model of another kind.
    public init(_ model: Transformer, tokenizer: Tokenizer? = nil, eosTokens: Set<Int>? = nil) throws {
        try ModelConfig.Kind.encoderDecoder.require(in: model.config, at: model.config.modelName)
        self.model = model
        self.tokenizer = tokenizer
        self.eosTokens = eosTokens ?? Set([tokenizer?.eosID].compactMap(\.self))
    }

    /// Loads a model, downloading it from the hub where it is not on this machine.
    ///
    /// - Parameters:
    ///   - name: a folder with a `config.json`, a registered name or alias (`t5-small`), or a hub id (`org/name[@revision]`).
    ///     What is in the hub's local cache is not downloaded again.
    ///   - options: a part of the layers, …
    ///   - tokenizer: in place of the model's own.
    /// - Throws: `LensError`: `.name` or `.file` if it is not found, `.config`, `.weights` or `.format` if it does not fit,
    ///   `.usage` for a model of another kind.
    public static func fromPretrained(_ name: String, options: LoadOptions = LoadOptions(),
                                      tokenizer: Tokenizer? = nil) async throws -> HookedEncoderDecoder {
        try await Task.detached { try HookedEncoderDecoder(folder: Hub().blockingFolder(of: name), options: options, tokenizer: tokenizer) }.value
    }

    /// Loads a model folder, with its tokenizer if it has one and no other is given.
    public init(folder path: String, options: LoadOptions = LoadOptions(), tokenizer: Tokenizer? = nil) throws {
        let folder = try ModelFolder(path: path, options: options)
        try ModelConfig.Kind.encoderDecoder.require(in: folder.config, at: path)
        try self.init(folder.load(), tokenizer: tokenizer ?? Tokenizer.beside(path), eosTokens: endTokens(inFolder: path))
    }

    /// The model with one parameter replaced, in TransformerLens' name and shape; the rest is shared.
    public func with(_ name: String, _ tensor: Tensor) throws -> HookedEncoderDecoder {
        try HookedEncoderDecoder(model.with(name, tensor), tokenizer: tokenizer, eosTokens: eosTokens)
    }

    /// Runs `body` with a model value that carries `hooks`; nothing is switched on anywhere else.
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScopeOf<HookedEncoderDecoder>) throws -> R) rethrows -> R {
        try body(HookedScopeOf(base: self, scopedHooks: hooks))
    }
}

extension HookedScopeOf: HookedEncodingDecoding where Base: HookedEncodingDecoding {}
