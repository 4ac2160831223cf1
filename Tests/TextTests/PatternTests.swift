// Regular expressions: the scanners written for well-known patterns against the engine, the engine against hostile
// patterns and long texts. (What it matches, it is compared on with Hugging Face tokenizers in the goldens.)
import Testing
import LensFiles
@testable import LensText

@Suite struct PatternTests {
    private func matches(_ pattern: String, _ text: String) throws -> [String] {
        let regex = try Regex(pattern, at: "pattern"), bytes = Array(text.utf8)
        return try bytes.withUnsafeBufferPointer { bytes in
            try RegexMatcher.matches(of: regex, in: bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
        }
    }

    /// Every scanner says what the engine says of its pattern, on strings and on all of them in one.
    @Test(arguments: WordScanner.patterns.indices)
    func scannersAgreeWithTheEngine(_ number: Int) throws {
        let (pattern, scanner) = WordScanner.patterns[number]
        let texts = try Places.json("\(ComponentTests.folder)/strings.json").asArray(at: "strings").compactMap(\.stringValue)
        let regex = try Regex(pattern, at: "pattern")
        for text in texts + [texts.joined(separator: " "), texts.joined()] {
            let bytes = Array(text.utf8)
            try bytes.withUnsafeBufferPointer { bytes in
                var scanned: [Range<Int>] = []
                scanner.scan(bytes) { start, end, isMatch in if isMatch { scanned.append(start..<end) } }
                let found = try RegexMatcher.matches(of: regex, in: bytes)
                #expect(scanned == found, "pattern \(number): \(text.prefix(200).debugDescription)")
            }
        }
    }

    @Test func wellKnownPatternsHaveScanners() {
        #expect(WordScanner(pattern: GPT2Scanner.pattern) == .gpt2)
        #expect(WordScanner.patterns.count == 7 && Set(WordScanner.patterns.map(\.text)).count == 7)
        #expect(WordScanner(pattern: GPT2Scanner.pattern + " ") == nil)
    }

    @Test func syntax() throws {
        #expect(try matches(#"(?<x>a|b)\k<x>"#, "abba aa") == ["bb", "aa"])
        #expect(try matches(#"(?<!\d)\d{2}(?!\d)"#, "12 345 67") == ["12", "67"])
        #expect(try matches("a{2}?b", "aab b ab") == ["aab", "b", "b"])
        #expect(try matches("(?i)straße", "STRAßE strasse") == ["STRAßE"])
        #expect(try matches("[a-z&&[^aeiou]]+", "hello") == ["h", "ll"])
        #expect(try matches("a++ab|a+", "aaab") == ["aaa"])
        #expect(try matches("", "ab") == ["", "", ""])
        #expect(try matches(#"a\Kb"#, "ab") == ["b"])
    }

    /// Patterns that would take longer than anybody waits end in an error; deep and huge ones do not load.
    @Test func hostilePatterns() throws {
        let long = String(repeating: "a", count: 200)
        for pattern in ["(a*)*b", "(a|a)*b", "(?:a?){100}b", #"(a+)+\1b"#, "(?=(a*)*b)c", "(?<=(a|a)*b)c"] {
            #expect(throws: LensError.self, "\(pattern)") { _ = try matches(pattern, long).count == 0 ? try matches(pattern + "|(a|aa)*c", long) : [] }
        }
        let nested = String(repeating: "(", count: 5_000) + String(repeating: ")", count: 5_000)
        let wrong = [nested, String(repeating: "[", count: 5_000), "a{100001}", "(?:a{9}b){99999}", "(", ")", "[", "[b-a]", "*", "(?<", #"\"#, #"\x{110000}"#,
                     #"\p{"#, #"\p{No Such}"#, #"\k<a>"#, "(?~a)", "(?(1)a)", #"\X"#, #"\g<1>"#, "(*FAIL)", "(?{a})", "a{2,1}", "(?z)", #"\9"#, "[[:nope:]]"]
        for pattern in wrong { #expect(throws: LensError.self, "\(pattern.prefix(20))") { try Regex(pattern, at: "pattern") } }
    }

    /// A megabyte without a space, and a megabyte of spaces.
    @Test func longTexts() throws {
        for (pattern, _) in WordScanner.patterns {
            #expect(try matches(pattern, String(repeating: "é", count: 250_000)).count == 1)
        }
        #expect(try matches(#"\s+(?!\S)|\s+"#, String(repeating: " ", count: 500_000) + "x").count == 2)
    }
}
