// `tlens tokenize`: text to tokens, and back.

import ArgumentParser
import TransformerLens

struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the tokens of a text, or the text of tokens.",
        usage: """
            tlens tokenize <model> <text> [--no-bos]
            tlens tokenize <model> --decode <ids>
            """,
        discussion: """
            MODEL may be a folder or a tokenizer.json with only a tokenizer; without a config.json there is no family's rule, \
            and the beginning-of-sequence token is what the tokenizer itself adds.
            """)

    @Argument(help: "A model, or a folder or file with only a tokenizer.")
    var model: String

    @Argument(help: "The text.")
    var text: String?

    @Option(help: ArgumentHelp("Tokens to turn into text, as 1,2,3.", valueName: "ids"))
    var decode: String?

    @OptionGroup var bos: BOSOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (text == nil) != (decode == nil) else { throw ValidationError("give a text, or --decode with tokens") }
        if let decode, !decode.isEmpty { _ = try tokenList(decode) }
    }

    func run() throws {
        let (tokenizer, rule, kind) = try load()
        if let decode {
            let ids = decode.isEmpty ? [] : try tokenList(decode)
            let text = try tokenizer.decode(tokens: ids, skipSpecialTokens: false)
            try output.json ? printJSON(["ids": .array(ids.map(JSON.int)), "text": .string(text)]) : say(text)
            return
        }
        // Encoders know special tokens or none; a decoder's beginning is its family's business.
        let ids = try kind == .decoder ? tokenizer.tokens(of: text ?? "", prependBOS: bos.choice ?? rule, isRequired: bos.prepend)
            : tokenizer.encode(text: text ?? "", addSpecialTokens: !bos.none)
        let tokens = try ids.map { try tokenizer.decode(tokens: [$0], skipSpecialTokens: false) }
        if output.json {
            try printJSON(["ids": .array(ids.map(JSON.int)), "tokens": .array(tokens.map(JSON.string))])
            return
        }
        var table = TextTable(["#position", "#id", "token"])
        for (index, (id, token)) in zip(ids, tokens).enumerated() { table.add(["\(index)", "\(id)", quoted(token)]) }
        try say(table.text)
    }

    /// The tokenizer, and the family's rule for the beginning-of-sequence token if a configuration tells the family.
    private func load() throws -> (Tokenizer, Bool?, ModelConfig.Kind) {
        if model.hasSuffix(".gguf"), !isFolder(model) {
            return (try Tokenizer(file: model), try? ModelFolder(path: model).config.defaultPrependBOS, .decoder)
        }
        if fileExists(model), !isFolder(model) { return (try Tokenizer(file: model), nil, .decoder) }
        if isFolder(model), !fileExists("\(model)/config.json") { return (try Tokenizer(folder: model), nil, .decoder) }
        let folder = try localFolder(of: model, Progress(output))
        let config = try ModelFolder(path: folder).config
        if let named = try Tokenizer.named(in: folder, LoadOptions(), fileExists(model) ? nil : Hub()) { return (named, config.defaultPrependBOS, config.kind) }
        return (try Tokenizer(folder: folder), config.defaultPrependBOS, config.kind)
    }
}
