// Evaluations against TransformerLens 3.9.0, and the files they read.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

/// A folder of its own, removed at the end.
func withTemporaryFolder<R>(_ body: (String) throws -> R) throws -> R {
    let folder = NSTemporaryDirectory() + "lens-analysis-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
}

func write(_ text: String, to path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }

@Suite struct EvalTests {
    private func words() throws -> Tokenizer { try Tokenizer(folder: ExperimentGolden.folder + "/tokenizer") }

    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func inductionLossAgrees(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing)
        let first = try IntTensor(rows: [[5, 9, 20, 33, 41, 60], [7, 3, 90, 12, 55, 8]])
        for (bos, key) in [(1, "true"), (nil, "false")] as [(Int?, String)] {
            let loss = try Evals.inductionLoss(model, firstHalves: first, bos: bos)
            expectClose(Tensor(Float(loss)), try golden.tensor("\(processing)/induction_loss/\(key)"), "\(name) \(key)")
        }
        let seeded = try Evals.inductionLoss(model, batchSize: 2, subsequenceLength: 8, bos: 1, seed: 5)
        #expect(try seeded == Evals.inductionLoss(model, batchSize: 2, subsequenceLength: 8, bos: 1, seed: 5))
        #expect(try seeded != Evals.inductionLoss(model, batchSize: 2, subsequenceLength: 8, bos: 1, seed: 6))
        expectError(.usage, "do not fit the model") { try Evals.inductionLoss(model, bos: 1) }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"], ExperimentGolden.processings)
    func ioiAgrees(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing), words = try words()
        let datasets = try #require(golden.json["ioi"]?.arrayValue)
        for (index, dataset) in datasets.enumerated() {
            let samples = try dataset.asArray(at: "ioi").map { sample in
                try IOIDataset.Sample(text: #require(sample["text"]?.stringValue), indirectObject: #require(sample["IO"]?.stringValue),
                                      subject: #require(sample["S"]?.stringValue))
            }
            for batch in [1, 7] {
                let found = try Evals.ioiEval(model, tokenizer: words, dataset: IOIDataset(samples: samples), batchSize: batch)
                #expect(found.count == samples.count)
                let both = try Tensor([Float(found.logitDifference), Float(found.accuracy)], shape: [2])
                expectClose(both, try golden.tensor("\(processing)/ioi/\(index)"), "\(name) ioi \(index)")
            }
        }
    }

    /// TransformerLens' tests of its dataset: symmetry, several names, seeds, and no two draws from one state.
    @Test func ioiDatasets() throws {
        let dataset = try IOIDataset(count: 200, symmetric: true, seed: 1)
        #expect(dataset.samples.count == 200)
        for pair in stride(from: 0, to: 200, by: 2) {
            let a = dataset.samples[pair], b = dataset.samples[pair + 1]
            #expect(a.indirectObject == b.subject && a.subject == b.indirectObject && a.text != b.text)
            #expect(a.text.hasSuffix(a.indirectObject) && !a.text.contains("["))
        }
        #expect(try IOIDataset(count: 50, seed: 7) == IOIDataset(count: 50, seed: 7))
        #expect(try IOIDataset(count: 50, seed: 7) != IOIDataset(count: 50, seed: 8))
        #expect(Set(dataset.samples.map(\.text)).count > 20, "samples differ")
        let own = try IOIDataset(templates: ["[A] met with [B]. [B] gave the [OBJECT] to [A]"], names: ["Alice", "Bob", "Charlie"],
                                 nouns: [("OBJECT", ["ball", "book"])], count: 30, seed: 2)
        #expect(Set(own.samples.flatMap { [$0.indirectObject, $0.subject] }) == [" Alice", " Bob", " Charlie"])
        #expect(own.samples.allSatisfy { $0.indirectObject != $0.subject })
        expectError(.usage, "nothing to make prompts of") { try IOIDataset(names: ["John"]) }
        expectError(.usage, "nothing to make prompts of") { try IOIDataset(names: ["John", "John"]) }
        expectError(.usage, "nothing to make prompts of") { try IOIDataset(nouns: [("OBJECT", [])]) }
        expectError(.usage, "not a template") { try IOIDataset(templates: ["[A] and [B] went."]) }
        let model = try ExperimentGolden("gpt2-tiny").model("plain"), words = try words()
        let alike = IOIDataset.Sample(text: "John and Mary Ann went to Mary", indirectObject: " Mary", subject: " Mary Ann")
        expectError(.usage, "names that cannot be told apart") { try Evals.ioiEval(model, tokenizer: words, dataset: IOIDataset(samples: [alike])) }
        let ends = IOIDataset.Sample(text: "John went.", indirectObject: " John", subject: " Mary")
        expectError(.usage, "must end with the indirect object") { try Evals.ioiEval(model, tokenizer: words, dataset: IOIDataset(samples: [ends])) }
        expectError(.usage, "no prompts") { try Evals.ioiEval(model, tokenizer: words, dataset: IOIDataset(samples: [])) }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"], ExperimentGolden.processings)
    func lettersAgree(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing), words = try words()
        let given = try #require(golden.json["questions"]?.arrayValue)
        try withTemporaryFolder { folder in
            try write(given.map { try $0.text() }.joined(separator: "\n\n") + "\n", to: folder + "/q.jsonl")
            let questions = try LetterQuestion.read(file: folder + "/q.jsonl")
            #expect(questions.count == given.count)
            let found = try Evals.letterEval(model, tokenizer: words, questions: questions) { try words.encode(text: $0, addSpecialTokens: false) }
            let right = zip(found.predictions, questions).map { $0 == $1.answer ? Float(1) : 0 }
            #expect(right == (try golden.tensor("\(processing)/letters").array))
            #expect(found.correct == right.count { $0 == 1 } && found.total == questions.count && found.subjects.map(\.total).reduce(0, +) == questions.count)
            #expect(found.subjects.map(\.name) == ["store", "market"])
        }
    }

    @Test func questionFiles() throws {
        try withTemporaryFolder { folder in
            try write("\"Which, of \"\"two\"\"?\",one,\"two\nlines\",B\r\nnext,1,2,3,a\r\n", to: folder + "/plain.csv")
            let plain = try LetterQuestion.read(file: folder + "/plain.csv")
            #expect(plain[0].question == "Which, of \"two\"?" && plain[0].choices == ["one", "two\nlines"] && plain[0].answer == 1)
            #expect(plain[1].choices == ["1", "2", "3"] && plain[1].answer == 0)
            #expect(plain[0].prompt == "Question: Which, of \"two\"?\nChoices:\nA. one\nB. two\nlines\nAnswer:")
            try write("subject,question,A,B,answer\nlaw,q,x,y,1\n", to: folder + "/header.csv")
            let header = try LetterQuestion.read(file: folder + "/header.csv")
            #expect(header == [try LetterQuestion(question: "q", choices: ["x", "y"], answer: 1, subject: "law")])
            for (text, part) in [("q,x,y\n", "too few or too many columns"), ("q,x,y,Z\n", "not a multiple-choice question"), ("q,x,y,?\n", "not an answer"),
                                 ("\"q,x\n", "a quote that is not closed"), ("", "no questions"), ("\n\n", "no questions")] {
                try write(text, to: folder + "/bad.csv")
                expectError(.format, part, "bad.csv") { try LetterQuestion.read(file: folder + "/bad.csv") }
            }
            for (text, part) in [("{\"question\": \"q\", \"choices\": [\"a\"], \"answer\": 0}", "not a multiple-choice question"), ("{\"question\": 1}", "choices"),
                                 ("{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"answer\": -1}", "answer -1"), ("[", "line 1"), ("\n{}", "line 2")] {
                try write(text, to: folder + "/bad.jsonl")
                expectError(.format, part) { try LetterQuestion.read(file: folder + "/bad.jsonl") }
            }
            expectError(.file) { try LetterQuestion.read(file: folder + "/none.csv") }
        }
    }

    /// Rows of a file are the rows of its tokens, whatever the file's size; the loss is the tokens' mean.
    @Test func textFiles() throws {
        let words = try words(), model = try ExperimentGolden("gpt2-tiny").model("plain")
        let line = "Then, John and Mary went to the store.\nMary gave the milk to Tom Lee.\n"
        try withTemporaryFolder { folder in
            for (count, bos, length) in [(1, 1, 8), (1, nil, 8), (5, 1, 31), (4000, 1, 32), (4000, nil, 20)] as [(Int, Int?, Int)] {
                let text = String(repeating: line, count: count)
                try write(text, to: folder + "/text")
                var expected = try words.encode(text: text, addSpecialTokens: false)[...], reader = try TokenRows(file: folder + "/text", tokenizer: words, length: length, bos: bos)
                let room = length - (bos == nil ? 0 : 1)
                while let row = try reader.next() {
                    #expect(row == (bos.map { [$0] } ?? []) + expected.prefix(room))
                    expected = expected.dropFirst(room)
                }
                #expect(expected.count < 2 && reader.progress.done == text.utf8.count)
            }
            try write(String(repeating: line, count: 3), to: folder + "/short")
            var reader = try TokenRows(file: folder + "/short", tokenizer: words, length: 16, bos: 1), rows: [[Int]] = []
            while let row = try reader.next() { rows.append(row) }
            var again = rows.makeIterator(), total = 0.0
            let found = try Evals.evaluate(model, rowsAtOnce: 2) { again.next() }
            for row in rows {
                let losses = try #require(model.run(.tokens(IntTensor(rows: [row])), .init(returnType: .loss, lossPerToken: true)).loss).array
                total += losses.reduce(0.0) { $0 + Double($1) }
            }
            #expect(found.rows == rows.count && found.predicted == rows.reduce(0) { $0 + $1.count - 1 })
            #expect(abs(found.loss - total / Double(found.predicted)) < 1e-9 && found.perplexity == exp(found.loss))
            again = rows.makeIterator()
            #expect(try Evals.evaluate(model, most: 2) { again.next() }.rows == 2)
            expectError(.usage, "nothing to predict") { try Evals.evaluate(model) { nil } }
            try Data([0x41, 0xFF, 0x42]).write(to: URL(fileURLWithPath: folder + "/bad"))
            var bad = try TokenRows(file: folder + "/bad", tokenizer: words, length: 8, bos: nil)
            expectError(.format, "not UTF-8 text") { try bad.next() }
            expectError(.usage, "rows too short") { try TokenRows(file: folder + "/bad", tokenizer: words, length: 1, bos: nil) }
            // One line longer than any piece, with characters of several bytes at its cuts.
            try write(String(repeating: "é", count: 900_000), to: folder + "/line")
            var long = try TokenRows(file: folder + "/line", tokenizer: words, length: 1 << 20, bos: nil), count = 0
            while let row = try long.next() { count += row.count }
            #expect(count > 0 && long.progress.done == 1_800_000)
        }
    }
}

@Suite struct MaxActivatingTests {
    private let rows = (0..<40).map { row in (0..<7).map { (row * 31 + $0 * $0 * 17) % 97 } }

    /// Against all activations at once.
    @Test(arguments: ["gpt2-tiny", "llama-grouped"]) func keepsTheStrongest(_ name: String) throws {
        let model = try ExperimentGolden(name).model("plain")
        let neurons = [NeuronIndex(0, 3), NeuronIndex(1, 0), NeuronIndex(1, 49)]
        var search = try MaxActivating(model.config, neurons: neurons, count: 5), iterator = rows.makeIterator()
        try search.run(model) { iterator.next() }
        let cache = try model.run(.tokens(IntTensor(rows: rows)), .init(cache: "post")).cache
        for (index, neuron) in neurons.enumerated() {
            let all = try cache["post", neuron.layer].at(.all, .all, .at(neuron.neuron)).array
            let best = rows.indices.map { row in (row: row, value: all[row * 7..<row * 7 + 7].max() ?? 0) }.sorted { ($0.value, $1.row) > ($1.value, $0.row) }.prefix(5)
            #expect(search.examples[index].map(\.row) == best.map(\.row) && search.examples[index].map(\.activation) == best.map(\.value))
            for example in search.examples[index] {
                #expect(example.tokens == rows[example.row] && example.activations == Array(all[example.row * 7..<example.row * 7 + 7]))
            }
            #expect(search.firingShare[index] == Double(all.count { $0 > 0 }) / Double(all.count))
        }
    }

    /// Broken off anywhere and gone on from its state, a search ends as one that ran through.
    @Test func resumes() throws {
        let model = try ExperimentGolden("gpt2-tiny").model("plain"), words = try Tokenizer(folder: ExperimentGolden.folder + "/tokenizer")
        let neurons = [NeuronIndex(2, 7), NeuronIndex(0, 1)]
        try withTemporaryFolder { folder in
            let names = ["John", "Mary", "Tom", "Lee"]
            try write((0..<60).map { "Then \(names[$0 % 4]) gave the \(["milk", "eggs"][$0 % 2]) to \(names[$0 * 7 % 4]) and went." }.joined(separator: "\n"), to: folder + "/text")
            func reader(_ place: TokenRows.Place = .init()) throws -> TokenRows { try TokenRows(file: folder + "/text", tokenizer: words, length: 9, bos: 1, from: place) }
            let fresh = try MaxActivating(model.config, neurons: neurons, count: 3)
            var whole = fresh, rows = try reader()
            try whole.run(model) { try rows.next() }
            #expect(whole.rows > 30)
            struct Stop: Error {}
            for stop in [1, 10, whole.rows] {
                var part = fresh, rows = try reader()
                #expect(throws: Stop.self) { try part.run(model, next: { try rows.next() }, after: { if $0.rows == stop { throw Stop() } }) }
                try MaxActivatingState(part, place: rows.place, subject: "s").write(to: folder + "/state")
                let state = try MaxActivatingState(contentsOf: folder + "/state", of: fresh, subject: "s")
                var rest = state.search, others = try reader(state.place)
                try rest.run(model) { try others.next() }
                #expect(rest.examples == whole.examples && rest.rows == whole.rows && rest.firingShare == whole.firingShare)
            }
            expectError(.usage, "a state of another search") { try MaxActivatingState(contentsOf: folder + "/state", of: fresh, subject: "t") }
            let other = try MaxActivating(model.config, neurons: [neurons[0]], count: 3)
            expectError(.usage, "a state of another search") { try MaxActivatingState(contentsOf: folder + "/state", of: other, subject: "s") }
            let good = try String(contentsOfFile: folder + "/state", encoding: .utf8)
            for (from, to) in [("\"version\":1", "\"version\":2"), ("\"position\":", "\"position\":99"), ("\"offset\":", "\"offset\":-"), ("\"rows\"", "\"rowz\"")] {
                try write(good.replacingOccurrences(of: from, with: to), to: folder + "/bad")
                expectError(.format) { try MaxActivatingState(contentsOf: folder + "/bad", of: fresh, subject: "s") }
            }
            expectError(.usage, "no such neuron") { try MaxActivating(model.config, neurons: [NeuronIndex(0, 50)]) }
            expectError(.usage, "no such layer") { try MaxActivating(model.config, neurons: [NeuronIndex(3, 0)]) }
            expectError(.usage, "not neurons") { try MaxActivating(model.config, neurons: [NeuronIndex(0, 0)], activationName: "pattern") }
            expectError(.usage, "nothing to keep") { try MaxActivating(model.config, neurons: []) }
        }
    }
}

@Suite struct RepeatedSequenceTests {
    @Test func sequences() throws {
        let model = try ExperimentGolden("gpt2-tiny").model("plain")
        let repeated = try RepeatedSequences(for: model.config, batch: 3, length: 10, bos: 1, excluding: [0, 2], seed: 9)
        #expect(repeated.tokens.shape == [3, 21] && repeated.repetition == 11)
        for row in repeated.tokens.rows { #expect(row[0] == 1 && Array(row[1..<11]) == Array(row[11...]) && !row[1...].contains { $0 < 3 }) }
        #expect(try RepeatedSequences(for: model.config, batch: 3, length: 10, bos: 1, excluding: [0, 2], seed: 9).tokens == repeated.tokens)
        // From the patterns of one run.
        let cache = try model.run(.tokens(repeated.tokens), .init(cache: "pattern")).cache, scores = try repeated.scores(model)
        for (kind, distance, from) in [(scores.previousToken, 1, 2), (scores.duplicateToken, 10, 11), (scores.induction, 9, 11)] {
            for layer in 0..<3 {
                for head in 0..<3 {
                    let pattern = try cache["pattern", layer].at(.all, .at(head))
                    let sum = (0..<3).reduce(0.0) { total, row in (from..<21).reduce(total) { $0 + Double(pattern[.at(row), .at($1), .at($1 - distance)].array[0]) } }
                    #expect(abs(Double(kind[.at(layer), .at(head)].array[0]) - sum / Double(3 * (21 - from))) < 1e-6)
                }
            }
        }
        expectError(.usage, "do not fit the model") { try RepeatedSequences(for: model.config, length: 16, bos: 1) }
        let ranked = try Tensor([0.5, .nan, 0.5, 2], shape: [2, 2]).rankedHeads()
        #expect(ranked.map(\.head.description) == ["L1H1", "L0H0", "L1H0", "L0H1"])
    }
}
