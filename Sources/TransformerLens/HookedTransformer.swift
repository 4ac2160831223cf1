// A decoder with its tokenizer: what most users hold. Getting started:
//
//     let model = try await HookedTransformer.fromPretrained("gpt2-small")
//     let (logits, cache) = try model.runWithCache("Hello World")
//     try cache["pattern", 0]                       // [batch, head, query_pos, key_pos]
//
// It is a value, immutable and Sendable: hooks are given to a run, and several tasks may run one model at once.

import LensFiles
import LensHooks
import LensHub
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
    /// Tokens that end generation; several where the model's files say so.
    public var eosTokens: Set<Int>

    public var config: ModelConfig { model.config }
    public var scopedHooks: [Hook] { [] }

    /// - Parameter eosTokens: tokens that end generation; nil: the tokenizer's.
    public init(_ model: Transformer, tokenizer: Tokenizer? = nil, eosTokens: Set<Int>? = nil) {
        self.model = model
        self.tokenizer = tokenizer
        self.eosTokens = eosTokens ?? Set([tokenizer?.eosID].compactMap(\.self))
    }

    /// From a configuration and parameters under TransformerLens' names and shapes.
    /// - Throws: `LensError(.config)`, or `(.weights)` for a missing, unknown or mis-shaped parameter.
    public init(config: HookedTransformerConfig, parameters: [String: Tensor], tokenizer: Tokenizer? = nil) throws {
        self.init(try Transformer(config: config, parameters: parameters), tokenizer: tokenizer)
    }

    /// Loads a model, downloading it from the hub where it is not on this machine.
    ///
    /// - Parameters:
    ///   - name: a folder with a `config.json`, a `.gguf` file, a file of weights with its `config.json` (`weights.pt`), a
    ///     registered name or alias (`gpt2-small`), or a hub id (`org/name[@revision]`). What is in the hub's local cache is
    ///     not downloaded again.
    ///   - processing: how the weights are rewritten; by default folded and centred as TransformerLens does, where that is
    ///     exact (`model.processing` tells). `.none` gives Hugging Face's numbers. Quantised files are not rewritten.
    ///   - options: a part of the layers, another context, how weights are kept (`dtype`), …
    ///   - tokenizer: in place of the model's own.
    ///   - checkpoint: a checkpoint of the model's training, for registered models that have them.
    /// - Throws: `LensError`: `.name` or `.file` if it is not found, `.config`, `.weights` or `.format` if it does not fit.
    public static func fromPretrained(_ name: String, processing: WeightProcessing = .default, options: LoadOptions = LoadOptions(),
                                      tokenizer: Tokenizer? = nil, checkpoint: TrainingCheckpoint? = nil) async throws -> HookedTransformer {
        // Loading is long and synchronous: on a task of its own, so the caller's executor is free meanwhile.
        try await Task.detached {
            var options = options, path = ""
            if let checkpoint {
                let place = try Hub().blockingCheckpoint(checkpoint, of: name)
                path = place.path
                options.config = options.config ?? place.config
            } else {
                path = try Hub().blockingFolder(of: name)
            }
            // For a model of the hub the tokenizer's repository may be asked too.
            let other = try tokenizer ?? (fileExists(name) ? nil : Tokenizer.named(in: path, options, Hub()))
            return try HookedTransformer(folder: path, processing: processing, options: options, tokenizer: other)
        }.value
    }

    /// Loads a model's folder or file (`ModelFolder`), with its tokenizer if it has one and no other is given (or that of the
    /// repository its configuration names, if the hub's cache has it); the weights are rewritten as by `fromPretrained`.
    public init(folder path: String, processing: WeightProcessing = .default, options: LoadOptions = LoadOptions(),
                tokenizer: Tokenizer? = nil) throws {
        let folder = try ModelFolder(path: path, options: options)
        try ModelConfig.Kind.decoder.require(in: folder.config, at: path)
        let own = try tokenizer == nil ? Tokenizer.beside(ModelFolder.ggufFile(path) ?? path) ?? Tokenizer.named(in: folder.config, nil) : nil
        self.init(try folder.load(processing: processing), tokenizer: tokenizer ?? own, eosTokens: try endTokens(inFolder: path))
    }

    /// The model with one parameter replaced, in TransformerLens' name and shape; the rest is shared.
    public func with(_ name: String, _ tensor: Tensor) throws -> HookedTransformer {
        HookedTransformer(try model.with(name, tensor), tokenizer: tokenizer, eosTokens: eosTokens)
    }

    /// How the weights were rewritten: the steps done, and those left out because they are not exact for this model.
    public var processing: ProcessingRecord { model.processing }

    /// The model with its weights rewritten; this one stays as it is.
    /// - Throws: `LensError(.usage)` for a step asked for by name that is not exact for this model.
    public func processWeights(_ processing: WeightProcessing = .default) throws -> HookedTransformer {
        HookedTransformer(try model.processWeights(processing), tokenizer: tokenizer, eosTokens: eosTokens)
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
    public var eosTokens: Set<Int> { base.eosTokens }

    /// Adds hooks, after those carried already.
    public func hooks<R>(_ hooks: [Hook], _ body: (HookedScope) throws -> R) rethrows -> R {
        try body(HookedScope(base: base, scopedHooks: scopedHooks + hooks))
    }
}
