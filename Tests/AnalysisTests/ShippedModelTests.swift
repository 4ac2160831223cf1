// The model inside the binary does what its card says: names are moved, repeated words go on, verbs agree, facts are known,
// and the heads that the field looks for are there.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct ShippedModelTests {
    /// A prompt, the word that is right and one that is wrong.
    struct Case: Decodable, Sendable {
        let kind: String, prompt: String, answer: String, wrong: String
    }

    private static let model = Result { try HookedTransformer(folder: "shipped:tiny-ioi") }

    /// Prompts not trained on: names that never stood together in the training text, words in an order of their own.
    private static func heldOut() throws -> [String: [Case]] {
        let path = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Goldens/tiny-ioi-held-out.json")
        return Dictionary(grouping: try JSONDecoder().decode([Case].self, from: Data(contentsOf: path)), by: \.kind)
    }

    @Test func isFoundByNameAndIsSmall() async throws {
        let model = try await HookedTransformer.fromPretrained("tiny-ioi")
        #expect(model.config.nLayers == 4 && model.config.nHeads == 8 && model.tokenizer != nil)
        let bytes = try fileNames(in: "shipped:tiny-ioi").reduce(0) { try $0 + DataFile(path: "shipped:tiny-ioi/\($1)").size }
        #expect(bytes < 4_000_000, "\(bytes)")
        #expect(throws: LensError.self) { try DataFile(path: "shipped:tiny-ioi/../config.json") }
        #expect(!fileExists("shipped:nothing") && !isFolder("shipped:"))
    }

    @Test(arguments: [("ioi", 0.9, 0.95), ("induction", 0.85, 0.95), ("agreement", 0, 0.95), ("fact", 0.9, 0.95), ("successor", 0.85, 0.95)])
    func saysTheRightWord(_ kind: String, _ likeliest: Double, _ overWrong: Double) throws {
        let model = try Self.model.get(), cases = try #require(try Self.heldOut()[kind])
        var first = 0, over = 0
        for item in cases {
            let logits = try #require(try model.model.run(.tokens(model.toTokens(item.prompt))).logits)[0, -1].array
            let answer = try model.toSingleToken(item.answer), wrong = try model.toSingleToken(item.wrong)
            first += logits.indices.max { logits[$0] < logits[$1] } == answer ? 1 : 0
            over += logits[answer] > logits[wrong] ? 1 : 0
        }
        let count = Double(cases.count)
        #expect(count >= 20)
        #expect(Double(first) / count >= likeliest, "likeliest \(first) of \(cases.count)")
        #expect(Double(over) / count >= overWrong, "over the wrong one \(over) of \(cases.count)")
    }

    @Test func hasPreviousTokenAndInductionHeads() throws {
        let model = try Self.model.get()
        // Words that come in lists: the others never repeat at random in what it was trained on.
        let words = "alpha bravo delta echo golf hotel india kilo lima mike oscar papa quebec romeo sierra tango uniform whiskey xray zulu"
        let listed = Set(try words.split(separator: " ").map { try model.toSingleToken(" " + $0) })
        let repeated = try RepeatedSequences(for: model.config, batch: 16, length: 10, bos: model.tokenizer?.bosID,
                                             excluding: Set(0..<model.config.dVocab).subtracting(listed), seed: 0)
        let scores = try repeated.scores(model.model)
        let previous = try scores.previousToken.rankedHeads()[0], induction = try scores.induction.rankedHeads()[0]
        #expect(previous.score > 0.5, "\(previous)")
        #expect(induction.score > 0.4, "\(induction)")
        let loss = try repeated.loss(model.model)
        #expect(try repeated.loss(model.model, hooks: [.ablation(of: induction.head)]) > loss)
        #expect(try repeated.loss(model.model, hooks: [.ablation(of: previous.head)]) > loss)
    }
}
