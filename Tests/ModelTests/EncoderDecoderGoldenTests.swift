// Padded batches of encoders and encoder-decoders, and T5's generation, against Hugging Face; the buckets of distances.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct EncoderDecoderGoldenTests {
    static let masked = GoldenTests.supported.filter { name in
        (try? Golden(name))?.runs.contains { $0.name.hasPrefix("masked.") } ?? false
    }
    static let generating = ["t5", "t5-gated"]

    @Test func thereAreSome() { #expect(Self.masked.count >= 10 && Self.masked.contains("t5") && Self.masked.contains("roberta")) }

    /// At real positions: what stands at others is nobody's business.
    @Test(arguments: masked)
    func paddedBatchesAgree(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name)
        for run in golden.runs where run.name.hasPrefix("masked.") {
            var options = run.options
            options.cache = .names(run.tensors.keys.filter { $0.contains("hook_") }.sorted())
            let tokens = try #require(run.tokens), output = try model.run(.tokens(tokens), options)
            let real = run.attentionMask?.rows ?? tokens.rows.map { $0.map { _ in 1 } }
            for what in run.tensors.keys.sorted() {
                let expected = try golden.tensor(run, what)
                let actual = try what == "logits" ? output.logits : what == "residual" ? output.residual : output.cache[what]
                if expected.rank < 3 {
                    expectClose(actual, expected, "\(name): \(run.name)/\(what)")
                    continue
                }
                for (row, places) in real.enumerated() {
                    guard let first = places.firstIndex(of: 1), let last = places.lastIndex(of: 1) else { continue }
                    let place = [TensorIndex.at(row), .range(first..<last + 1)]
                    expectClose(try actual?.view(place), try expected.view(place), "\(name): \(run.name)/\(what), row \(row)")
                }
            }
        }
    }

    @Test(arguments: generating)
    func generationAgrees(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name)
        let runs = golden.runs.filter { $0.name.hasPrefix("generate.") }
        #expect(runs.count == 3)
        for run in runs {
            for keeps in [true, false] {
                var steps: [Tensor] = []
                let hook = Hook.read("unembed.hook_out") { logits, _ in steps.append(try logits.at(.all, .at(-1))) }
                var options = GenerationOptions(maxNewTokens: run.maxNewTokens, sampling: .greedy, eosTokens: Set([run.eosToken].compactMap(\.self)),
                                                usesKeyValueCache: keeps, hooks: [hook])
                options.encoderInput = run.encoderInput
                let new = try model.generate(#require(run.tokens).rows, options)
                for (row, sequence) in run.sequences.enumerated() {
                    var expected = Array(sequence.dropFirst(1))
                    if let end = expected.firstIndex(where: { $0 == run.eosToken }) { expected.removeLast(expected.count - end - 1) }
                    #expect(new[row] == expected, "\(name): \(run.name), row \(row)")
                }
                let expected = try golden.tensor(run, "step_logits")
                #expect(steps.count == expected.shape[1])
                for (step, logits) in steps.enumerated() {
                    for row in new.indices where step < new[row].count {
                        expectClose(try logits.at(.at(row)), try expected.at(.at(row), .at(step)), "\(name): \(run.name), row \(row), step \(step)")
                    }
                }
            }
        }
    }

    @Test func bucketsAreHuggingFaces() throws {
        let cases = try JSON.parse(file: "\(TestFolders.goldens)/relative-buckets.json", limit: 1 << 20).asArray(at: "cases")
        #expect(cases.count > 10)
        for json in cases {
            let count = try #require(json["buckets"]?.intValue), furthest = try #require(json["max_distance"]?.intValue)
            let positions = RelativePositions(buckets: count, maxDistance: furthest), bidirectional = json["bidirectional"] == true
            let steps = try #require(json["steps"]).asArray(at: "steps").map { try $0.integers("step") }
            for (index, step) in steps.enumerated() {
                let end = index + 1 < steps.count ? steps[index + 1][1] : furthest + 6
                for distance in step[1]..<end {
                    #expect(positions.bucket(distance, bidirectional: bidirectional) == step[0], "\(json["buckets"] ?? .null) \(furthest) \(bidirectional) at \(distance)")
                }
            }
            // The furthest distance's bucket is every further one's: the table written out for the kernel ends there.
            for distance in [furthest, furthest + 1, 10 * furthest, 100_000] {
                for sign in [-1, 1] {
                    #expect(positions.bucket(sign * distance, bidirectional: bidirectional) == positions.bucket(sign * furthest, bidirectional: bidirectional))
                }
            }
        }
    }
}
