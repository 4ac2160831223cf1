// What JSON is (RFC 8259), what it is not, and where errors are said to be.
import LensFiles
import Testing

@Suite struct JSONParserTests {
    private static let valid: [(String, JSON)] = [
        ("null", JSON.null), (" true ", true), ("\t\r\nfalse", false), ("0", 0), ("-0", 0), ("-12", -12), ("1.0", 1.0), ("-0.0", -0.0),
        ("1e3", 1000.0), ("1E+2", 100.0), ("5e-1", 0.5), ("1.5e1", 15.0), ("[]", []), ("[ ]", []), ("{}", [:]), ("{ }", [:]),
        ("[1,2 , 3]", [1, 2, 3]), ("[[],[[]]]", [[], [[]]]), (#"{"a":1,"b":{"c":[null]}}"#, ["a": 1, "b": ["c": [nil]]]),
        (#""""#, ""), (#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"), (#""\u0041\u00e9\u20AC""#, "Aé€"),
        (#""\ud83d\ude00""#, "😀"), (#""\uDBFF\uDFFF""#, "\u{10FFFF}"), (#""\u0000""#, "\0"), ("\"é😀\u{7F}\"", "é😀\u{7F}"),
        (#"{"":0}"#, ["": 0]), ("9223372036854775807", .int(.max)), ("-9223372036854775808", .int(.min)),
        ("9223372036854775808", 9223372036854775808.0), ("-9223372036854775809", -9223372036854775808.0),
        ("1000000000000000019884624838656", 1e30), ("1e-400", 0.0), (#""\u2028""#, "\u{2028}"),
    ]

    @Test func accepts() throws {
        for (text, expected) in Self.valid {
            let value = try JSON.parse(text)
            #expect(value == expected, "\(text)")
        }
    }

    private static let invalid: [String] = [
        "", " ", "nul", "nulll", "True", "tru", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2]", "{", "}", "{\"a\"", "{\"a\":",
        "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\" 1}", "{1:1}", "{\"a\":1 \"b\":2}", "{,}", "\"", "\"a", "\"\\",
        "\"\\u", "\"\\u12", "\"\\u12\"", "\"\\u12g4\"", "\"\\x41\"", "\"\\a\"", "\"a\nb\"", "\"a\tb\"", "\"\u{0}\"", "\"\u{1f}\"",
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\\ud800\\", "\"\\udc00\\ud800\"",
        "-", "+1", "01", "-01", "00", "1.", ".5", "1.e3", "1e", "1e+", "1e-", "0x10", "1_0", "--1", "1.2.3", "1e5.5", "1e400", "-1e400",
        "NaN", "Infinity", "-Infinity", "nan", "-I", "1 2", "[] []", "{} x", "1,", "// c\n1", "/* */1", "\u{FEFF}1", "\u{A0}1", "\u{0B}1",
        "[1]\u{0}", "'a'", "undefined", "{\"a\":1,\"a\":2}", #"{"a":1,"\u0061":2}"#, "{\"a\":1,\"b\":2,\"a\":1}", "\u{00}", "[\"a\",\n1",
    ]

    @Test func refuses() {
        for text in Self.invalid {
            let error = lensError({ _ = try JSON.parse(text) }, "\(text.debugDescription)")
            #expect(error.kind == .format)
            #expect(error.location?.contains("line") == true)
        }
    }

    @Test(arguments: [
        [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
        [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xFF], [0xFE], [0x41, 0xC3, 0x28],
    ] as [[UInt8]])
    func refusesWhatIsNoUTF8(_ bytes: [UInt8]) {
        for content in [bytes, Array("\\n".utf8) + bytes, bytes + Array("\\n".utf8)] {
            let error = lensError { _ = try JSON.parse([0x22] + content + [0x22], at: "x") }
            #expect(error.what.contains("UTF-8"))
        }
        _ = lensError { _ = try JSON.parse(bytes, at: "x") }
    }

    @Test func refusesAByteOrderMark() {
        let error = lensError { _ = try JSON.parse([0xEF, 0xBB, 0xBF, 0x31], at: "x") }
        #expect(error.what.contains("byte order mark"))
    }

    @Test func saysWhere() {
        let error = lensError { _ = try JSON.parse("{\"é\": 1,\n \"b\": [1, é]}", at: "config.json") }
        #expect(error.location == "config.json, line 2, column 11")
        let twice = lensError { _ = try JSON.parse("{\n\"a\": 1,\n  \"a\": 2}", at: "x") }
        #expect(twice.location == "x, line 3, column 3")
        #expect(twice.what.contains("\"a\""))
    }

    @Test func readsPythonsNumbersWhenAsked() throws {
        let value = try JSON.parse("[Infinity, -Infinity, NaN, 1e999]", allowNonFinite: true)
        let numbers = try value.asArray(at: "").map { try $0.asDouble(at: "") }
        #expect(numbers[0] == .infinity && numbers[1] == -.infinity && numbers[2].isNaN && numbers[3] == .infinity)
        _ = lensError { _ = try JSON.parse("[-]", allowNonFinite: true) }
        _ = lensError { _ = try JSON.parse("Nan", allowNonFinite: true) }
    }

    @Test func limitsDepth() throws {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        _ = try JSON.parse(nested(64))
        #expect(lensError { _ = try JSON.parse(nested(65)) }.what.contains("deep"))
        _ = try JSON.parse(nested(512), maxDepth: .max)
        _ = lensError { _ = try JSON.parse(nested(513), maxDepth: .max) }
        _ = lensError { _ = try JSON.parse(String(repeating: "[", count: 1_000_000), maxDepth: .max) }
        _ = lensError { _ = try JSON.parse(String(repeating: "{\"a\":", count: 1_000_000)) }
        #expect(try JSON.parse("1", maxDepth: 0) == 1)
        _ = lensError { _ = try JSON.parse("[]", maxDepth: -1) }
    }

    /// The nearest Double, as the standard library finds it from the same digits.
    @Test func roundsCorrectly() throws {
        var random = Random(state: 7)
        for _ in 0..<20_000 {
            let value = Double(bitPattern: random.next())
            guard value.isFinite else { continue }
            let parsed = try JSON.parse("\(value)").asDouble(at: "")
            #expect(parsed.bitPattern == value.bitPattern, "\(value)")
        }
        for _ in 0..<20_000 {
            let digits = String(random.next() % 10_000_000_000_000_000_000).prefix(Int.random(in: 1...19, using: &random))
            let text = "0.\(digits)e\(Int.random(in: -30...30, using: &random))"
            let parsed = try JSON.parse(text).asDouble(at: "")
            #expect(parsed == Double(text), "\(text)")
        }
        // Halfway cases, the ends of the range, and more digits than anything holds.
        for text in ["9007199254740993.0", "9007199254740992.99999999999999999", "2.2250738585072011e-308", "4.9406564584124654e-324",
                     "2.4703282292062327e-324", "1.7976931348623157e308", "0." + String(repeating: "3", count: 900),
                     "1" + String(repeating: "0", count: 300), "123456789012345678901234567890e-10"] {
            let parsed = try JSON.parse(text).asDouble(at: "")
            #expect(parsed == Double(text), "\(text)")
        }
        #expect(lensError { _ = try JSON.parse(String(repeating: "1", count: 2_000)) }.what.contains("too long"))
    }

    @Test func keepsKeysApartByBytes() throws {
        let value = try JSON.parse("{\"\u{E9}\": 1, \"e\u{301}\": 2}")
        #expect(value["\u{E9}"] == 1 && value["e\u{301}"] == 2)
    }

    @Test func readsManyKeys() throws {
        let text = "{" + (0..<20_000).map { "\"key \($0)\":\($0)" }.joined(separator: ",") + "}"
        let object = try JSON.parse(text).asObject(at: "")
        #expect(object.count == 20_000 && object["key 12345"] == 12345 && object["key 20000"] == nil)
        #expect(object.keys.first == "key 0" && object.keys.last == "key 19999")
    }

    @Test func readsFiles() throws {
        let folder = try TemporaryFolder()
        try folder.file("a.json", "[1]")
        #expect(try JSON.parse(file: folder("a.json")) == [1])
        #expect(lensError { _ = try JSON.parse(file: folder("a.json"), limit: 2) }.kind == .file)
        #expect(lensError { _ = try JSON.parse(file: folder("none.json")) }.kind == .file)
        #expect(lensError { _ = try JSON.parse(file: folder.path) }.found == "a folder")
    }
}

@Suite struct JSONObjectTests {
    @Test(arguments: [3, 8, 9, 100])
    func findsReplacesAndRemoves(_ count: Int) {
        var object = JSONObject((0..<count).map { ("k\($0)", JSON.int($0)) })
        object["k1"] = "one"
        #expect(object.count == count && object["k1"] == "one" && object.keys[1] == "k1")
        object["k0"] = nil
        object["absent"] = nil
        #expect(object.count == count - 1 && object["k0"] == nil && object["k2"] == 2 && object.keys.first == "k1")
        for i in 1..<count { #expect(object["k\(i)"] != nil) }
        #expect(object.insert("k0", 0) && !object.insert("k0", 1) && object["k0"] == 0)
        #expect(Array(object.pairs.map { $0.0 }) == object.keys)
    }

    @Test func equalityIsOfMembersInOrder() {
        #expect(JSONObject([("a", 1), ("b", 2)]) == JSONObject([("a", 1), ("b", 2)]))
        #expect(JSONObject([("a", 1), ("b", 2)]) != JSONObject([("b", 2), ("a", 1)]))
        #expect(JSONObject([("\u{E9}", 1)]) != JSONObject([("e\u{301}", 1)]))
    }
}
