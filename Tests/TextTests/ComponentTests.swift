// Every component against what Hugging Face tokenizers 0.23.3 made of over 2,000 strings with it (make_components.py,
// which says how a string's result is written as a line, of which the goldens hold six digits of a hash).
import Testing
import LensFiles
@testable import LensText

@Suite struct ComponentTests {
    static let folder = Places.goldens + "/components"
    static let stages = ["normalizers", "pre_tokenizers", "models", "post_processors", "decoders"]

    /// Six hexadecimal digits of the FNV-1a hash of a line.
    static func check(_ line: String) -> String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in line.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String((value ^ value >> 24) & 0xFF_FFFF, radix: 16)
        return String(repeating: "0", count: 6 - digits.count) + digits
    }

    static func joined(_ values: some Sequence<Int>) -> String { values.map(String.init).joined(separator: ",") }

    static func line(_ encoding: Encoding) -> String {
        [joined(encoding.ids), encoding.tokens.joined(separator: "\u{1F}"),
         joined(encoding.offsets.flatMap { [$0.lowerBound, $0.upperBound] }), joined(encoding.typeIDs),
         joined(encoding.wordIDs.map { $0 ?? -1 }), joined(encoding.specialTokensMask.map { $0 ? 1 : 0 }),
         joined(encoding.attentionMask.map { $0 ? 1 : 0 }), encoding.overflowing.map { joined($0.ids) }.joined(separator: " ")]
            .joined(separator: ";")
    }

    static func line(_ tokenizer: Tokenizer, _ text: String) throws -> String {
        let whole = try tokenizer.encoding(text: text)
        // The two ways to encode say the same.
        #expect(try tokenizer.encode(text: text) == whole.ids, "\(text.debugDescription)")
        let plain = try tokenizer.encode(text: text, addSpecialTokens: false)
        return [line(whole), joined(plain), try tokenizer.decode(tokens: whole.ids, skipSpecialTokens: true),
                try tokenizer.decode(tokens: whole.ids)].joined(separator: ";")
    }

    /// Compares what `make` says of every item with the digits stored for it. Where the library refuses an item it is
    /// enough not to crash.
    private func compare<Item>(_ name: String, _ items: [Item], _ stored: String, _ make: (Item) throws -> String) throws {
        let digits = Array(stored.utf8)
        try #require(digits.count == 6 * items.count)
        var differences = 0
        for (number, item) in items.enumerated() {
            let expected = String(decoding: digits[(6 * number)..<(6 * number + 6)], as: UTF8.self)
            let result = Result { try make(item) }
            if expected == "------" { continue }
            if case .success(let line) = result, Self.check(line) == expected { continue }
            differences += 1
            if differences <= 3 { Issue.record("\(name), number \(number), \(item): \(result)") }
        }
        #expect(differences == 0, "\(name): \(differences) of \(items.count) strings")
    }

    /// Sequences of ids below a limit, as make_components.py makes them.
    static func sequences(_ limit: Int) -> [[Int]] {
        var state: UInt64 = 1
        return (0..<2000).map { number in
            (0..<(1 + number % 17)).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int((state >> 33) % UInt64(limit))
            }
        }
    }

    @Test(arguments: stages)
    func agreesOnEveryString(_ stage: String) throws {
        let texts = try Places.json("\(Self.folder)/strings.json").asArray(at: "strings").map { try $0.asString(at: "strings") }
        #expect(texts.count >= 2000)
        let goldens = try Places.json("\(Self.folder)/\(stage).json").asObject(at: stage)
        for (name, golden) in goldens.pairs {
            let tokenizer = try Tokenizer(json: try #require(golden["tokenizer"]))
            for (text, ids) in zip(texts, golden["ids"]?.arrayValue ?? []) where !ids.isNull {
                #expect(try tokenizer.encode(text: text) == ids.ids(at: "ids"), "\(stage) \(name): \(text.debugDescription)")
            }
            if let checks = golden["checks"]?.stringValue {
                try compare("\(stage) \(name)", texts, checks) { try Self.line(tokenizer, $0) }
            }
            if let pairs = golden["pairs"]?.stringValue {
                try compare("\(stage) \(name)", Array(zip(texts, texts.dropFirst())), pairs) {
                    Self.line(try tokenizer.encoding(text: $0, pair: $1))
                }
            }
            if let decoded = golden["decoded"]?.stringValue {
                try compare("\(stage) \(name)", Self.sequences(tokenizer.vocabularySize), decoded) {
                    try tokenizer.decode(tokens: $0, skipSpecialTokens: true) + ";" + tokenizer.decode(tokens: $0)
                }
            }
        }
    }
}
