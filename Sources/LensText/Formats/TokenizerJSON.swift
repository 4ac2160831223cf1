// The parts of a tokenizer.json, as the converters of other formats put them together.
import LensFiles

/// What a tokenizer of another format comes to: a tokenizer.json, and what the file says of special tokens.
struct ConvertedTokenizer {
    var json: JSON
    /// The special tokens and chat templates that the file itself names; a configuration beside it goes first.
    var config = TokenizerConfig()
}

enum TokenizerJSON {
    /// A tokenizer.json.
    static func whole(added: [JSON], normalizer: JSON = nil, preTokenizer: JSON = nil, postProcessor: JSON = nil,
                      decoder: JSON, model: JSON) -> JSON {
        ["version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(added), "normalizer": normalizer,
         "pre_tokenizer": preTokenizer, "post_processor": postProcessor, "decoder": decoder, "model": model]
    }

    static func added(_ id: Int, _ content: String, special: Bool, lstrip: Bool = false) -> JSON {
        ["id": .int(id), "content": .string(content), "single_word": false, "lstrip": .bool(lstrip), "rstrip": false,
         "normalized": false, "special": .bool(special)]
    }

    static func sequence(_ key: String, _ parts: [JSON]) -> JSON { .object(JSONObject([("type", "Sequence"), (key, .array(parts))])) }

    static func replace(_ text: String, _ content: String) -> JSON {
        ["type": "Replace", "pattern": ["String": .string(text)], "content": .string(content)]
    }

    static func split(regex: String) -> JSON {
        ["type": "Split", "pattern": ["Regex": .string(regex)], "behavior": "Isolated", "invert": false]
    }

    static func metaspace(_ scheme: String, split: Bool) -> JSON {
        ["type": "Metaspace", "replacement": "▁", "prepend_scheme": .string(scheme), "split": .bool(split)]
    }

    static func byteLevel(prefixSpace: Bool = false, useRegex: Bool = true) -> JSON {
        ["type": "ByteLevel", "add_prefix_space": .bool(prefixSpace), "trim_offsets": true, "use_regex": .bool(useRegex)]
    }

    /// The decoder of byte-level vocabularies.
    static var byteLevelDecoder: JSON { byteLevel(prefixSpace: true) }

    /// The post-processor that does nothing, as GPT-2 has it.
    static var trimOffsets: JSON {
        ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true]
    }

    /// Tokens before and after a text, and around a second one as the converters of BERT, T5 and LLaMA have it.
    static func template(before: (String, Int)?, after: (String, Int)?, typed: Bool = false) -> JSON {
        func token(_ token: (String, Int)?, _ type: Int) -> [JSON] {
            token.map { [["SpecialToken": ["id": .string($0.0), "type_id": .int(type)]]] } ?? []
        }
        func text(_ name: String, _ type: Int) -> [JSON] { [["Sequence": ["id": .string(name), "type_id": .int(type)]]] }
        let single = token(before, 0) + text("A", 0) + token(after, 0), type = typed ? 1 : 0
        let second = (typed ? [] : token(before, type)) + text("B", type) + token(after, type)
        var special = JSONObject()
        for (name, id) in [before, after].compactMap(\.self) {
            special[name] = ["id": .string(name), "ids": [.int(id)], "tokens": [.string(name)]]
        }
        return ["type": "TemplateProcessing", "single": .array(single), "pair": .array(single + second),
                "special_tokens": .object(special)]
    }

    static func bpe(vocab: JSONObject, merges: [JSON], unk: String? = nil, fuseUnk: Bool = false, byteFallback: Bool = false,
                    ignoreMerges: Bool = false) -> JSON {
        ["type": "BPE", "dropout": nil, "unk_token": unk.map(JSON.string) ?? nil, "continuing_subword_prefix": nil,
         "end_of_word_suffix": nil, "fuse_unk": .bool(fuseUnk), "byte_fallback": .bool(byteFallback),
         "ignore_merges": .bool(ignoreMerges), "vocab": .object(vocab), "merges": .array(merges)]
    }

    static func unigram(_ pieces: [(String, Double)], unkID: Int, byteFallback: Bool) -> JSON {
        ["type": "Unigram", "unk_id": .int(unkID), "byte_fallback": .bool(byteFallback),
         "vocab": .array(pieces.map { [.string($0.0), .double($0.1)] })]
    }

    /// A vocabulary of texts by id; of one given twice the last id holds, as in the converters.
    static func vocabulary(_ texts: [String]) -> JSONObject {
        var vocabulary = JSONObject()
        for (id, text) in texts.enumerated() { vocabulary[text] = .int(id) }
        return vocabulary
    }
}
