// The logit lens, direct logit attribution and pattern statistics: against their definitions computed by TransformerLens'
// parts in PyTorch, and by their own laws.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct LensTests {
    private func goldens(_ name: String, _ kind: String, _ method: String) throws -> (model: Transformer, cache: ActivationCache, cases: [CaseFile.Case], tokens: IntTensor) {
        let file = try AnalysisGoldens.cases(name, kind), model = try AnalysisGoldens.model(name, kind)
        let cache = try model.run(.tokens(file.tokens), .init(cache: .all)).cache
        return (model, cache, file.cases.filter { $0.method == method }, file.tokens)
    }

    @Test(arguments: AnalysisGoldens.names, ["raw", "processed"])
    func logitLens(_ name: String, _ kind: String) throws {
        let (model, cache, cases, tokens) = try goldens(name, kind, "lens")
        #expect(cases.count == 6)
        let targets = try #require(cases.compactMap { try $0.tokens("targets") }.first)
        let lens = try cache.logitLens(in: model, targets: targets, topK: 3), ran = try model.logitLens(tokens, targets: targets, topK: 3)
        for one in cases {
            let what = "\(name), \(kind): \(one)"
            if let labels = one.labels { #expect(lens.labels == labels) }
            switch one.string("of") {
            case "entropy": expectClose(lens.entropy, one.expected, what)
            case "kl": expectClose(lens.klToOutput, one.expected, what)
            case "rank": #expect(try #require(lens.targets).rank.array == one.expected.array.map { Int($0) }, "\(what)")
            case "log_prob": expectClose(try #require(lens.targets).logProb, one.expected, what)
            case "top_tokens": #expect(lens.topTokens.array == one.expected.array.map { Int($0) } && lens.topTokens.shape == one.expected.shape, "\(what)")
            default: expectClose(lens.topLogProbs, one.expected, what)
            }
        }
        #expect(ran.labels == lens.labels && ran.entropy.array == lens.entropy.array && ran.topTokens == lens.topTokens)
        // The last state is the output.
        #expect(try lens.klToOutput.at(-1).array.allSatisfy { abs($0) < 1e-6 })
        let last = try cache.logitLens(in: model, sublayers: false, posSlice: -1, targets: IntTensor([4, 12]), topK: 1)
        #expect(last.labels == ["0_pre", "1_pre", "final_post"] && last.entropy.shape == [3, 2] && last.topTokens.shape == [3, 2, 1])
        expectClose(last.entropy, try lens.entropy.gathered(lens.labels.indices.filter { lens.labels[$0] != "0_mid" && lens.labels[$0] != "1_mid" }, axis: 0)
            .at(.all, .all, .at(-1)).contiguous(), "\(name): one position")
    }

    @Test(arguments: AnalysisGoldens.names, ["raw", "processed"])
    func attribution(_ name: String, _ kind: String) throws {
        let (model, cache, cases, _) = try goldens(name, kind, "attribution")
        #expect(cases.count == (kind == "raw" ? 4 : 10))
        for one in cases {
            let correct = try #require(one.arguments["correct"]?.arrayValue).compactMap(\.intValue), wrong = one.arguments["incorrect"]?.arrayValue?.compactMap(\.intValue)
            let answers = try AnswerTokens(correct, incorrect: wrong), position = AxisSlice.at(one.int("pos") ?? 0), what = "\(name), \(kind): \(one)"
            let units = one.string("of") == "total" ? AttributionUnit.allCases : [AttributionUnit(rawValue: one.string("of") ?? "") ?? .layer]
            for unit in units {
                let result = try cache.directLogitAttribution(in: model, by: unit, answers: answers, posSlice: position)
                #expect(result.labels.count == result.values.shape[0])
                if one.string("of") == "total" {
                    // Folded or not, the parts sum to the logit.
                    expectClose(result.total, one.expected, "\(what) by \(unit)", tolerance: 5e-5)
                } else {
                    expectClose(result.values, one.expected, what)
                    #expect(result.labels == one.labels)
                }
            }
        }
        let one = try cache.directLogitAttribution(in: model, by: .layer, answers: AnswerTokens(3), posSlice: .all)
        #expect(one.labels.contains("L0") && one.labels.contains("L1") && one.labels.last == "unembed_bias" && one.total.shape == [2, 4])
        #expect(try one.ranked().first?.mean.isFinite == true)
        expectError(.shape, "answers do not fit the batch") { try cache.directLogitAttribution(in: model, answers: AnswerTokens([1, 2, 3])) }
        expectError(.usage, "not an output") { try cache.directLogitAttribution(in: model, answers: AnswerTokens(99)) }
        expectError(.shape, "answers in pairs") { try AnswerTokens([1, 2], incorrect: [3]) }
    }

    @Test(arguments: AnalysisGoldens.names)
    func patterns(_ name: String) throws {
        let (model, cache, cases, tokens) = try goldens(name, "raw", "pattern")
        let statistics = try cache.patternStatistics(), found = Dictionary(uniqueKeysWithValues: statistics.tensors.map { ($0.name, $0.tensor) })
        #expect(cases.count == 7)
        for one in cases { expectClose(try #require(found[one.string("of") ?? ""]), one.expected, "\(name): \(one)") }
        // Padding neither counts nor shifts.
        let padded = try IntTensor(rows: tokens.rows.map { [0, 0] + $0 }), mask = try IntTensor(rows: tokens.rows.map { [0, 0] + $0.map { _ in 1 } })
        var options = Transformer.Options(cache: ["pattern"])
        options.attentionMask = mask
        let again = try model.run(.tokens(padded), options).cache.patternStatistics(attentionMask: mask)
        for (one, other) in zip(again.tensors, statistics.tensors) { expectClose(one.tensor, other.tensor, "\(name), padded: \(one.name)") }
        expectError(.shape, "attention mask") { try cache.patternStatistics(attentionMask: mask) }
        expectError(.shape, "some positions only") {
            try model.run(.tokens(tokens), .init(cache: ["pattern"], posSlice: .from(2))).cache.patternStatistics()
        }
    }

    @Test func aLensOnAnyStates() throws {
        let (model, cache, _, _) = try goldens("gpt2", "processed", "lens")
        let heads = try cache.stackHeadResults(in: model), lens = try model.logitLens(of: heads.stack, labels: heads.labels, topK: 2)
        #expect(lens.entropy.shape == [6, 2, 4] && lens.targets == nil)
        expectError(.usage, "how many tokens to name", "1...19") { try cache.logitLens(in: model, topK: 0) }
        expectError(.usage, "not an output") { try cache.logitLens(in: model, targets: IntTensor([19])) }
        expectError(.shape, "targets of a lens") { try cache.logitLens(in: model, targets: IntTensor([1, 2, 3])) }
        expectError(.shape, "not a stack") { try model.logitLens(of: heads.stack, labels: ["a"]) }
    }

    @Test func resultsAreWritten() throws {
        let (model, cache, _, _) = try goldens("gpt2", "processed", "lens")
        let lens = try cache.logitLens(in: model, targets: IntTensor([3])), attribution = try cache.directLogitAttribution(in: model, by: .head, answers: AnswerTokens(3, incorrect: 4))
        let json = try lens.json { "<\($0)>" }
        #expect(json.arrayValue?.count == 5 && json.arrayValue?[0]["positions"]?.arrayValue?.count == 8)
        #expect(json.arrayValue?[0]["positions"]?.arrayValue?[0]["target"]?["text"] == "<3>")
        #expect(try attribution.json()["parts"]?.arrayValue?.map { $0["label"]?.stringValue } == attribution.labels && attribution.json()["incorrect"]?.arrayValue?[0]["token"] == 4)
        let path = NSTemporaryDirectory() + "lens-\(UUID().uuidString).safetensors"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try attribution.save(to: path)
        let file = try SafetensorsFile(path: path)
        #expect(try Tensor(stored: "attribution", in: file).array == attribution.values.array)
        #expect(try JSON.parse(Array((file.metadata["labels.part"] ?? "").utf8), at: "labels").arrayValue?.count == attribution.labels.count)
        expectError(.usage, "unknown kind") { try lens.save(to: "x.bin") }
    }
}
