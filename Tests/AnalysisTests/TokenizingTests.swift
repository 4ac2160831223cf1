// The analyses see a tokenizer through a protocol.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct TokenizingTests {
    @Test func aTokenizerIsEnough() throws {
        let tokenizer: any Tokenizing = try Tokenizer(json: JSON.parse(#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}, "pre_tokenizer": {"type": "Whitespace"}}"#))
        #expect(try tokenizer.encode(text: "b a b", addSpecialTokens: true) == [1, 0, 1])
        #expect(try tokenizer.decode(tokens: [1, 0], skipSpecialTokens: false) == "b a")
        #expect(tokenizer.bosID == nil)
    }
}
