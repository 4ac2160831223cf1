// Reading tokenizer.json into the stages of a tokenizer. It refuses unknown versions, members and component types, and
// anything that would make a token mean two things.
import LensFiles

extension Tokenizer {
    private static let members = ["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                  "post_processor", "decoder", "model"]

    /// Loads a folder's `tokenizer.json`, with `tokenizer_config.json` and `special_tokens_map.json` where they exist.
    ///
    /// - Throws: `LensError` if a file cannot be read or is malformed, naming the file and the member.
    public init(folder: String) throws {
        guard isFolder(folder) else {
            throw LensError(.file, "no such folder", at: folder, advice: "give a folder with a tokenizer.json")
        }
        try self.init(file: folder + "/tokenizer.json", configFolder: folder)
    }

    /// Loads a `tokenizer.json`; nothing beside it is read.
    ///
    /// - Throws: `LensError` if the file cannot be read or is malformed, naming the member.
    public init(file: String) throws { try self.init(file: file, configFolder: nil) }

    private init(file: String, configFolder: String?) throws {
        let json = try JSON.parse(try readFile(file) ?? [], at: file)
        var config = TokenizerConfig()
        if let configFolder {
            let places = ["\(configFolder)/tokenizer_config.json", "\(configFolder)/special_tokens_map.json"]
            let found = try places.map { place in
                try readFile(place, isOptional: true).map { try JSON.parse($0, at: place) }
            }
            do {
                config = try TokenizerConfig(json: found[0], at: "tokenizer_config", specialTokensMap: found[1],
                                             at: "special_tokens_map")
            } catch let error as LensError {
                throw error.located(in: configFolder)
            }
        }
        do {
            try self.init(json: json, config: config)
        } catch let error as LensError {
            throw error.located(in: file)
        }
    }

    /// A tokenizer from the contents of a `tokenizer.json` and the configuration beside it.
    ///
    /// - Throws: `LensError` if a member is missing, unknown, of the wrong type or impossible, naming it.
    public init(json: JSON, config: TokenizerConfig = TokenizerConfig()) throws {
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
        if config.addBOSToken != nil || config.addEOSToken != nil {
            postProcessor = .template(Self.bosAndEOSTemplate(config, bosID, eosID))
        }
    }

    /// What `add_bos_token` and `add_eos_token` ask for: where the configuration says either, it overrules the
    /// tokenizer's own post-processor (as in Hugging Face `transformers`).
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
