// An encoder with its tokenizer: BERT and its like. Getting started:
//
//     let model = try await HookedEncoder.fromPretrained("bert-base-cased")
//     let predictions = try model.predictions("The capital of France is [MASK].")
//     let (logits, cache) = try model.runWithCache("Hello World")
//     try cache["blocks.0.hook_normalized_resid_post"]     // [batch, pos, d_model]
//
// Weights are as they are: nothing is folded or centred, as in TransformerLens.

import LensFiles
import LensHooks
import LensHub
import LensModel
import LensTensor
import LensText
import LensZoo

/// A transformer encoder with every activation in reach.
public struct HookedEncoder: Sendable, HookedEncoding {
    /// The model on tokens.
    public let model: Transformer
    /// nil for a model without text.
    public let tokenizer: Tokenizer?
    public var scopedHooks: [Hook] { [] }
    /// None: an encoder does not generate.
    public var eosTokens: Set<Int> { [] }

    /// - Throws: `LensError(.usage)` for a model of another kind.
    public init(_ model: Transformer, tokenizer: Tokenizer? = nil) throws {
        try ModelConfig.Kind.encoder.require(in: model.config, at: model.config.modelName)
        self.model = model
        self.tokenizer = tokenizer
    }

    /// Loads a model, downloading it from the hub where it is not on this machine.
    ///
    /// - Parameters:
    ///   - name: a folder with a `config.json`, a registered name or alias (`bert-base-cased`), or a hub id
    ///     (`org/name[@revision]`). What is in the hub's local cache is not downloaded again.
    ///   - options: a part of the layers, …
    ///   - tokenizer: in place of the model's own.
    /// - Throws: `LensError`: `.name` or `.file` if it is not found, `.config`, `.weights` or `.format` if it does not fit,
    ///   `.usage` for a model of another kind.
    public static func fromPretrained(_ name: String, options: LoadOptions = LoadOptions(), tokenizer: Tokenizer? = nil) async throws -> HookedEncoder {
        try await Task.detached { try HookedEncoder(folder: Hub().blockingFolder(of: name), options: options, tokenizer: tokenizer) }.value
    }

    /// Loads a model folder, with its tokenizer if it has one and no other is given.
    public init(folder path: String, options: LoadOptions = LoadOptions(), tokenizer: Tokenizer? = nil) throws {
        let folder = try ModelFolder(path: path, options: options)
        try ModelConfig.Kind.encoder.require(in: folder.config, at: path)
        try self.init(folder.load(), tokenizer: tokenizer ?? Tokenizer.beside(path))
    }

    /// The model with one parameter replaced, in TransformerLens' name and shape; the rest is shared.
    public func with(_ name: String, _ tensor: Tensor) throws -> HookedEncoder {
        try HookedEncoder(model.with(name, tensor), tokenizer: tokenizer)
    }

    /// Runs `body` with a model value that carries `hooks`; nothing is switched on anywhere else.
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScopeOf<HookedEncoder>) throws -> R) rethrows -> R {
        try body(HookedScopeOf(base: self, scopedHooks: hooks))
    }
}

extension HookedScopeOf: HookedEncoding where Base: HookedEncoding {}

extension HookedScopeOf {
    /// Adds hooks, after those carried already.
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScopeOf) throws -> R) rethrows -> R {
        try body(HookedScopeOf(base: base, scopedHooks: scopedHooks + hooks))
    }
}
