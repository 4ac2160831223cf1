// A small byte-level BPE of GPT-2's kind, made from a list of words: all 256 bytes, a merge for each longer beginning of
// each word, and <|endoftext|>. Any text has tokens, and the words here have one each.

import LensFiles

/// The tokenizer of the tiny GPT-2.
public enum TinyTokenizer {
    private static let words = ["Hello", " World", "The", " the", " is", " in", " a", " to", " and", " of", "Once", " upon", " time",
                                " Eiffel", " Tower", " Paris", " said", " gave", " Mary", "When", " John", " went", " store", " drink"]

    /// Merges in order of rank, and the tokens they make.
    private static let merges: [(left: String, right: String)] = {
        var seen: Set<String> = [], list: [(left: String, right: String)] = []
        for word in words {
            let letters = word.utf8.map { String(alphabet[Int($0)]) }
            var left = letters[0]
            for right in letters.dropFirst() {
                if seen.insert(left + right).inserted { list.append((left, right)) }
                left += right
            }
        }
        return list
    }()

    private static let vocabulary: [String] = alphabet.map { String($0) } + merges.map { $0.left + $0.right }

    /// The id of `<|endoftext|>`, the last one.
    public static var endOfText: Int { vocabulary.count }
    /// Tokens in all.
    public static var size: Int { vocabulary.count + 1 }

    /// `tokenizer.json`
    public static var json: JSON {
        let byteLevel: JSON = ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true]
        return [
            "version": "1.0", "truncation": nil, "padding": nil,
            "added_tokens": [["id": .int(endOfText), "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                              "rstrip": false, "normalized": false, "special": true]],
            "normalizer": nil, "pre_tokenizer": byteLevel, "post_processor": byteLevel, "decoder": byteLevel,
            "model": ["type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
                      "vocab": .object(JSONObject(vocabulary.enumerated().map { ($1, .int($0)) })),
                      "merges": .array(merges.map { .string("\($0.left) \($0.right)") })],
        ]
    }

    /// `tokenizer_config.json`
    public static var config: JSON {
        ["add_prefix_space": false, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
         "tokenizer_class": "GPT2Tokenizer"]
    }

    /// GPT-2's letters for bytes: printable ones stand for themselves, the rest for letters from U+0100 on.
    private static let alphabet: [Character] = {
        var next: UInt32 = 256
        return (0..<256).map { byte -> Character in
            switch byte {
            case 33...126, 161...172, 174...255: return Character(Unicode.Scalar(UInt8(byte)))
            default:
                defer { next += 1 }
                return Unicode.Scalar(next).map(Character.init) ?? " "
            }
        }
    }()
}
