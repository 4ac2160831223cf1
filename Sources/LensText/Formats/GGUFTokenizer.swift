// The tokenizer inside a GGUF file (tokenizer.ggml.*): models gpt2, llama, bert and t5. It gives what the tokenizer.json
// that the file was made from gives, as far as the file says; it refuses models, and names of patterns, nobody here knows,
// because a guessed pattern is a wrong token.
import LensFiles

struct GGUFTokenizer {
    private let file: GGUFFile
    private let tokens: [String]
    private let types: [SentencePieceModel.PieceType]

    init(_ file: GGUFFile) throws {
        self.file = file
        guard let value = file["tokenizer.ggml.tokens"] else {
            throw LensError(.format, "GGUF file without a tokenizer", at: file.location, expected: "tokenizer.ggml.tokens")
        }
        guard let tokens = value.arrayValue?.strings, !tokens.isEmpty, tokens.count < Int(Int32.max) else {
            throw Self.wrong(file, "tokens", "strings")
        }
        self.tokens = tokens
        guard let value = file["tokenizer.ggml.token_type"] else {
            types = Array(repeating: .normal, count: tokens.count)
            return
        }
        guard let numbers = value.arrayValue?.integers, numbers.count == tokens.count else {
            throw Self.wrong(file, "token_type", "\(tokens.count) integers")
        }
        types = try numbers.map {
            // 0 is undefined: a token like any other.
            guard let type = $0 == 0 ? .normal : SentencePieceModel.PieceType(rawValue: $0) else {
                throw LensError(.format, "token of an unknown type", at: Self.place(file, "token_type"), expected: "0 to 6", found: "\($0)")
            }
            return type
        }
    }

    func converted() throws -> ConvertedTokenizer {
        guard let model = file["tokenizer.ggml.model"]?.stringValue else { throw Self.wrong(file, "model", "a string") }
        var result: ConvertedTokenizer
        switch model {
        case "gpt2": result = try byteLevel()
        case "llama": result = try sentencePiece(.llama)
        case "t5": result = try sentencePiece(.unigram)
        case "bert": result = try bert()
        default:
            throw LensError(.format, "unsupported tokenizer of a GGUF file", at: Self.place(file, "model"),
                            expected: "gpt2, llama, bert or t5", found: model)
        }
        // BERT's template is its own; the others' is what the flags say, and for LLaMA's a bos unless they do.
        if model != "bert" {
            result.config.addBOSToken = try flag("add_bos_token") ?? (model == "llama" ? true : nil)
            result.config.addEOSToken = try flag("add_eos_token") ?? (model == "t5" ? true : nil)
        }
        result.config.chatTemplates = try chatTemplates()
        return result
    }

    // MARK: Models

    private func byteLevel() throws -> ConvertedTokenizer {
        let merges = try strings("merges")
        // A token with a character outside the byte alphabet is written in it.
        let texts = tokens.map { token -> String in
            var text = token
            return text.withUTF8 { bytes -> String? in
                if ByteAlphabet.bytes(spelledBy: bytes) != nil { return nil }
                var spelled: [UInt8] = []
                ByteAlphabet.spell(bytes, into: &spelled)
                return String(decoding: spelled, as: UTF8.self)
            } ?? token
        }
        let vocabulary = TokenizerJSON.vocabulary(texts)
        let unspelled = texts.indices.filter { texts[$0].utf8.elementsEqual(tokens[$0].utf8) && !tokens[$0].isEmpty }
        let added = unspelled.filter { types[$0] == .control || types[$0] == .userDefined }.compactMap { id -> JSON? in
            vocabulary[tokens[id]]?.intValue == id ? TokenizerJSON.added(id, tokens[id], special: types[id] == .control) : nil
        }
        let pairs = try VocabularyFiles.readMerges(Array((merges ?? []).joined(separator: "\n").utf8))
        return ConvertedTokenizer(json: TokenizerJSON.whole(
            added: added, preTokenizer: try Self.preTokenizer(file["tokenizer.ggml.pre"]?.stringValue ?? "default", file),
            postProcessor: TokenizerJSON.trimOffsets, decoder: TokenizerJSON.byteLevelDecoder,
            model: TokenizerJSON.bpe(vocab: vocabulary, merges: pairs,
                                     ignoreMerges: ["llama-bpe", "llama3", "llama-v3"].contains(file["tokenizer.ggml.pre"]?.stringValue))),
            config: try specialTokens())
    }

    private func sentencePiece(_ family: SentencePieceConverter.Family) throws -> ConvertedTokenizer {
        let numbers = try file["tokenizer.ggml.scores"].map { value -> [Double] in
            guard let numbers = value.arrayValue?.doubles, numbers.count == tokens.count, numbers.allSatisfy(\.isFinite) else {
                throw Self.wrong(file, "scores", "\(tokens.count) numbers")
            }
            return numbers
        }
        let config = try specialTokens()
        let isGemma = family == .llama && file["general.architecture"]?.stringValue?.hasPrefix("gemma") == true
        var texts = tokens
        // Gemma's files write runs of spaces as spaces, and its scores do not follow its merges; its order does.
        if isGemma { texts = texts.map { $0.contains(" ") && $0.utf8.allSatisfy { $0 == 0x20 } ? String(repeating: "▁", count: $0.utf8.count) : $0 } }
        let unk = try id("unknown_token_id") ?? (family == .llama ? 0 : 2)
        guard tokens.indices.contains(unk) else { throw Self.wrong(file, "unknown_token_id", "the id of a token") }
        var converter = SentencePieceConverter(
            family: isGemma ? .gemma : family, texts: texts,
            scores: isGemma ? texts.indices.map { -Double($0) } : numbers ?? texts.indices.map { -Double($0) }, types: types, unkID: unk)
        converter.byteFallback = types.contains(.byte)
        converter.addPrefixSpace = try flag("add_space_prefix") ?? true
        if let map = file["tokenizer.ggml.precompiled_charsmap"] {
            guard case .array(.bytes(let bytes, _)) = map else { throw Self.wrong(file, "precompiled_charsmap", "bytes") }
            converter.charsmap = bytes
        }
        if let merges = try strings("merges") {
            converter.merges = try VocabularyFiles.readMerges(Array(merges.joined(separator: "\n").utf8))
        }
        converter.bosID = try id("bos_token_id")
        converter.eosID = try id("eos_token_id")
        var result = converter.converted()
        result.config = config.filled(from: result.config)
        return result
    }

    /// llama.cpp writes the beginnings of words as ▁word and what follows without BERT's ##.
    private func bert() throws -> ConvertedTokenizer {
        let texts = zip(tokens, types).map { token, type in
            if token.hasPrefix("▁") { return String(String.UnicodeScalarView(token.unicodeScalars.dropFirst())) }
            return type == .normal && !(token.hasPrefix("[") && token.hasSuffix("]")) ? "##" + token : token
        }
        var config = try specialTokens()
        config.clsToken = try name("cls_token_id") ?? config.bosToken
        config.sepToken = try name("seperator_token_id") ?? name("separator_token_id") ?? config.eosToken
        config.maskToken = try name("mask_token_id")
        var result = try VocabularyFiles.wordPiece(tokens: texts, config: config)
        result.config = config.filled(from: result.config)
        return result
    }

    /// The pre-tokenizer that `tokenizer.ggml.pre` names.
    private static func preTokenizer(_ name: String, _ file: GGUFFile) throws -> JSON {
        func splits(_ patterns: [String]) -> JSON {
            TokenizerJSON.sequence("pretokenizers", patterns.map(TokenizerJSON.split(regex:)) + [TokenizerJSON.byteLevel(useRegex: false)])
        }
        switch name {
        case "default", "gpt-2", "phi-2", "olmo", "mpt", "jais", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de",
             "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert", "dolma":
            return TokenizerJSON.byteLevel()
        case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "dbrx", "smaug-bpe":
            return splits([SplitPattern.cl100k.regex])
        case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2": return splits([SplitPattern.qwen2.regex])
        case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2": return splits([SplitPattern.o200k.regex])
        case "tekken": return splits([SplitPattern.tekken.regex])
        case "deepseek-v3", "deepseek3": return splits(SplitPattern.deepSeek3)
        case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b":
            return TokenizerJSON.sequence("pretokenizers", [["type": "Digits", "individual_digits": true], TokenizerJSON.byteLevel()])
        default:
            throw LensError(.format, "unknown pattern of a GGUF tokenizer", at: place(file, "pre"), found: name,
                            advice: "load the tokenizer.json the file was made from")
        }
    }

    // MARK: Members

    private static func place(_ file: GGUFFile, _ key: String) -> String { "\(file.location): tokenizer.ggml.\(key)" }

    private static func wrong(_ file: GGUFFile, _ key: String, _ expected: String) -> LensError {
        let found = file["tokenizer.ggml.\(key)"]
        return LensError(.format, "wrong metadata of a GGUF tokenizer", at: place(file, key), expected: expected,
                         found: found?.intValue.map(String.init) ?? found?.typeName ?? "nothing")
    }

    private func flag(_ key: String) throws -> Bool? {
        guard let value = file["tokenizer.ggml.\(key)"] else { return nil }
        guard let flag = value.boolValue else { throw Self.wrong(file, key, "true or false") }
        return flag
    }

    private func strings(_ key: String) throws -> [String]? {
        guard let value = file["tokenizer.ggml.\(key)"] else { return nil }
        guard let strings = value.arrayValue?.strings else { throw Self.wrong(file, key, "strings") }
        return strings
    }

    private func id(_ key: String) throws -> Int? {
        guard let value = file["tokenizer.ggml.\(key)"] else { return nil }
        guard let id = value.intValue, tokens.indices.contains(id) else { throw Self.wrong(file, key, "the id of a token") }
        return id
    }

    private func name(_ key: String) throws -> String? { try id(key).map { tokens[$0] } }

    private func specialTokens() throws -> TokenizerConfig {
        var config = TokenizerConfig()
        config.bosToken = try name("bos_token_id")
        config.eosToken = try name("eos_token_id")
        config.unkToken = try name("unknown_token_id")
        config.padToken = try name("padding_token_id")
        return config
    }

    /// `tokenizer.chat_template`, and the named ones beside it.
    private func chatTemplates() throws -> [ChatTemplateSource] {
        let prefix = "tokenizer.chat_template"
        return try file.keys.compactMap { key in
            guard key == prefix || key.hasPrefix(prefix + ".") else { return nil }
            guard let text = file[key]?.stringValue else {
                throw LensError(.format, "wrong metadata of a GGUF tokenizer", at: "\(file.location): \(key)", expected: "a string",
                                found: file[key]?.typeName)
            }
            return ChatTemplateSource(name: key == prefix ? "default" : String(key.dropFirst(prefix.count + 1)), text: text)
        }
    }
}
