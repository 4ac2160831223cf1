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

    /// Wherever vocabulary and positions are cut, not a bit differs; a cap and a bias of the logits are each token's own.
    @Test(arguments: ["gemma2", "gpt-neox", "phi", "cohere"])
    func chunksDoNotMatter(_ name: String) throws {
        let model = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").load(), vocabulary = model.config.dVocabOut
        let (stack, labels) = try model.run(.tokens(IntTensor(rows: [[3, 9, 27, 81, 50], [4, 16, 64, 7, 2]])), .init(cache: .all)).cache.accumulatedResid(in: model)
        let targets = try IntTensor(rows: [[0, vocabulary - 1, 63, 64, 65], [5, 5, 5, 0, 96]])
        let whole = try model.logitLens(of: stack, labels: labels, targets: targets, topK: 9, chunks: LensChunks(places: 10, tokens: vocabulary))
        for chunks in [(1, 1), (3, 7), (10, 64), (2, vocabulary), (4, 1000)] {
            let lens = try model.logitLens(of: stack, labels: labels, targets: targets, topK: 9, chunks: LensChunks(places: chunks.0, tokens: chunks.1))
            for (one, other) in zip(lens.tensors, whole.tensors) { expectSameBits(one.tensor, other.tensor, "\(name), \(chunks): \(one.name)") }
            #expect(lens.topTokens == whole.topTokens && lens.targets?.rank == whole.targets?.rank)
        }
        try expectAsDefined(whole, of: model.unembed(stack), targets.array, "\(name)")
    }

    /// Every number of a lens from all its logits, `[n, batch, pos, d_vocab_out]`, in double precision and in the plainest way.
    private func expectAsDefined(_ lens: LogitLens, of logits: Tensor, _ targets: [Int], _ what: String) throws {
        let width = logits.shape[3], places = logits.count / logits.shape[0] / width, k = lens.topTokens.shape[3], all = logits.array
        func row(_ index: Int) -> [Float] { Array(all[index * width..<(index + 1) * width]) }
        func logProbs(_ row: [Float]) -> [Double] {
            let largest = Double(row.max() ?? 0), sum = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
            return row.map { Double($0) - largest - log(sum) }
        }
        var entropy: [Float] = [], divergence: [Float] = [], top: [Int] = [], topLogProbs: [Float] = [], logProb: [Float] = [], rank: [Int] = [], own: [Float] = []
        for index in 0..<lens.entropy.count {
            let place = index % places, output = logProbs(row((logits.shape[0] - 1) * places + place)), x = row(index), probs = logProbs(x)
            entropy.append(Float(probs.reduce(0) { $0 - exp($1) * $1 }))
            divergence.append(Float(zip(output, probs).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }))
            let order = Array(x.indices.sorted { (x[$0], $1) > (x[$1], $0) }.prefix(k))
            top += order
            topLogProbs += order.map { Float(probs[$0]) }
            own.append(x[targets[place]])
            logProb.append(Float(probs[targets[place]]))
            rank.append(x.count { $0 > x[targets[place]] })
        }
        let shape = lens.entropy.shape, found = try #require(lens.targets)
        expectClose(lens.entropy, try Tensor(entropy, shape: shape), "\(what): entropy", tolerance: 1e-6)
        expectClose(lens.klToOutput, try Tensor(divergence, shape: shape), "\(what): divergence", tolerance: 1e-6)
        expectClose(lens.topLogProbs, try Tensor(topLogProbs, shape: shape + [k]), "\(what): likeliest", tolerance: 1e-6)
        expectClose(found.logProb, try Tensor(logProb, shape: shape), "\(what): log-probability", tolerance: 1e-6)
        expectSameBits(found.logit, try Tensor(own, shape: shape), "\(what): logit")
        #expect(lens.topTokens.array == top && found.rank.array == rank, "\(what)")
    }

    /// Impossible tokens add nothing, infinite distances are said, and what is not a number is seen.
    @Test func extremeLogits() throws {
        func read(_ rows: [[Float]], by step: Int) throws -> LogitReader {
            var reader = try LogitReader(stacks: rows.count, rows: 1, topK: 2, targets: rows.map { $0[1] })
            let width = rows[0].count, all = try Tensor(rows.flatMap(\.self), shape: [rows.count, 1, width])
            for first in stride(from: 0, to: width, by: step) { try reader.read(all.at(.all, .all, .range(first..<min(width, first + step))).contiguous()) }
            return reader
        }
        let none = -Float.infinity
        for step in 1...4 {
            let reader = try read([[none, 1, 1, none], [0, none, 0, 0], [.nan, 0, 0, 0], [-900, 0, 900, 0], [none, 2, 2, 2 - 1e6]], by: step)
            #expect(reader.entropy(0) == Float(log(2.0)) && abs(reader.divergence(0)) < 1e-6 && reader.rank(0) == 0 && reader.top(0).map(\.token) == [1, 2])
            #expect(abs(reader.entropy(1) - Float(log(3.0))) < 1e-6 && reader.divergence(1) == .infinity && reader.rank(1) == 3)
            #expect(reader.entropy(2).isNaN && reader.divergence(2).isNaN)
            #expect(reader.entropy(3) == 0 && abs(reader.divergence(3) - Float(450 - log(2.0))) < 1e-3 && reader.top(3).map(\.token) == [2, 1])
            #expect(reader.divergence(4) == 0 && abs(reader.logProb(2, 4) + Float(log(2.0))) < 1e-6)
        }
        expectError(.shape, "logits of some tokens") {
            var reader = try LogitReader(stacks: 2, rows: 1, topK: 1, targets: nil)
            try reader.read(Tensor(zeros: [1, 2, 3]))
        }
        expectError(.shape, "asked") { try LogitReader(stacks: 2, rows: 1, topK: 1, targets: [1]) }
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
