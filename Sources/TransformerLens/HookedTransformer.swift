// A decoder with its tokenizer: what most users hold. Getting started:
//
//     let model = try await HookedTransformer.fromPretrained("gpt2-small")
//     let (logits, cache) = try model.runWithCache("Hello World")
//     try cache["pattern", 0]                       // [batch, head, query_pos, key_pos]
//
// It is a value, immutable and Sendable: hooks are given to a run, and several tasks may run one model at once.

import LensFiles
import LensHooks
import LensModel
import LensTensor
import LensText
import LensZoo

/// A transformer language model with every activation in reach.
public struct HookedTransformer: Sendable, HookedRunning {
    /// The model on tokens.
    public let model: Transformer
    /// nil for a model without text.
    public let tokenizer: Tokenizer?

    public var config: ModelConfig { model.config }
    public var scopedHooks: [Hook] { [] }

    public init(_ model: Transformer, tokenizer: Tokenizer? = nil) {
        self.model = model
        self.tokenizer = tokenizer
    }

    /// From a configuration and parameters under TransformerLens' names and shapes.
    /// - Throws: `LensError(.config)`, or `(.weights)` for a missing, unknown or mis-shaped parameter.
    public init(config: HookedTransformerConfig, parameters: [String: Tensor], tokenizer: Tokenizer? = nil) throws {
        self.init(try Transformer(config: config, parameters: parameters), tokenizer: tokenizer)
    }

    /// How weights are rewritten at load.
    public enum Processing: String, Sendable, Hashable, CaseIterable {
        /// As they are: Hugging Face's numbers.
        case none
    }

    /// Loads a model that is on this machine.
    ///
    /// - Parameters:
    ///   - name: a folder with a `config.json`, a registered name or alias (`gpt2-small`), or a hub id
    ///     (`org/name[@revision]`) found in the hub's local cache.
    ///   - processing: what is done to the weights.
    /// - Throws: `LensError`: `.name` or `.file` if it is not found, `.config`, `.weights` or `.format` if it does not fit.
    public static func fromPretrained(_ name: String, processing: Processing = .none) async throws -> HookedTransformer {
        // Loading is long and synchronous: on a task of its own, so the caller's executor is free meanwhile.
        try await Task.detached { try HookedTransformer(folder: ModelLocator.folder(of: name)) }.value
    }

    /// Loads a model folder, with its tokenizer if it has one.
    public init(folder path: String) throws {
        let folder = try ModelFolder(path: path)
        try ModelConfig.Kind.decoder.require(in: folder.config, at: path)
        let tokenizer = Tokenizer.isPresent(in: path) ? try Tokenizer(folder: path) : nil
        self.init(try folder.load(), tokenizer: tokenizer)
    }

    /// The model with one parameter replaced, in TransformerLens' name and shape; the rest is shared.
    public func with(_ name: String, _ tensor: Tensor) throws -> HookedTransformer {
        HookedTransformer(try model.with(name, tensor), tokenizer: tokenizer)
    }

    /// A parameter under TransformerLens' name and in its shape: `try model["blocks.0.attn.W_Q"]`, `[head, d_model, d_head]`.
    public subscript(_ name: String) -> Tensor {
        get throws { try model.parameters[name] }
    }

    /// Writes the model under TransformerLens' names: `config.json` and `model.safetensors` in `folder`. The tokenizer is not
    /// written: copy its files beside them.
    public func save(to folder: String) throws { try model.save(to: folder) }

    /// Runs `body` with a model value that carries `hooks`; nothing is switched on anywhere else.
    ///
    /// ```swift
    /// try model.hooks([.edit("blocks.5.attn.hook_z") { z, at in z[.all, .all, 3] = 0 }]) { hooked in
    ///     try hooked.logits("Hello World")
    /// }
    /// ```
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScope) throws -> R) rethrows -> R {
        try body(HookedScope(base: self, scopedHooks: hooks))
    }
}

/// A model that carries hooks: each of its runs has them, before those given to the run.
public struct HookedScope: HookedRunning {
    let base: HookedTransformer
    public let scopedHooks: [Hook]

    public var model: Transformer { base.model }
    public var tokenizer: Tokenizer? { base.tokenizer }

    /// Adds hooks, after those carried already.
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScope) throws -> R) rethrows -> R {
        try body(HookedScope(base: base, scopedHooks: scopedHooks + hooks))
    }
}
