// Small tokenizers in every format against what Hugging Face makes of them (make_formats_goldens.py).
import Testing
import LensFiles
@testable import LensText

@Suite struct FormatsGoldenTests {
    static let names = ["spm_bpe", "spm_bpe_first", "spm_bpe_never", "spm_unigram", "spm_t5", "spm_xlmr", "vocab_merges",
                        "tiktoken", "vocab_txt", "vocab_txt_cased", "gguf_gpt2", "gguf_llama", "gguf_t5", "gguf_bert"]

    static let texts: [String] = {
        let all = (try? Places.json("\(Places.goldens)/strings.json"))?.arrayValue?.compactMap(\.stringValue) ?? []
        return all.indices.filter { $0.isMultiple(of: 2) }.map { all[$0] }
    }()

    @Test(arguments: names)
    func agreesOnEveryString(_ name: String) throws {
        let folder = "\(Places.goldens)/Formats/\(name)"
        let tokenizer = try Tokenizer(folder: folder)
        let golden = try Places.json("\(folder)/golden.json")
        let plain = try #require(golden["ids"]?.arrayValue), full = try #require(golden["full"]?.arrayValue)
        #expect(plain.count == Self.texts.count && plain.count > 100)
        for (text, (plain, full)) in zip(Self.texts, zip(plain, full)) {
            let ids = try plain.ids(at: "ids")
            #expect(try tokenizer.encode(text: text, addSpecialTokens: false) == ids, "\(text.debugDescription)")
            let expected = full.isNull ? ids : try full.ids(at: "full")
            #expect(try tokenizer.encode(text: text) == expected, "\(text.debugDescription)")
        }
    }

    /// The file alone gives the same as its folder where there is no configuration.
    @Test(arguments: [("spm_bpe", "tokenizer.model"), ("vocab_merges", "vocab.json"), ("vocab_merges", "merges.txt"),
                      ("gguf_gpt2", "model.gguf"), ("gguf_llama", "model.gguf")])
    func fileAlone(_ folder: String, _ file: String) throws {
        let whole = try Tokenizer(folder: "\(Places.goldens)/Formats/\(folder)")
        let alone = try Tokenizer(file: "\(Places.goldens)/Formats/\(folder)/\(file)")
        for text in Self.texts { #expect(try alone.encode(text: text) == whole.encode(text: text)) }
        #expect(alone.bosID == whole.bosID && alone.eosID == whole.eosID && alone.vocabularySize == whole.vocabularySize)
    }

    @Test func tiktokenWithItsOwnPattern() throws {
        let tokenizer = try Tokenizer(tiktoken: "\(Places.goldens)/Formats/tiktoken/test.tiktoken", pattern: .gpt2,
                                      specialTokens: ["<|endoftext|>"])
        let gpt2 = try Tokenizer(folder: "\(Places.goldens)/Formats/vocab_merges")
        for text in Self.texts { #expect(try tokenizer.encode(text: text) == gpt2.encode(text: text), "\(text.debugDescription)") }
        #expect(tokenizer.eosID == gpt2.eosID)
    }

    @Test func ggufChatTemplates() throws {
        let tokenizer = try Tokenizer(file: "\(Places.goldens)/Formats/gguf_gpt2/model.gguf")
        #expect(tokenizer.config.chatTemplates.map(\.name).sorted() == ["default", "tool_use"])
    }

    // The real vocabularies, where they lie beside the package.
    @Test(.enabled(if: Places.hasShared("llama2"), "needs ../shared/tokenizers"))
    func realSentencePiece() throws {
        let folder = "\(Places.shared)/llama2"
        let model = try SentencePieceModel(try readFile(folder + "/tokenizer.model") ?? [], at: "model")
        let converted = try SentencePieceConverter(model, config: TokenizerConfig()).converted().json
        let json = try Places.json(folder + "/tokenizer.json")
        for key in ["added_tokens", "normalizer", "pre_tokenizer", "decoder"] { #expect(converted[key] == json[key], "\(key)") }
        func merges(_ json: JSON) -> [String] {
            (json["model"]?["merges"]?.arrayValue ?? []).map { merge in
                merge.stringValue ?? (merge.arrayValue ?? []).compactMap(\.stringValue).joined(separator: " ")
            }
        }
        #expect(merges(converted).elementsEqual(merges(json), by: same))
        #expect(merges(json).count == 61_249)
        let ours = try Tokenizer(file: folder + "/tokenizer.model"), theirs = try Tokenizer(folder: folder)
        #expect(ours.bosID == 1 && ours.eosID == 2 && ours.unkID == 0 && ours.vocabularySize == 32_000)
        for text in Self.texts { #expect(try ours.encode(text: text) == theirs.encode(text: text), "\(text.debugDescription)") }
    }
}
