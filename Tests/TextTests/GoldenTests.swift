// Small tokenizers of every kind against what Hugging Face tokenizers 0.23.3 made of many strings (make_goldens.py).
import Testing
import LensFiles
import LensTestSupport
@testable import LensText

@Suite struct GoldenTests {
    static let names = ["byte_level", "llama", "gpt2_flags", "words", "some_bytes", "metaspace_first", "metaspace_always",
                        "metaspace_never", "whole_words"]

    @Test(arguments: names)
    func agreesOnEveryString(_ name: String) throws {
        let golden = try Places.json("\(Places.goldens)/\(name).json")
        let texts = try Places.json("\(Places.goldens)/strings.json").asArray(at: "strings").map { try $0.asString(at: "strings") }
        let stride = try #require(golden["stride"]?.intValue)
        let cases = try #require(golden["cases"]?.arrayValue)
        let tokenizer = try Tokenizer(json: try #require(golden["tokenizer"]))
        #expect(cases.count > 100)
        for (number, item) in cases.enumerated() {
            let text = texts[number * stride], parts = try item.asArray(at: "case")
            let ids = try parts[0].ids(at: "ids")
            let plain = parts[1].isNull ? ids : try parts[1].ids(at: "plain")
            let decoded = try parts[2].isNull ? text : parts[2].asString(at: "decoded")
            let full = try parts[3].isNull ? decoded : parts[3].asString(at: "full")
            #expect(try tokenizer.encode(text: text) == ids, "\(text.debugDescription)")
            #expect(try tokenizer.encode(text: text, addSpecialTokens: false) == plain, "\(text.debugDescription)")
            #expect(same(try tokenizer.decode(tokens: ids, skipSpecialTokens: true), decoded), "\(text.debugDescription)")
            #expect(same(try tokenizer.decode(tokens: ids), full), "\(text.debugDescription)")
        }
    }

    /// The heap that long words go through and the scan that short ones do take the same merges; a word cut where the
    /// model says words begin has the tokens it has whole.
    @Test(arguments: ["byte_level", "llama", "words", "some_bytes"])
    func longWordsAsShortOnes(_ name: String) throws {
        let json = try #require(try Places.json("\(Places.goldens)/\(name).json")["tokenizer"])
        let texts = try Places.json("\(Places.goldens)/strings.json").asArray(at: "strings").compactMap(\.stringValue)
        let pieces = texts.map { PieceText($0) }
        // Each its own model: the cache would answer for the second.
        func tokens(_ change: (inout BPE) -> Void) throws -> [[Int]] {
            var model = try BPE(json: try #require(json["model"]), at: "model")
            change(&model)
            return try pieces.map { text in
                var ids: [Int] = []
                try model.encode(text, into: &ids)
                return ids
            }
        }
        let expected = try tokens { _ in }
        #expect(try tokens { $0.mergeOrder = .degenerate } == expected)
        #expect(try tokens { $0.wordStart = [] } == expected)
    }

    /// Very long words, merged from left to right, have the tokens that the heap gives them, with and without lengths.
    @Test(arguments: ["byte_level", "llama", "some_bytes"])
    func veryLongWordsAsLongOnes(_ name: String) throws {
        let json = try #require(try Places.json("\(Places.goldens)/\(name).json")["tokenizer"])
        let texts = try Places.json("\(Places.goldens)/strings.json").asArray(at: "strings").compactMap(\.stringValue)
        var fromLeft = try BPE(json: try #require(json["model"]), at: "model")
        fromLeft.wordStart = []
        var byHeap = fromLeft
        byHeap.mergeOrder = .any
        #expect(fromLeft.mergeOrder == .rising)
        var random = SeededRandom(5)
        for pieces in [400, 900, 1500] {
            let text = (0..<pieces).map { _ in texts.randomElement(using: &random) ?? "" }.joined()
            var found: [Int] = [], expected: [Int] = []
            try fromLeft.encode(PieceText(text), into: &found)
            try byHeap.encode(PieceText(text), into: &expected)
            #expect(found == expected)
            #expect(found.count > 100)
            var pieces = ModelTokens(), heapPieces = ModelTokens()
            try Array(text.utf8).withUnsafeBufferPointer {
                try fromLeft.encode(piece: $0, into: &pieces)
                try byHeap.encode(piece: $0, into: &heapPieces)
            }
            #expect(pieces.tokens.map { [Int($0.id), $0.start, $0.end] } == heapPieces.tokens.map { [Int($0.id), $0.start, $0.end] })
        }
        // Overlapping pairs of one rank: the leftmost first.
        for text in ["a", "ab", "aab", "\u{4e2d}"].map({ String(repeating: $0, count: 9_001) }) {
            var found: [Int] = [], expected: [Int] = []
            try fromLeft.encode(PieceText(text), into: &found)
            try byHeap.encode(PieceText(text), into: &expected)
            #expect(found == expected)
        }
    }

    /// A merge that takes a token before it is made, which no training makes but a file may say.
    @Test func ranksOutOfOrderAreNoticed() throws {
        func order(_ merges: String) throws -> MergeOrder {
            try BPE(json: try JSON.parse(#"{"vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3, "": 4}, "merges": "# + merges + "}"), at: "model").mergeOrder
        }
        #expect(try order(#"["a b", "ab a"]"#) == .rising)
        #expect(try order(#"["ab a", "a b"]"#) == .any)
        #expect(try order(#"[["a", "b"], ["a", ""]]"#) == .degenerate)
    }

    /// One word of a megabyte: a quadratic algorithm would take hours.
    @Test(arguments: ["byte_level", "llama"])
    func oneLongWord(_ name: String) throws {
        let tokenizer = try Tokenizer(json: try #require(try Places.json("\(Places.goldens)/\(name).json")["tokenizer"]))
        let text = String(repeating: "theandotherwise", count: 70_000)
        let ids = try tokenizer.encode(text: text, addSpecialTokens: false)
        #expect(try tokenizer.decode(tokens: ids) == text)
    }

    @Test func manyTasksAtOnce() async throws {
        let tokenizer = try Tokenizer(json: try #require(try Places.json("\(Places.goldens)/llama.json")["tokenizer"]))
        let texts = try Places.json("\(Places.goldens)/strings.json").asArray(at: "strings").compactMap(\.stringValue)
        let expected = try texts.map { try tokenizer.encode(text: $0) }
        try await withThrowingTaskGroup(of: [[Int]].self) { group in
            for _ in 0..<8 { group.addTask { try texts.map { try tokenizer.encode(text: $0) } } }
            for try await ids in group { #expect(ids == expected) }
        }
    }
}
