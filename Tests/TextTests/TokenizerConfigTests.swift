// What tokenizer_config.json adds to a tokenizer.
import Testing
import LensFiles
@testable import LensText

@Suite struct TokenizerConfigTests {
    private func tokenizer(_ config: JSON, map: JSON? = nil) throws -> Tokenizer {
        try Tokenizer(json: try JSON.parse(MalformedTests.text),
                      config: try TokenizerConfig(json: config, at: "config", specialTokensMap: map, at: "map"))
    }

    @Test func tokensAsTextOrObject() throws {
        let object: JSON = ["content": "<x>", "lstrip": false, "__type": "AddedToken"]
        let made = try tokenizer(["bos_token": "a", "eos_token": object, "pad_token": nil, "unk_token": "nowhere"],
                                 map: ["pad_token": "b", "bos_token": "c"])
        // The map goes first, as there is no added_tokens_decoder.
        #expect(made.bosID == 3 && made.eosID == 12 && made.padID == 2 && made.unkID == nil)
        #expect(made.config.unkToken == "nowhere")
    }

    @Test func addingBOSAndEOSOverrulesTheTemplate() throws {
        let asFiled = try tokenizer(["bos_token": "b"])
        #expect(try asFiled.encode(text: "") == [1, 0, 2, 2, 2])
        let both = try tokenizer(["bos_token": "b", "eos_token": "c", "add_bos_token": true, "add_eos_token": true])
        #expect(try both.encode(text: "") == [2, 3] && both.prependsBOS)
        #expect(try both.encode(text: "", addSpecialTokens: false) == [])
        let neither = try tokenizer(["bos_token": "b", "add_bos_token": false])
        #expect(try neither.encode(text: "") == [] && !neither.prependsBOS)
    }

    @Test func wrongTypes() {
        for config: JSON in [[], ["bos_token": 3], ["bos_token": ["text": "a"]], ["add_bos_token": "yes"]] {
            #expect(throws: LensError.self) { try tokenizer(config) }
        }
    }
}
