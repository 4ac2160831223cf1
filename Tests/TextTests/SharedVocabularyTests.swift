// GPT-2, LLaMA-2, BERT and a Unigram vocabulary on every line of their expected.json, made with Hugging Face tokenizers.
import Testing
import LensFiles
@testable import LensText

@Suite struct SharedVocabularyTests {
    // The vocabularies lie beside the package, in ../shared; where they do not, there is nothing to test here and the
    // committed goldens have to do.
    @Test(.enabled(if: Places.hasShared("gpt2") && Places.hasShared("llama2"), "needs ../shared/tokenizers"),
          arguments: ["gpt2", "llama2", "bert-uncased", "unigram"])
    func everyExpectedLine(_ name: String) throws {
        let tokenizer = try Tokenizer(folder: "\(Places.shared)/\(name)")
        let expected = try Places.json("\(Places.shared)/\(name)/expected.json").asArray(at: name)
        #expect(expected.count > 0)
        for item in expected {
            let text = try #require(item["text"]?.stringValue)
            let ids = try #require(item["ids"]).ids(at: "ids")
            #expect(try tokenizer.encode(text: text) == ids, "\(text.debugDescription)")
            let plain = try #require(item["ids_no_special"]).ids(at: "ids_no_special")
            #expect(try tokenizer.encode(text: text, addSpecialTokens: false) == plain, "\(text.debugDescription)")
            let decoded = try #require(item["decoded"]?.stringValue)
            // "decoded" is what the ids without the template's tokens decode to, special tokens of the text kept.
            let ours = try tokenizer.decode(tokens: plain)
            #expect(same(ours, decoded), "\(ours.debugDescription) for \(decoded.debugDescription)")
        }
    }

    @Test(.enabled(if: Places.hasShared("gpt2") && Places.hasShared("llama2"), "needs ../shared/tokenizers"))
    func whatTheyAre() throws {
        let gpt2 = try Tokenizer(folder: "\(Places.shared)/gpt2")
        #expect(gpt2.vocabularySize == 50257 && gpt2.bosID == 50256 && gpt2.eosID == 50256 && gpt2.padID == nil)
        #expect(!gpt2.prependsBOS && gpt2.id(for: "Ġworld") == 995 && gpt2.token(for: 995) == "Ġworld")
        let llama = try Tokenizer(folder: "\(Places.shared)/llama2")
        #expect(llama.vocabularySize == 32000 && llama.bosID == 1 && llama.eosID == 2 && llama.unkID == 0)
        #expect(llama.prependsBOS && llama.token(for: 1) == "<s>")
        // Canonically equivalent, and two tokens.
        #expect(llama.id(for: "\u{3AC}") != llama.id(for: "\u{1F71}"))
        #expect(llama.id(for: "\u{3AC}") != nil && llama.id(for: "\u{1F71}") != nil)
    }
}
