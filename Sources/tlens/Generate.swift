// `tlens generate`: continue prompts.

import ArgumentParser
import TransformerLens

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Continue a prompt, or several at once.",
                                                    usage: "tlens generate <model> --prompt <text> [<options>]")

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions
    @OptionGroup var decoder: DecoderOptions

    @Option(help: ArgumentHelp("Most tokens to add.", valueName: "n"))
    var maxNewTokens = 20

    @Option(help: ArgumentHelp("0 takes the most likely token; higher is more varied.", valueName: "t"))
    var temperature = 1.0

    @Option(help: ArgumentHelp("Choose among the k most likely tokens.", valueName: "k"))
    var topK: Int?

    @Option(help: ArgumentHelp("Choose among the fewest tokens whose probabilities reach p.", valueName: "p"))
    var topP: Double?

    @Option(help: ArgumentHelp("The same seed gives the same text.", valueName: "s"))
    var seed: UInt64 = 0

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("Stop after this text. Repeatable.", valueName: "text"))
    var stop: [String] = []

    @Flag(help: "Print as it comes (one prompt only).")
    var stream = false

    @Flag(help: "Take each --prompt as a user's message, in the model's chat template; print only the answer.")
    var chat = false

    @Option(help: "A system message before the prompt (with --chat).")
    var system: String?

    @OptionGroup var output: OutputOptions

    private var sampling: Sampling { Sampling(temperature: temperature, topK: topK, topP: topP, seed: seed) }

    func validate() throws {
        do { try sampling.validate() } catch { throw ValidationError("\(error)") }
        guard maxNewTokens >= 0 else { throw ValidationError("--max-new-tokens takes a number from 0, not \(maxNewTokens)") }
        if stop.contains("") { throw ValidationError("--stop takes a text that is not empty") }
        if system != nil, !chat { throw ValidationError("--system needs --chat") }
        if chat, input.prompts.isEmpty { throw ValidationError("--chat takes --prompt") }
        if chat, input.bos.choice != nil { throw ValidationError("--chat excludes --prepend-bos and --no-bos: the template writes the special tokens") }
        if stream, output.json { throw ValidationError("--stream and --json exclude each other") }
        if stream, input.prompts.count > 1 || input.tokens.count > 1 { throw ValidationError("--stream takes one prompt") }
    }

    func run() throws {
        switch try options.open(output) {
        case .decoder(let model):
            try decoder.refuse(for: "a decoder")
            try run(model)
        case .encoder: throw LensError(.usage, "an encoder does not generate", at: options.model, advice: "tlens run shows what stands behind its masks")
        case .encoderDecoder(let model): try run(model)
        }
    }

    /// What an encoder-decoder writes on reading each input.
    private func run(_ model: HookedEncoderDecoder) throws {
        guard !chat else { throw LensError(.usage, "an encoder-decoder has no chat template", found: "--chat") }
        let read = try model.toTokens(input.given(), addSpecialTokens: input.addsSpecialTokens)
        let given = zip(read.tokens.rows, read.attentionMask.rows).map { tokens, mask in zip(tokens, mask).filter { $1 == 1 }.map(\.0) }
        try generate(model, decoder.rows(model, count: given.count)) { rows, onTokens in
            try model.generate(tokens: given, decoderTokens: rows, maxNewTokens: maxNewTokens, sampling: sampling, onTokens: onTokens)
        }
    }

    private func run(_ model: HookedTransformer) throws {
        try generate(model, chat ? chatRows(model) : input.rows(model)) { rows, onTokens in
            try model.generate(tokens: rows, maxNewTokens: maxNewTokens, sampling: sampling, onTokens: onTokens)
        }
    }

    /// Continues `rows`, showing what comes of them.
    private func generate(_ model: any HookedModel, _ rows: [[Int]],
                          _ body: ([[Int]], ([Int?]) throws -> Bool) throws -> [[Int]]) throws {
        if stream, rows.count != 1 { throw LensError(.usage, "--stream takes one prompt", found: "\(rows.count)") }
        guard model.tokenizer != nil else {
            guard stop.isEmpty else { throw LensError(.usage, "--stop needs a tokenizer") }
            return try show(zip(rows, body(rows) { _ in true }).map { ($0, $1, nil) })
        }
        var watchers = try rows.map { try RowWatcher($0, model, stop) }
        if stream, !chat { try say(watchers[0].promptText, terminator: "") }
        let new = try body(rows) { tokens in
            for (row, token) in tokens.enumerated() {
                guard let token, !watchers[row].hasStopped else { continue }
                let added = try watchers[row].add(token)
                if stream { try say(added, terminator: "") }
            }
            return watchers.contains { !$0.hasStopped }
        }
        if stream {
            try say(try watchers[0].rest())
            return
        }
        try show(watchers.indices.map { (rows[$0], new[$0], try chat ? watchers[$0].finishAnswer() : watchers[$0].finish()) })
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

    private func show(_ rows: [(prompt: [Int], new: [Int], text: String?)]) throws {
        if output.json {
            try printJSON(.array(rows.map { row in
                ["text": row.text.map(JSON.string) ?? .null, "prompt_tokens": .array(row.prompt.map(JSON.int)),
                 "new_tokens": .array(row.new.map(JSON.int))]
            }))
            return
        }
        try say(rows.map { $0.text ?? ($0.prompt + $0.new).map(String.init).joined(separator: ",") }.joined(separator: "\n---\n"))
    }
}

/// Follows one row's text: what can be shown so far, and whether a stop text has come.
struct RowWatcher {
    private let model: any HookedModel
    private let stops: [String]
    private var tokens: [Int]
    private var shown: String
    private(set) var hasStopped = false
    let promptText: String

    init(_ prompt: [Int], _ model: any HookedModel, _ stops: [String]) throws {
        self.model = model
        self.stops = stops
        tokens = prompt
        promptText = try model.decoded(prompt, skipSpecialTokens: true)
        shown = promptText
    }

    /// Adds a token. - Returns: text that can be shown now; a character still in pieces waits.
    mutating func add(_ token: Int) throws -> String {
        tokens.append(token)
        var text = try decoded()
        if let end = stopEnd(in: text) {
            hasStopped = true
            text = String(text.unicodeScalars.prefix(end))
        } else if text.unicodeScalars.last == "\u{FFFD}" {
            return ""
        }
        return show(text)
    }

    /// What was held back.
    mutating func rest() throws -> String { hasStopped ? "" : show(try decoded()) }

    /// The whole text, up to and with the stop text.
    mutating func finish() throws -> String {
        if !hasStopped { _ = show(try decoded()) }
        return shown
    }

    /// The text after the prompt, up to and with the stop text.
    mutating func finishAnswer() throws -> String {
        String(String.UnicodeScalarView(try finish().unicodeScalars.dropFirst(promptText.unicodeScalars.count)))
    }

    private func decoded() throws -> String { try model.decoded(tokens, skipSpecialTokens: true) }

    private mutating func show(_ text: String) -> String {
        let new = String(String.UnicodeScalarView(text.unicodeScalars.dropFirst(shown.unicodeScalars.count)))
        shown = text
        return new
    }

    /// Scalars up to the end of the first stop text after the prompt.
    private func stopEnd(in text: String) -> Int? {
        let scalars = Array(text.unicodeScalars), begin = promptText.unicodeScalars.count
        return stops.compactMap { stop -> Int? in
            let wanted = Array(stop.unicodeScalars)
            guard scalars.count - begin >= wanted.count else { return nil }
            return (begin...scalars.count - wanted.count).first { scalars[$0..<$0 + wanted.count].elementsEqual(wanted) }.map { $0 + wanted.count }
        }.min()
    }
}
