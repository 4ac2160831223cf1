// Text that is no Unicode: bytes that are not UTF-8, and surrogates without their other half, become U+FFFD before
// anything else sees them. Expected replacements are Rust's from_utf8_lossy: one for each maximal part of a sequence.

import LensFiles
import Testing
@testable import LensText

@Suite struct BrokenTextTests {
    private static func tokenizer() throws -> Tokenizer {
        try Tokenizer(json: try #require(try Places.json("\(Places.goldens)/byte_level.json")["tokenizer"]))
    }

    @Test(arguments: [
        ([0x61, 0xFF, 0x62], "a\u{FFFD}b"), ([0xC3], "\u{FFFD}"), ([0x61, 0xE2, 0x82, 0x62], "a\u{FFFD}b"),
        ([0xF0, 0x9F, 0x98, 0x41], "\u{FFFD}A"), ([0xED, 0xA0, 0x80, 0x41], "\u{FFFD}\u{FFFD}\u{FFFD}A"),  // a lone high surrogate
        ([0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80], String(repeating: "\u{FFFD}", count: 6)),  // a pair of them, each encoded alone
        ([0xC0, 0x80], "\u{FFFD}\u{FFFD}"), ([0xF5, 0x80], "\u{FFFD}\u{FFFD}"), ([0xF4, 0x90, 0x80, 0x80], String(repeating: "\u{FFFD}", count: 4)),
        ([0x80, 0xBF], "\u{FFFD}\u{FFFD}"), ([0xF0, 0x9F, 0x98, 0x80], "\u{1F600}"), ([], ""),
    ] as [([UInt8], String)])
    func bytesThatAreNoText(_ bytes: [UInt8], _ text: String) throws {
        let tokenizer = try Self.tokenizer()
        #expect(try tokenizer.encode(utf8: bytes) == tokenizer.encode(text: text), "\(bytes)")
        // Byte-level: every byte of the replacement is in the ids, so they tell what was put there.
        #expect(try Array(tokenizer.decode(tokens: tokenizer.encode(utf8: bytes)).utf8) == Array(text.utf8))
    }

    /// A Swift string made of broken UTF-16 holds the replacement already.
    @Test func loneSurrogates() throws {
        let tokenizer = try Self.tokenizer()
        let broken = String(decoding: [0x61, 0xD83D, 0x62] as [UInt16], as: UTF16.self)
        #expect(try tokenizer.encode(text: broken) == tokenizer.encode(text: "a\u{FFFD}b"))
    }
}
