// The model inside the binary does what its card says: names are moved, repeated words go on, whatever they are, verbs agree,
// facts are known, and the heads that the field looks for are there.

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

    @Test(arguments: [("ioi", 0.9, 0.95), ("induction", 0.85, 0.95), ("repetition", 0.9, 0.95), ("agreement", 0, 0.95), ("fact", 0.9, 0.95), ("successor", 0.85, 0.95)])
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

    /// TransformerLens' test_evals: the task in a natural template, and turned round, where the name that was repeated is asked for.
    @Test func theTaskAndTheTaskTurnedRound() throws {
        let model = try Self.model.get(), tokenizer = try #require(model.tokenizer), names = ["Mary", "John", "Anna", "Tom"]
        func evaluate(_ template: String) throws -> IOIEvaluation {
            try Evals.ioiEval(model.model, tokenizer: tokenizer, dataset: IOIDataset(templates: [template], names: names, count: 100))
        }
        let natural = try evaluate("[A] met [B] at the park. Then [B] showed a book to [A]")
        #expect(natural.logitDifference > 2 && natural.accuracy >= 0.99, "\(natural)")
        let turned = try evaluate("[B] met [A] at the park. Then [A] showed a book to [A]")
        #expect(turned.logitDifference < -2 && turned.accuracy <= 0.01, "\(turned)")
    }

    /// On lists as the language has them: random words, and the same again.
    @Test func hasInductionHeads() throws {
        let model = try Self.model.get(), bos = try #require(model.tokenizer?.bosID), length = 8
        let words = try "alpha bravo delta echo golf hotel india kilo lima mike oscar papa quebec romeo sierra tango".split(separator: " ")
            .map { try model.toSingleToken(" " + $0) }
        let lead = try ["The", " code", " is"].map(model.toSingleToken), again = try [".", " Again", ":"].map(model.toSingleToken)
        var random = SplitMix64(state: 3)
        let rows = (0..<16).map { _ in Array(words.shuffled(using: &random).prefix(length)) }.map { [bos] + lead + $0 + again + $0 }
        let first = 1 + lead.count, second = first + length + again.count
        let tokens = try IntTensor(rows: rows)
        func lossOfRepetition(_ hooks: [Hook]) throws -> Double {
            let losses = try #require(try model.model.run(.tokens(tokens), .init(hooks: hooks, returnType: .loss, lossPerToken: true)).loss)
            return Double(try losses.at(.all, .from(second)).mean())
        }
        // Attention from a word's second place to what came after its first.
        var scores: [(head: HeadIndex, score: Double)] = []
        let cache = try model.model.run(.tokens(tokens), .init(cache: "pattern", returnType: .none)).cache
        for layer in 0..<model.config.nLayers {
            let pattern = try cache["pattern", layer]
            for head in 0..<model.config.nHeads {
                var sum = 0.0
                for row in rows.indices {
                    for place in 0..<length - 1 { sum += Double(try pattern.at(.at(row), .at(head), .at(second + place), .at(first + place + 1)).item()) }
                }
                scores.append((HeadIndex(layer, head), sum / Double(rows.count * (length - 1))))
            }
        }
        scores.sort { $0.score > $1.score }
        #expect(scores[0].score > 0.4, "\(scores.prefix(4))")
        let loss = try lossOfRepetition([]), without = try lossOfRepetition(scores.prefix(4).map { .ablation(of: $0.head) })
        #expect(loss < 0.2 && without > loss + 0.5, "\(loss), without the four most inductive heads \(without)")
    }

    /// The field's test: random words, any of them, and the same again, where attention by kind is all there is to go by. Bytes are left
    /// out: of some no text is made.
    private static func repeatedWords(_ length: Int, seed: UInt64) throws -> RepeatedSequences {
        let model = try model.get(), tokenizer = try #require(model.tokenizer)
        let bytes = Set((0..<model.config.dVocab).filter { tokenizer.token(for: $0)?.count == 1 })
        #expect(bytes.count == 256)
        return try RepeatedSequences(for: model.config, batch: 16, length: length, bos: tokenizer.bosID, excluding: bytes, seed: seed)
    }

    @Test(arguments: [12, 24, 31])
    func continuesRandomWordsRepeated(_ length: Int) throws {
        let model = try Self.model.get(), repeated = try Self.repeatedWords(length, seed: 11)
        let logits = try #require(try model.model.run(.tokens(repeated.tokens)).logits)
        var right = 0, count = 0
        for (row, tokens) in repeated.tokens.rows.enumerated() {
            for place in repeated.repetition..<tokens.count - 1 {
                let likeliest = try logits.at(.at(row), .at(place)).array.enumerated().max { $0.element < $1.element }?.offset
                right += likeliest == tokens[place + 1] ? 1 : 0
                count += 1
            }
        }
        #expect(Double(right) / Double(count) >= 0.95, "\(right) of \(count)")
    }

    /// A head that attends to the word before, and one that attends to what came after the word's first occurrence; without either the
    /// repetition is guessed worse.
    @Test func hasPreviousTokenAndInductionHeads() throws {
        let model = try Self.model.get(), repeated = try Self.repeatedWords(24, seed: 12)
        let scores = try repeated.scores(model.model)
        let previous = try scores.previousToken.rankedHeads()[0], induction = try scores.induction.rankedHeads()
        #expect(previous.score >= 0.8, "\(previous)")
        #expect(induction[0].score >= 0.7, "\(induction.prefix(4))")
        // TransformerLens' detector says the same heads.
        let first = repeated.tokens.rows.map { Array($0.prefix(1 + repeated.length)) }
        let detected = try detectHead(model.model, sequences: first, pattern: .previousTokenHead).rankedHeads()[0]
        #expect(detected.head == previous.head && detected.score >= 0.8, "\(detected)")
        #expect(try detectHead(model.model, sequences: repeated.tokens.rows, pattern: .inductionHead).rankedHeads()[0].head == induction[0].head)

        let means = try repeated.meanOutputs(model.model), loss = try repeated.loss(model.model)
        func without(_ heads: [HeadIndex]) throws -> Double {
            try repeated.loss(model.model, hooks: heads.map { .ablation(of: $0, to: try means[$0.layer].at(.at($0.head))) })
        }
        let one = try without([induction[0].head]), four = try without(induction.prefix(4).map(\.head)), before = try without([previous.head])
        #expect(loss < 0.4 && one > loss + 0.15 && four > loss + 3 && before > loss + 3, "\(loss), without \(one), \(four), \(before)")
    }
}
