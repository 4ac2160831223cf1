// The older files of fast tokenizers: `vocab.json` with `merges.txt` (GPT2Converter, RobertaConverter, Qwen2Converter)
// and BERT's `vocab.txt` (BertConverter). The class that tokenizer_config.json names chooses; it refuses classes whose
// tokenizer is built otherwise.
import LensFiles

enum VocabularyFiles {
    private static let roberta = ["Roberta", "Bart", "Longformer", "LED", "Mvp"]
    /// Classes whose vocabularies are files of the same names, and mean something else.
    private static let others = ["CLIP", "Herbert", "OpenAIGPT", "Deberta", "Blenderbot", "Whisper", "MarkupLM"]

    /// A byte-level BPE from the contents of `vocab.json` and `merges.txt`.
    static func byteLevel(vocab: JSON, merges: [UInt8], config: TokenizerConfig) throws -> ConvertedTokenizer {
        let name = config.tokenizerClass ?? ""
        if let other = others.first(where: name.hasPrefix) {
            throw LensError(.format, "vocab.json and merges.txt of a tokenizer that is not byte-level as GPT-2's",
                            at: "tokenizer_config.tokenizer_class", found: name,
                            advice: "save it with a tokenizer.json (\(other) tokenizers have one)")
        }
        let vocabulary = try vocab.asObject(at: "vocab.json")
        let isRoberta = roberta.contains(where: name.hasPrefix), isQwen = name.hasPrefix("Qwen2")
        var defaults = TokenizerConfig()
        func named(_ token: String) -> String? { vocabulary[token] == nil ? nil : token }
        if isRoberta {
            (defaults.bosToken, defaults.eosToken, defaults.unkToken) = (named("<s>"), named("</s>"), named("<unk>"))
            (defaults.clsToken, defaults.sepToken) = (named("<s>"), named("</s>"))
            (defaults.padToken, defaults.maskToken) = (named("<pad>"), named("<mask>"))
        } else {
            let end = named("<|endoftext|>")
            (defaults.bosToken, defaults.eosToken, defaults.unkToken) = (isQwen ? nil : end, end, isQwen ? nil : end)
            defaults.padToken = isQwen ? end : nil
        }
        let prefixSpace = try config.flag("add_prefix_space") ?? false
        var pre = TokenizerJSON.byteLevel(prefixSpace: prefixSpace), post = TokenizerJSON.trimOffsets
        if isQwen {
            pre = TokenizerJSON.sequence("pretokenizers", [
                TokenizerJSON.split(regex: SplitPattern.qwen2.regex), TokenizerJSON.byteLevel(prefixSpace: prefixSpace, useRegex: false),
            ])
        } else if isRoberta {
            let merged = config.filled(from: defaults)
            func pair(_ token: String?, _ key: String) throws -> JSON {
                guard let token, let id = vocabulary[token] else {
                    throw LensError(.format, "special token missing in vocab.json", at: "tokenizer_config.\(key)", found: token)
                }
                return [.string(token), id]
            }
            post = ["type": "RobertaProcessing", "sep": try pair(merged.sepToken, "sep_token"),
                    "cls": try pair(merged.clsToken, "cls_token"), "trim_offsets": true, "add_prefix_space": .bool(prefixSpace)]
        }
        let model = TokenizerJSON.bpe(vocab: vocabulary, merges: try readMerges(merges))
        return ConvertedTokenizer(json: TokenizerJSON.whole(
            added: [], normalizer: isQwen ? ["type": "NFC"] : nil, preTokenizer: pre, postProcessor: post,
            decoder: TokenizerJSON.byteLevelDecoder, model: model), config: defaults)
    }

    /// Lines of two tokens; a first line with the version does not count.
    static func readMerges(_ bytes: [UInt8]) throws -> [JSON] {
        var merges: [JSON] = []
        for (number, line) in lines(bytes).enumerated() where !line.isEmpty && !line.starts(with: "#version".utf8) {
            let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
            guard parts.count == 2, let left = String(validating: parts[0], as: UTF8.self),
                  let right = String(validating: parts[1], as: UTF8.self) else {
                throw LensError(.format, "bad merge", at: "merges.txt: line \(number + 1)", expected: "two tokens with a space between",
                                found: String(decoding: line.prefix(60), as: UTF8.self))
            }
            merges.append([.string(left), .string(right)])
        }
        return merges
    }

    /// A WordPiece tokenizer from the content of `vocab.txt`.
    static func wordPiece(vocab: [UInt8], config: TokenizerConfig) throws -> ConvertedTokenizer {
        var texts: [String] = []
        for (number, line) in lines(vocab).enumerated() {
            guard let text = String(validating: line, as: UTF8.self) else {
                throw LensError(.format, "not UTF-8 text", at: "vocab.txt: line \(number + 1)")
            }
            texts.append(text)
        }
        return try wordPiece(tokens: texts, config: config)
    }

    /// A WordPiece tokenizer of tokens by id.
    static func wordPiece(tokens: [String], config: TokenizerConfig) throws -> ConvertedTokenizer {
        let vocabulary = TokenizerJSON.vocabulary(tokens)
        var defaults = TokenizerConfig()
        (defaults.unkToken, defaults.sepToken, defaults.padToken) = ("[UNK]", "[SEP]", "[PAD]")
        (defaults.clsToken, defaults.maskToken) = ("[CLS]", "[MASK]")
        let merged = config.filled(from: defaults)
        // A name the vocabulary lacks would be added after it; BERT's own defaults are only what a vocabulary has.
        func known(_ token: String?) -> String? { token.flatMap { vocabulary[$0] == nil ? nil : $0 } }
        defaults.padToken = known(defaults.padToken)
        defaults.maskToken = known(defaults.maskToken)
        func required(_ token: String?, _ key: String) throws -> (String, Int) {
            guard let token = known(token), let id = vocabulary[token]?.intValue else {
                throw LensError(.format, "special token missing in the vocabulary", at: key, expected: "a line \(token ?? "")",
                                advice: "is this the vocab.txt of a BERT tokenizer?")
            }
            return (token, id)
        }
        let unk = try required(merged.unkToken, "unk_token")
        let cls = try required(merged.clsToken, "cls_token"), sep = try required(merged.sepToken, "sep_token")
        let normalizer: JSON = [
            "type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": .bool(try config.flag("tokenize_chinese_chars") ?? true),
            "strip_accents": try config.flag("strip_accents").map(JSON.bool) ?? nil,
            "lowercase": .bool(try config.flag("do_lower_case") ?? true),
        ]
        let model: JSON = ["type": "WordPiece", "unk_token": .string(unk.0), "continuing_subword_prefix": "##",
                           "max_input_chars_per_word": 100, "vocab": .object(vocabulary)]
        return ConvertedTokenizer(json: TokenizerJSON.whole(
            added: [], normalizer: normalizer, preTokenizer: ["type": "BertPreTokenizer"],
            postProcessor: TokenizerJSON.template(before: cls, after: sep, typed: true),
            decoder: ["type": "WordPiece", "prefix": "##", "cleanup": true], model: model), config: defaults)
    }

    /// Lines without their ends (`\n` or `\r\n`); nothing after the last end is no line.
    static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines.map { $0.last == 0x0D ? $0.dropLast() : $0 }
    }
}
