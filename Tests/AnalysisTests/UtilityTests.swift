// Loss, accuracy, tables of logits, prompts and small questions: TransformerLens' own results and unit tests as behaviours.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct UtilityTests {
    @Test(arguments: AnalysisGoldens.names)
    func lossAndAccuracy(_ name: String) throws {
        let file = try AnalysisGoldens.cases(name, "raw"), logits = try file.tensor("logits")
        let cases = file.cases.filter { $0.method.hasPrefix("lm_") }
        #expect(cases.count == 6)
        for one in cases {
            let found = one.method == "lm_accuracy" ? try lmAccuracy(logits, one.tokens("tokens") ?? file.tokens, perToken: one.flag("per_token"))
                : try lmCrossEntropyLoss(logits, file.tokens, attentionMask: one.tokens("mask"), perToken: one.flag("per_token"))
            expectClose(found, one.expected, "\(name): \(one)")
        }
        expectError(.shape, "logits and tokens") { try lmAccuracy(logits, IntTensor([1, 2])) }
        expectError(.shape, "out of range") { try lmCrossEntropyLoss(logits, IntTensor(Array(repeating: -1, count: file.tokens.shape.reduce(1, *)), shape: file.tokens.shape)) }
        expectError(.shape, "attention mask") { try lmCrossEntropyLoss(logits, file.tokens, attentionMask: IntTensor(rows: [[1]])) }
    }

    @Test(arguments: AnalysisGoldens.names)
    func tableOfLogits(_ name: String) throws {
        for kind in ["raw", "processed"] {
            let file = try AnalysisGoldens.cases(name, kind), one = try #require(file.cases.first { $0.method == "logits_to_df" })
            let row = try file.tensor("logits").at(0, -1)
            let table = try logitsToDf(row, topK: 6)
            let found = try Tensor(table.rows.flatMap { [Float($0.tokenIndex), $0.logit, $0.logProb, $0.probability] }, shape: [6, 4])
            expectClose(found, one.expected, "\(name), \(kind)")
            #expect(table.rows.allSatisfy { $0.tokenString == nil } && table.json.arrayValue?[0]["token_string"] == nil)
            let all = try logitsToDf(row).rows
            #expect(all.count == 19 && abs(all.reduce(0) { $0 + $1.probability } - 1) < 1e-5 && all.map(\.probability) == all.map(\.probability).sorted(by: >))
        }
        expectError(.shape, "a table of logits") { try logitsToDf(Tensor(zeros: [1, 3])) }
        #expect(try logitsToDf(Tensor([0, 1], shape: [2]), topK: 5).rows.map(\.tokenIndex) == [1, 0])
    }

    @Test func namesAndSmallQuestions() throws {
        #expect(getActName("k", 6, "a") == "blocks.6.attn.hook_k" && getActName("pre", 2) == "blocks.2.mlp.hook_pre" && getActName("embed") == "hook_embed")
        #expect(getActName("normalized", 27, "ln2") == "blocks.27.ln2.hook_normalized" && getActName("scale4ln1") == "blocks.4.ln1.hook_scale")
        let x = try Tensor((1...12).map(Float.init), shape: [3, 4])
        #expect(try x.getCorner(2).array == [1, 2, 5, 6] && x.getCorner(9).shape == [3, 4] && !x.isSquare)
        #expect(try x.cumulativeSum(axis: 1).at(0).array == [1, 3, 6, 10] && x.cumulativeSum(axis: 0, reverse: true).at(0).array == [15, 18, 21, 24])
        #expect(try Tensor([1, 0, 2, 3], shape: [2, 2]).isLowerTriangular && !Tensor([1, 4, 0, 3], shape: [2, 2]).isLowerTriangular)
        #expect(try x.repeatedAlongHeads(2).shape == [3, 2, 4] && x.repeatedAlongHeads(2).at(1, 1).array == [5, 6, 7, 8])
    }
}

private let storiesFolder = TestFolders.shared + "/models/stories260K"

@Suite(.enabled(if: fileExists(storiesFolder + "/config.json"), "../shared/models/stories260K is not there"))
struct PromptTests {
    @Test func printsWhatTransformerLensPrints() throws {
        let golden = try JSON.parse(file: AnalysisGoldens.folder + "/stories260K.json", limit: 1 << 20)
        let model = try HookedTransformer(folder: storiesFolder, processing: .none)
        for one in golden["cases"]?.arrayValue ?? [] {
            let answers = one["answer"]?.stringValue.map { [$0] } ?? one["answer"]?.arrayValue?.compactMap(\.stringValue) ?? []
            let found = try model.testPrompt(#require(one["prompt"]?.stringValue), answers: answers, prependSpaceToAnswer: one["prepend_space_to_answer"] != false,
                                             prependBOS: one["prepend_bos"]?.boolValue, topK: one["top_k"]?.intValue ?? 10)
            #expect("\(found)\n" == one["printed"]?.stringValue, "\(found)")
        }
        expectError(.usage, "nothing to test") { try model.testPrompt("a", answers: []) }
    }

    /// Processing a trained model leaves what it says.
    @Test func processedStoriesSayTheSame() throws {
        let raw = try HookedTransformer(folder: storiesFolder, processing: .none), model = try HookedTransformer(folder: storiesFolder)
        let text = "Once upon a time, there was a little girl named Lily."
        let found = try model.logits(text).logSoftmax().array, expected = try raw.logits(text).logSoftmax().array
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-4 } && model.processing.done == [.foldLn, .centerUnembed, .foldValueBiases])
        let (_, cache) = try model.runWithCache(text)
        let attrs = try cache.logitAttrs(cache.decomposeResid(in: model, posSlice: -1).stack, in: model, tokens: "g", posSlice: -1)
        #expect(attrs.shape == [11, 1])
        let nothing = try cache.logitAttrs(Tensor(zeros: [1, 1, 64]), in: model, tokens: "g", posSlice: -1)
        #expect(nothing.array == [0])
    }
}
