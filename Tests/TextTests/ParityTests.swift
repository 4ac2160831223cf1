// Not a test of its own: what fuzz.py runs to compare this package with Hugging Face tokenizers. It does nothing unless
// the environment names its files.
import Testing
import LensFiles
@testable import LensText
#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct ParityTests {
    private static func variable(_ name: String) -> String? { getenv("LENS_PARITY_" + name).map { String(cString: $0) } }

    @Test(.enabled(if: variable("DO") != nil, "run by fuzz.py"))
    func answers() throws {
        let tokenizer = try Tokenizer(file: try #require(Self.variable("TOKENIZER")))
        let items = try Places.json(try #require(Self.variable("IN"))).asArray(at: "in")
        let decodes = Self.variable("DO") == "decode"
        let answers = items.map { item -> JSON in
            do { return .array(try decodes ? Self.decoded(tokenizer, item) : Self.encoded(tokenizer, item)) } catch { return .string("\(error)") }
        }
        let file = try #require(fopen(try #require(Self.variable("OUT") as String?), "w"))
        defer { fclose(file) }
        let bytes = try JSON.array(answers).utf8()
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    private static func list(_ values: some Sequence<Int>) -> JSON { .array(values.map { .int($0) }) }

    private static func decoded(_ tokenizer: Tokenizer, _ item: JSON) throws -> [JSON] {
        let ids = try item.ids(at: "ids")
        return [.string(try tokenizer.decode(tokens: ids, skipSpecialTokens: true)), .string(try tokenizer.decode(tokens: ids))]
    }

    private static func encoded(_ tokenizer: Tokenizer, _ item: JSON) throws -> [JSON] {
        if let pair = item.arrayValue {
            return parts(try tokenizer.encoding(text: try pair[0].asString(at: "pair"), pair: try pair[1].asString(at: "pair")))
        }
        let text = try item.asString(at: "text"), ids = try tokenizer.encode(text: text)
        return parts(try tokenizer.encoding(text: text))
            + [list(ids), list(try tokenizer.encode(text: text, addSpecialTokens: false))] + (try decoded(tokenizer, list(ids)))
    }

    private static func parts(_ encoding: Encoding) -> [JSON] {
        [list(encoding.ids), .array(encoding.tokens.map { .string($0) }), list(encoding.offsets.flatMap { [$0.lowerBound, $0.upperBound] }),
         list(encoding.typeIDs), list(encoding.wordIDs.map { $0 ?? -1 }), list(encoding.specialTokensMask.map { $0 ? 1 : 0 }),
         list(encoding.attentionMask.map { $0 ? 1 : 0 }), .array(encoding.overflowing.map { list($0.ids) })]
    }
}
