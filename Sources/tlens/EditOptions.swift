// --edit: what an experiment changes, given to `run` and `generate`.

import ArgumentParser
import TransformerLens

struct EditOptions: ParsableArguments {
    @Option(name: .customLong("edit"), parsing: .unconditionalSingleValue,
            help: ArgumentHelp("Change an activation: a line, JSON, or a file of edits. Repeatable.", valueName: "edit"))
    var texts: [String] = []

    /// The edits, in their order.
    func edits() throws -> [Edit] {
        try texts.enumerated().flatMap { index, text in
            do { return try Edit.parse(text) } catch let error as LensError { throw error.located(in: "--edit \(index + 1)") }
        }
    }

    /// Hooks that make them; prompts they name become tokens as the command's own do.
    func hooks(_ edits: [Edit], _ model: HookedTransformer, _ bos: BOSOptions) throws -> [Hook] {
        try Edit.hooks(edits, for: model.model) { try model.toTokens($0, prependBOS: bos.choice, truncate: false).array }
    }
}

extension EditOptions {
    /// Hooks that make them in an encoder, or an encoder-decoder: activations come from files, not from prompts.
    func hooks(_ edits: [Edit], _ model: any HookedModel) throws -> [Hook] {
        try Edit.hooks(edits, for: model.model) { _ in
            throw LensError(.usage, "edits that take activations from a prompt are for decoders", at: model.config.modelName, advice: "take them from a file")
        }
    }
}

/// What the help of commands with --edit says.
let editHelp = Edit.help
