// `tlens generate`: continue prompts, edited or not, and keep what was seen on the way.

import ArgumentParser
import TransformerLens

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Continue a prompt, or several at once.",
        usage: "tlens generate <model> --prompt <text> [--edit <edit>] [<options>]",
        discussion: editHelp)

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions
    @OptionGroup var decoder: DecoderOptions

    @Option(help: ArgumentHelp("Most tokens to add.", valueName: "n"))
    var maxNewTokens = 20

    @OptionGroup var choice: SamplingOptions

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("Stop after this text. Repeatable.", valueName: "text"))
    var stop: [String] = []

    @Flag(name: .customLong("no-eos"), help: "Go on past the model's end-of-sequence tokens.")
    var ignoresEOS = false

    @Flag(help: "Print as it comes (one prompt only).")
    var stream = false

    @Flag(help: "Take each --prompt as a user's message, in the model's chat template; print only the answer.")
    var chat = false

    @Option(help: "A system message before the prompt (with --chat).")
    var system: String?

    @OptionGroup var editing: EditOptions

    @Option(name: .customLong("cache"), help: ArgumentHelp("Activations to keep, over prompt and new tokens. Repeatable.", valueName: "filter"))
    var filters: [String] = []

    @Option(help: ArgumentHelp("Write tokens and the kept activations: a .safetensors or .npz file.", valueName: "file"))
    var out: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard maxNewTokens >= 0 else { throw ValidationError("--max-new-tokens takes a number from 0, not \(maxNewTokens)") }
        if stop.contains("") { throw ValidationError("--stop takes a text that is not empty") }
        if system != nil, !chat { throw ValidationError("--system needs --chat") }
        if chat, input.prompts.isEmpty { throw ValidationError("--chat takes --prompt") }
        if chat, input.bos.choice != nil { throw ValidationError("--chat excludes --prepend-bos and --no-bos: the template writes the special tokens") }
        if stream, output.json { throw ValidationError("--stream and --json exclude each other") }
        if stream, input.prompts.count > 1 || input.tokens.count > 1 { throw ValidationError("--stream takes one prompt") }
        if let out, !out.hasSuffix(".safetensors"), !out.hasSuffix(".npz") {
            throw ValidationError("--out takes a name ending in .safetensors or .npz, not '\(out)'")
        }
        if !filters.isEmpty, out == nil { throw ValidationError("--cache needs --out, a file to keep activations in") }
    }

    func run() throws {
        let edits = try editing.edits()
        switch try options.open(output) {
        case .decoder(let model):
            try decoder.refuse(for: "a decoder")
            try run(model, edits)
        case .encoder: throw LensError(.usage, "an encoder does not generate", at: options.model, advice: "tlens run shows what stands behind its masks")
        case .encoderDecoder(let model): try run(model, edits)
        }
    }

    private func run(_ model: HookedTransformer, _ edits: [Edit]) throws {
        try generate(model, chat ? chatRows(model) : input.rows(model), edits, hooks: editing.hooks(edits, model, input.bos)) { rows, options, onText in
            try model.generation(rows, options, stopAtEOS: !ignoresEOS, stopStrings: stop, onText: onText)
        }
    }

    /// What an encoder-decoder writes on reading each input.
    private func run(_ model: HookedEncoderDecoder, _ edits: [Edit]) throws {
        guard !chat else { throw LensError(.usage, "an encoder-decoder has no chat template", found: "--chat") }
        let given = try model.rows(input.given(), addSpecialTokens: input.addsSpecialTokens)
        try generate(model, decoder.rows(model, count: given.count), edits, hooks: editing.hooks(edits, model)) { rows, options, onText in
            try model.generation(given, decoderInput: rows, options, stopAtEOS: !ignoresEOS, stopStrings: stop, onText: onText)
        }
    }

    /// Continues `rows` and shows what comes of them.
    private func generate(_ model: any HookedModel, _ rows: [[Int]], _ edits: [Edit], hooks: [Hook],
                          _ body: ([[Int]], GenerationOptions, ([String]) throws -> Bool) throws -> TextGeneration) throws {
        if stream, rows.count != 1 { throw LensError(.usage, "--stream takes one prompt", found: "\(rows.count)") }
        if model.tokenizer == nil, !stop.isEmpty { throw LensError(.usage, "--stop needs a tokenizer") }
        var generation = GenerationOptions(maxNewTokens: maxNewTokens, sampling: choice.sampling, hooks: hooks, cache: .names(filters))
        if output.json { generation.outputs = .logProbabilities }
        var shown = stream && !chat && model.tokenizer != nil ? try model.decoded(rows[0], skipSpecialTokens: true) : ""
        if stream { try say(shown, terminator: "") }
        let result = try body(rows, generation) { added in
            if stream {
                try say(added[0], terminator: "")
                shown += added[0]
            }
            return true
        }
        if let out { try saveRun(tokens: result.generation.sequences, logits: nil, cache: result.generation.cache ?? ActivationCache(nLayers: model.config.nLayers), to: out) }
        if stream, model.tokenizer != nil {
            let whole = (chat ? result.continuations : result.texts)[0]
            return try say(String(String.UnicodeScalarView(whole.unicodeScalars.dropFirst(shown.unicodeScalars.count))))
        }
        try show(result, model, edits)
    }

    /// The prompts as conversations, up to where the answer begins.
    private func chatRows(_ model: HookedTransformer) throws -> [[Int]] {
        guard let tokenizer = model.tokenizer else { throw LensError(.usage, "--chat needs a tokenizer") }
        return try input.prompts.map { prompt in
            let messages: [JSON] = (system.map { [["role": "system", "content": .string($0)]] } ?? [])
                + [["role": "user", "content": .string(prompt)]]
            let tokens = try tokenizer.applyChatTemplate(messages: messages, addGenerationPrompt: true).tokens
            if tokens.isEmpty { throw LensError(.usage, "nothing to run on", at: "an empty conversation") }
            return tokens
        }
    }

    private func show(_ result: TextGeneration, _ model: any HookedModel, _ edits: [Edit]) throws {
        let generation = result.generation, texts = model.tokenizer == nil ? nil : chat ? result.continuations : result.texts
        if output.json {
            try printJSON(.array(generation.tokens.indices.map { row in
                ["text": texts.map { .string($0[row]) } ?? .null, "prompt_tokens": .array(generation.prompts[row].map(JSON.int)),
                 "new_tokens": .array(generation.tokens[row].map(JSON.int)),
                 "log_probabilities": .array((generation.logProbabilities?[row] ?? []).map { .double(Double($0)) }),
                 "finish_reason": .string(generation.finishReasons[row].rawValue), "edits": .array(edits.map(\.json))]
            }))
            return
        }
        try say(generation.tokens.indices.map { row in
            texts?[row] ?? (generation.prompts[row] + generation.tokens[row]).map(String.init).joined(separator: ",")
        }.joined(separator: "\n---\n"))
    }
}
