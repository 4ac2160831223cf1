// Choosing tokens: greedy, temperature, top-k, top-p, seeds.

@testable import LensModel
import LensTestSupport
import Testing
import TransformerLens

@Suite struct SamplerTests {
    private func draws(_ sampling: Sampling, _ logits: [Float], count: Int = 4000) throws -> [Int] {
        var sampler = Sampler(sampling)
        return try logits.withUnsafeBufferPointer { logits in try (0..<count).map { _ in try sampler.next(logits) } }
    }

    private let logits: [Float] = [0.5, 2, -1, 1, -.infinity, 1.5]

    @Test func greedyIsTheFirstOfTheLargest() throws {
        #expect(Set(try draws(.greedy, logits)) == [1])
        #expect(try draws(.greedy, [1, 3, 3, 2], count: 1) == [1])
        #expect(try draws(.greedy, [-.infinity, -.infinity], count: 1) == [0])
        #expect(Set(try draws(Sampling(temperature: 1), [0, .infinity, 1])) == [1])
        #expect(Set(try draws(Sampling(temperature: 1e-6), logits)) == [1])
    }

    @Test(arguments: [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0)])
    func frequenciesAreTheSoftmax(_ temperature: Double, _: Double) throws {
        let count = 40_000, found = try draws(Sampling(temperature: temperature, seed: 3), logits, count: count)
        let weights = try Tensor(logits.map { $0 / Float(temperature) }, shape: [6]).softmax().array
        for (token, probability) in weights.enumerated() {
            let frequency = Double(found.count { $0 == token }) / Double(count)
            // Five standard deviations.
            #expect(abs(frequency - Double(probability)) <= 5 * (Double(probability) / Double(count)).squareRoot(), "token \(token)")
        }
    }

    @Test func supports() throws {
        for (k, support) in [1: [1], 2: [1, 5], 3: [1, 3, 5], 4: [0, 1, 3, 5], 100: [0, 1, 2, 3, 5]] {
            #expect(Set(try draws(Sampling(topK: k), logits)) == Set(support), "top \(k)")
        }
        // Probabilities: 0.098, 0.439, 0.022, 0.162, 0, 0.266 (by token): in order 1, 5, 3, 0, 2.
        for (p, support) in [0.01: [1], 0.44: [1], 0.5: [1, 5], 0.72: [1, 3, 5], 0.9: [0, 1, 3, 5], 1: [0, 1, 2, 3, 5]] {
            #expect(Set(try draws(Sampling(topP: p), logits)).isSubset(of: support), "top-p \(p)")
            #expect(Set(try draws(Sampling(topP: p), logits)).count >= support.count, "top-p \(p)")
        }
        #expect(Set(try draws(Sampling(topK: 2, topP: 0.99), logits)) == [1, 5])
        // Ties: the first tokens stay.
        #expect(Set(try draws(Sampling(topK: 2), [1, 1, 1, 1])) == [0, 1])
    }

    /// Penalties, temperature and cuts in TransformerLens' order, against Hugging Face's processors.
    @Test func distributionsAreTheReferences() throws {
        let cases = try JSON.parse(file: TestFolders.goldens + "/sampling.json", limit: 1 << 20).asArray(at: "cases")
        #expect(cases.count >= 10)
        for entry in cases {
            let options = try (entry["options"] ?? .null).asObject(at: "options")
            var sampling = Sampling()
            sampling.temperature = options["temperature"]?.doubleValue ?? 1
            sampling.topK = options["top_k"]?.intValue
            sampling.topP = options["top_p"]?.doubleValue
            sampling.minP = options["min_p"]?.doubleValue
            sampling.repetitionPenalty = options["repetition_penalty"]?.doubleValue ?? 1
            sampling.frequencyPenalty = options["frequency_penalty"]?.doubleValue ?? 0
            sampling.presencePenalty = options["presence_penalty"]?.doubleValue ?? 0
            let logits = try (entry["logits"] ?? .null).asArray(at: "logits").map { Float(try $0.asDouble(at: "logits")) }
            let expected = try (entry["probabilities"] ?? .null).asArray(at: "p").map { try $0.asDouble(at: "p") }
            let sampler = Sampler(sampling, prompt: try (entry["tokens"] ?? .null).integers("tokens"))
            let found = logits.withUnsafeBufferPointer { sampler.distribution($0) }
            for (token, pair) in zip(found, expected).enumerated() { #expect(abs(pair.0 - pair.1) < 1e-6, "\(options), token \(token)") }
        }
    }

    /// Temperature 0 knows the repetition penalty, and no other.
    @Test func penaltiesWhileGreedy() throws {
        let logits: [Float] = [1, 2, 1.9, -1]
        func greedy(_ sampling: Sampling, _ prompt: [Int]) throws -> [Int] {
            var sampler = Sampler(sampling, prompt: prompt)
            return try logits.withUnsafeBufferPointer { logits in try (0..<4).map { _ in try sampler.next(logits) } }
        }
        #expect(try greedy(Sampling(temperature: 0, repetitionPenalty: 1.5), []) == [1, 2, 1, 1])
        #expect(try greedy(Sampling(temperature: 0, repetitionPenalty: 3), [1, 1, 2]) == [0, 1, 1, 1])
        #expect(try greedy(Sampling(temperature: 0, frequencyPenalty: 9), [1]) == [1, 1, 1, 1])
        // Sampled, a penalty large enough takes every token once.
        var sampler = Sampler(Sampling(temperature: 1, presencePenalty: 1000))
        let drawn = try logits.withUnsafeBufferPointer { logits in try (0..<4).map { _ in try sampler.next(logits) } }
        #expect(Set(drawn) == [0, 1, 2, 3])
    }

    @Test func seedsReproduce() throws {
        let sampling = Sampling(seed: 11)
        #expect(try draws(sampling, logits) == draws(sampling, logits))
        #expect(try draws(sampling, logits) != draws(Sampling(seed: 12), logits))
    }

    @Test func rowsDrawTheirOwn() throws {
        let model = try LawModels.named("gpt2-tiny"), sampling = Sampling(temperature: 2, seed: 4)
        let first = try model.generate([[1, 2, 3], [4]], .init(maxNewTokens: 12, sampling: sampling))
        #expect(try first == model.generate([[1, 2, 3], [4]], .init(maxNewTokens: 12, sampling: sampling)))
        #expect(try first == model.generate([[1, 2, 3], [4]], .init(maxNewTokens: 12, sampling: sampling, usesKeyValueCache: false)))
        #expect(try first[0] == model.generate([[1, 2, 3]], .init(maxNewTokens: 12, sampling: sampling))[0], "row 0 is what it is alone")
        #expect(try first[1] == model.generate([[4]], .init(maxNewTokens: 12, sampling: sampling))[0], "row 1 is what it is alone")
        #expect(try first != model.generate([[1, 2, 3], [4]], .init(maxNewTokens: 12, sampling: Sampling(temperature: 2, seed: 5))))
        let same = try model.generate([[1, 2, 3], [1, 2, 3]], .init(maxNewTokens: 12, sampling: sampling))
        #expect(same[0] == same[1], "equal prompts draw alike")
    }

    @Test(arguments: [Sampling(temperature: -1), Sampling(temperature: .nan), Sampling(temperature: .infinity), Sampling(topK: 0), Sampling(topK: -3),
                      Sampling(topP: 0), Sampling(topP: 1.5), Sampling(topP: .nan), Sampling(topP: -0.1), Sampling(minP: -1), Sampling(minP: 1.1), Sampling(repetitionPenalty: 0),
                      Sampling(repetitionPenalty: .infinity), Sampling(frequencyPenalty: -1), Sampling(presencePenalty: .nan)])
    func outOfRange(_ sampling: Sampling) throws {
        expectError(.usage, "out of range") { try LawModels.named("gpt2-tiny").generate([[1]], .init(sampling: sampling)) }
    }

    @Test func nothingToChooseFrom() throws {
        expectError(.usage, "NaN") { try draws(.greedy, [1, .nan]) }
        expectError(.usage, "NaN") { try draws(Sampling(), [.nan, 1]) }
        #expect(try draws(Sampling(), [-.infinity, -.infinity], count: 1).count == 1)
        let model = try LawModels.named("gpt2-tiny")
        expectError(.usage, "NaN") { try model.generate([[1]], .init(hooks: [.edit("unembed.hook_out") { x, _ in x[.all] = Tensor(.nan) }])) }
    }
}
