// Which of the formats a folder or a file is, and reading it: tokenizer.json first, then what is there.
import LensFiles

/// Loads a tokenizer of any format.
enum TokenizerFiles {
    /// What a folder is looked through for when it has no tokenizer.json, the first found first.
    private static let sentencePieceNames = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model"]
    private static let expected = "tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt, *.tiktoken or *.gguf"

    /// A folder's tokenizer: its tokenizer.json, and its configuration (nothing of the latter applied).
    static func folder(_ path: String, config: TokenizerConfig) throws -> (file: String, tokenizer: ConvertedTokenizer) {
        let json = path + "/tokenizer.json"
        if fileExists(json) { return (json, ConvertedTokenizer(json: try JSON.parse(try readFile(json) ?? [], at: json))) }
        for name in sentencePieceNames where fileExists("\(path)/\(name)") { return try file("\(path)/\(name)", config: config) }
        if fileExists(path + "/vocab.json"), fileExists(path + "/merges.txt") { return try file(path + "/vocab.json", config: config) }
        if fileExists(path + "/vocab.txt") { return try file(path + "/vocab.txt", config: config) }
        let names = fileNames(in: path)
        for end in [".tiktoken", ".model", ".gguf"] {
            let found = names.filter { $0.hasSuffix(end) }
            if found.count > 1, end != ".gguf" {
                throw LensError(.file, "several tokenizers in a folder", at: path, found: found.sorted().joined(separator: ", "),
                                advice: "name the file")
            }
            // Of a model split over several files, the first has the metadata.
            if let name = found.min() { return try file("\(path)/\(name)", config: config) }
        }
        throw LensError(.file, "no tokenizer in the folder", at: path, expected: expected)
    }

    /// Whether a folder holds one of the files that only tokenizers have.
    static func isPresent(in path: String) -> Bool {
        (["tokenizer.json", "vocab.txt"] + sentencePieceNames).contains { fileExists("\(path)/\($0)") }
            || fileExists(path + "/vocab.json") && fileExists(path + "/merges.txt")
            || fileNames(in: path).contains { $0.hasSuffix(".tiktoken") }
    }

    /// A file's tokenizer: what it is, its content says where it can, its name else.
    static func file(_ path: String, config: TokenizerConfig) throws -> (file: String, tokenizer: ConvertedTokenizer) {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        if name.hasSuffix(".gguf") || hasGGUFHeader(path) { return (path, try GGUFTokenizer(GGUFFile(path: path)).converted()) }
        let bytes = try readFile(path) ?? []
        do { return (path, try converted(bytes, path, name, config)) } catch let error as LensError {
            throw error.location?.hasPrefix(path) == true ? error : error.located(in: path)
        }
    }

    private static func converted(_ bytes: [UInt8], _ path: String, _ name: String,
                                  _ config: TokenizerConfig) throws -> ConvertedTokenizer {
        let folder = path.contains("/") ? String(path.prefix(path.utf8.count - name.utf8.count)) : ""
        if name == "merges.txt" || name == "vocab.json" {
            let vocab = try JSON.parse(try readFile(folder + "vocab.json") ?? [], at: folder + "vocab.json")
            return try VocabularyFiles.byteLevel(vocab: vocab, merges: try readFile(folder + "merges.txt") ?? [], config: config)
        }
        if name.hasSuffix(".json") || bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{") {
            return ConvertedTokenizer(json: try JSON.parse(bytes, at: path))
        }
        if TikTokenFile.isTikToken(bytes) {
            return try TikTokenFile.converted(bytes, name: name, pattern: nil, special: nil, config: config)
        }
        if name.hasSuffix(".txt") { return try VocabularyFiles.wordPiece(vocab: bytes, config: config) }
        if name.hasSuffix(".tiktoken") {
            return try TikTokenFile.converted(bytes, name: name, pattern: nil, special: nil, config: config)
        }
        if name.hasSuffix(".model") || bytes.first == 0x0A {
            return try SentencePieceConverter(SentencePieceModel(bytes, at: path), config: config).converted()
        }
        throw LensError(.format, "tokenizer file of an unknown kind", at: path, expected: expected)
    }

    private static func hasGGUFHeader(_ path: String) -> Bool {
        guard let file = try? DataFile(path: path), file.size >= 4, let bytes = try? file.read(0..<4) else { return false }
        return GGUFFile.isGGUF(bytes)
    }

    /// The configuration beside a tokenizer, in `folder`.
    static func config(in folder: String) throws -> TokenizerConfig {
        let places = ["\(folder)/tokenizer_config.json", "\(folder)/special_tokens_map.json"]
        let found = try places.map { place in try readFile(place, isOptional: true).map { try JSON.parse($0, at: place) } }
        do {
            var config = try TokenizerConfig(json: found[0], at: "tokenizer_config", specialTokensMap: found[1], at: "special_tokens_map")
            let templates = try ChatTemplateSource.read(folder: folder)
            if !templates.isEmpty { config.chatTemplates = templates }
            return config
        } catch let error as LensError {
            throw error.located(in: folder)
        }
    }
}

extension Tokenizer {
    /// Whether `init(folder:)` would find a tokenizer's files in a folder.
    public static func isPresent(in folder: String) -> Bool { TokenizerFiles.isPresent(in: folder) }

    /// Loads a tiktoken rank file with the pattern text is cut by.
    ///
    /// - Parameters:
    ///   - file: lines of a token in base 64 and its rank.
    ///   - pattern: how text is cut before its bytes are merged.
    ///   - specialTokens: their ids follow the ranks.
    /// - Throws: `LensError` if the file cannot be read or is malformed.
    public init(tiktoken file: String, pattern: SplitPattern, specialTokens: [String] = []) throws {
        let name = file.split(separator: "/").last.map(String.init) ?? file
        do {
            let converted = try TikTokenFile.converted(try readFile(file) ?? [], name: name, pattern: pattern,
                                                       special: specialTokens, config: TokenizerConfig())
            try self.init(json: converted.json, config: converted.config)
        } catch let error as LensError {
            throw error.location?.hasPrefix(file) == true ? error : error.located(in: file)
        }
    }
}
