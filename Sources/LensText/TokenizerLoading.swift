// Reading tokenizer.json into the stages of a tokenizer. It refuses unknown versions, members and component types, and
// anything that would make a token mean two things.
import LensFiles

extension Tokenizer {
    private static let members = ["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                  "post_processor", "decoder", "model"]

    /// Loads a folder's tokenizer: `tokenizer.json` if it has one, else a SentencePiece model (`tokenizer.model`,
    /// `spiece.model`, …), `vocab.json` with `merges.txt`, `vocab.txt`, a tiktoken or a GGUF file; with
    /// `tokenizer_config.json`, `special_tokens_map.json` and chat templates where they exist.
    ///
    /// As in transformers, `add_bos_token` and `add_eos_token` count only where there is no `tokenizer.json`, whose own
    /// post-processor says it all.
    /// - Throws: `LensError` if a file cannot be read or is malformed, naming the file and the member.
    public init(folder: String) throws {
        guard isFolder(folder) else {
            throw LensError(.file, "no such folder", at: folder, advice: "give a folder with a tokenizer.json")
        }
        let config = try TokenizerFiles.config(in: folder)
        let (file, converted) = try TokenizerFiles.folder(folder, config: config)
        try self.init(converted, config, file: file)
    }

    /// Loads a tokenizer from a file: a `tokenizer.json`, a SentencePiece model, `vocab.json` (or `merges.txt`, the other
    /// beside it), `vocab.txt`, a tiktoken or a GGUF file. No configuration beside it is read.
    ///
    /// - Throws: `LensError` if the file cannot be read or is malformed, naming the member.
    public init(file: String) throws {
        let (path, converted) = try TokenizerFiles.file(file, config: TokenizerConfig())
        try self.init(converted, TokenizerConfig(), file: path)
    }

    /// The tokenizer of a model: of its folder, in its GGUF file, or beside its file of weights; nil if there is none.
    /// - Throws: `LensError` if there is one and it cannot be read.
    public static func beside(_ model: String) throws -> Tokenizer? {
        if isFolder(model) { return isPresent(in: model) ? try Tokenizer(folder: model) : nil }
        if model.hasSuffix(".gguf") {
            return try GGUFFile(path: model)["tokenizer.ggml.tokens"] == nil ? nil : Tokenizer(file: model)
        }
        let folder = model.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(model[..<$0]) } ?? "."
        return isPresent(in: folder) ? try Tokenizer(folder: folder) : nil
    }

    private init(_ converted: ConvertedTokenizer, _ config: TokenizerConfig, file: String) throws {
        do {
            let config = config.filled(from: converted.config)
            try self.init(json: try ConfiguredTokens.adding(config, to: converted.json), config: config,
                          appliesFlags: !file.hasSuffix("tokenizer.json"))
        } catch let error as LensError {
            throw error.located(in: file)
        }
    }

    /// A tokenizer from the contents of a `tokenizer.json` and the configuration beside it.
    ///
    /// - Throws: `LensError` if a member is missing, unknown, of the wrong type or impossible, naming it.
    public init(json: JSON, config: TokenizerConfig = TokenizerConfig()) throws {
        try self.init(json: json, config: config, appliesFlags: true)
    }

    private init(json: JSON, config: TokenizerConfig, appliesFlags: Bool) throws {
        let fields = try Fields(json, at: "tokenizer")
        for key in fields.object.keys where !Self.members.contains(key) {
            throw LensError(.format, "unknown member", at: fields.place(key),
                            expected: Self.members.joined(separator: ", "))
        }
        if let version = fields.optional("version"), version.stringValue != "1.0" {
            throw LensError(.format, "unknown tokenizer version", at: fields.place("version"), expected: "\"1.0\"",
                            found: version.summary)
        }
        model = try TokenModel(json: try fields.required("model"), at: "model")
        normalizer = try Normalizer(json: fields.object["normalizer"], at: "normalizer")
        preTokenizer = try PreTokenizer(json: fields.object["pre_tokenizer"], at: "pre_tokenizer")
        decoder = try Decoder(json: fields.object["decoder"], at: "decoder")
        added = try AddedVocabulary(json: fields.optional("added_tokens"), vocabulary: model.vocabulary,
                                    normalizer: normalizer, at: "added_tokens")
        self.config = config
        truncation = try Truncation(json: fields.object["truncation"], at: "truncation")
        padding = try Padding(json: fields.object["padding"], at: "padding")
        asksForOrigins = normalizer != nil && preTokenizer?.asksForOrigins == true
        postProcessor = try PostProcessor(json: fields.object["post_processor"], at: "post_processor")
        let (model, added) = (model, added)
        func id(_ token: String?) -> Int? {
            token.flatMap { Self.id(of: Array($0.utf8), added, model) }
        }
        bosID = id(config.bosToken)
        eosID = id(config.eosToken)
        padID = id(config.padToken)
        unkID = id(config.unkToken)
        if appliesFlags, config.addBOSToken != nil || config.addEOSToken != nil {
            postProcessor = .template(Self.bosAndEOSTemplate(config, bosID, eosID))
        }
    }

    /// What `add_bos_token` and `add_eos_token` ask for: where they are given, they overrule the tokenizer's own
    /// post-processor (as in Hugging Face `transformers`).
    private static func bosAndEOSTemplate(_ config: TokenizerConfig, _ bos: Int?, _ eos: Int?) -> Template {
        func pieces(_ number: Int) -> [Template.Piece] {
            var pieces: [Template.Piece] = [.text(number, type: number)]
            if config.addBOSToken == true, let bos {
                pieces.insert(.special(SpecialToken(config.bosToken ?? "", bos), type: number), at: 0)
            }
            if config.addEOSToken == true, let eos { pieces.append(.special(SpecialToken(config.eosToken ?? "", eos), type: number)) }
            return pieces
        }
        return Template(single: pieces(0), pair: pieces(0) + pieces(1))
    }
}
