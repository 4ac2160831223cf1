// detectHead against TransformerLens 3.9.0: three patterns and one of one's own, both measures, both exclusions; and what it refuses.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct DetectHeadTests {
    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func scoresAgree(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing)
        let custom = DetectionPattern.custom(try golden.tensor("\(processing)/detect/custom_pattern"))
        let patterns = try DetectionPattern.headNames.map { ($0, try DetectionPattern(named: $0)) } + [("custom", custom)]
        let cache = try model.run(.tokens(IntTensor(rows: [golden.sequence])), .init(cache: "pattern", removeBatchDim: true)).cache
        let before = try cache["pattern", 0].array
        for measure in ErrorMeasure.allCases {
            for (bos, current) in [(false, false), (false, true), (true, false), (true, true)] {
                let options = DetectHeadOptions(excludeBOS: bos, excludeCurrentToken: current, errorMeasure: measure)
                let key = measure.rawValue + (bos ? ".bos" : "") + (current ? ".current" : "")
                for (pattern, kind) in patterns {
                    let expected = try golden.tensor("\(processing)/detect/\(pattern)/\(key)")
                    let what = "\(name) \(pattern) \(key)"
                    // Rounded to thousandths: a hair can be a thousandth.
                    let tolerance = measure == .abs ? 1.01e-3 / Double(expected.array.map(abs).max() ?? 1) : goldenTolerance
                    expectClose(try detectHead(model, tokens: golden.sequence, pattern: kind, options: options), expected, what, tolerance: tolerance)
                    expectClose(try detectHead(model, tokens: golden.sequence, pattern: kind, options: options, cache: cache), expected, what, tolerance: tolerance)
                }
            }
        }
        #expect(try cache["pattern", 0].array == before, "the cache is left as it was")
        let chosen = DetectHeadOptions(heads: [HeadIndex(0, 1), HeadIndex(1, 2)])
        expectClose(try detectHead(model, tokens: golden.sequence, pattern: .inductionHead, options: chosen),
                    try golden.tensor("\(processing)/detect/chosen"), "\(name) chosen heads")
    }

    @Test func severalSequencesAreAveraged() throws {
        let golden = try ExperimentGolden("gpt2-tiny"), model = try golden.model("plain")
        let rows = [golden.sequence, golden.sequence.reversed().map { $0 }, [1, 2, 3, 1, 2, 3, 1]]
        let options = DetectHeadOptions(excludeBOS: true, excludeCurrentToken: true, errorMeasure: .abs)
        let alone = try rows.map { try detectHead(model, tokens: $0, pattern: .inductionHead, options: options).array }
        let together = try detectHead(model, sequences: rows, pattern: .inductionHead, options: options).array
        for (place, value) in together.enumerated() { #expect(abs(value - alone.reduce(0) { $0 + $1[place] } / 3) < 1e-6) }
    }

    @Test func refusals() throws {
        let golden = try ExperimentGolden("gpt2-tiny"), model = try golden.model("plain")
        expectError(.name, "detection_pattern must be a Tensor or one of head names", "previous_token_head", "nonsense") { try DetectionPattern(named: "nonsense") }
        let fits = "The sequence must be non-empty and must fit within the model's context window."
        expectError(.usage, fits) { try detectHead(model, tokens: [], pattern: .inductionHead) }
        expectError(.usage, fits) { try detectHead(model, tokens: [1], pattern: .inductionHead) }
        expectError(.usage, fits) { try detectHead(model, tokens: Array(repeating: 1, count: model.config.nCtx), pattern: .inductionHead) }
        let lower = "The detection pattern must be a lower triangular matrix of shape (sequence_length, sequence_length)"
        for shape in [[3, 3], [4, 5], [5, 5, 1]] {
            expectError(.shape, lower) { try detectHead(model, tokens: [1, 2, 3, 4, 5], pattern: .custom(Tensor(zeros: shape))) }
        }
        expectError(.shape, lower) { try detectHead(model, tokens: [1, 2], pattern: .custom(Tensor(repeating: 1, shape: [2, 2]))) }
        for head in [HeadIndex(0, 3), HeadIndex(3, 0), HeadIndex(-1, 0)] {
            expectError(.usage, "no such head") { try detectHead(model, tokens: [1, 2], pattern: .inductionHead, options: .init(heads: [head])) }
        }
        let other = try model.run(.tokens(IntTensor(rows: [[1, 2, 3]])), .init(cache: "pattern")).cache
        expectError(.shape, "a cache of another sequence") { try detectHead(model, tokens: [1, 2], pattern: .inductionHead, cache: other) }
        expectError(.usage, "no sequences") { try detectHead(model, sequences: [], pattern: .inductionHead) }
    }
}
