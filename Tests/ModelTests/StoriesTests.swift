// A real trained LLaMA (stories260K, grouped-query attention) against TransformerLens and Hugging Face. Its weights lie
// beside the repository, not in it: without them these tests are skipped.

import LensTestSupport
import Testing
import TransformerLens

private let folder = TestFolders.shared + "/models/stories260K"

@Suite(.enabled(if: fileExists(folder + "/config.json"), "../shared/models/stories260K is not there"))
struct StoriesTests {
    private let golden: JSON
    private let model: HookedTransformer

    init() throws {
        golden = try JSON.parse(file: TestFolders.goldens + "/stories260K.json", limit: 16 << 20)
        model = try HookedTransformer(folder: folder, processing: .none)
    }

    private func strings(_ key: String) throws -> [String] { try (golden[key] ?? .null).asArray(at: key).map { try $0.asString(at: key) } }

    @Test func logitsAndLossAgree() throws {
        let prompt = try #require(golden["prompt"]?.stringValue)
        let tokens = try (golden["tokens"] ?? .null).integerRows("tokens")
        #expect(try model.toTokens(prompt).rows == tokens)
        let output = try model.run(prompt, .init(returnType: .both))
        let rows = try (golden["logits"] ?? .null).asArray(at: "logits")[0].asArray(at: "logits")
        let flat = try rows.flatMap { try $0.asArray(at: "logits").map { Float(try $0.asDouble(at: "logits")) } }
        let expected = try Tensor(flat, shape: [1, rows.count, flat.count / rows.count])
        let error = expectClose(output.logits, expected, "logits")
        if environmentVariable("LENS_TEST_VERBOSE") != nil { print("golden stories260K: largest error \(error) at logits") }
        let loss = try #require(golden["loss"]?.doubleValue)
        #expect(abs(Double(try #require(output.loss).item()) - loss) <= 2e-5 * max(loss, 1))
    }

    @Test func everySiteAgrees() throws {
        let (_, cache) = try model.runWithCache(try #require(golden["prompt"]?.stringValue))
        var seen: Set<String> = []
        let fired = try strings("fired").filter { seen.insert($0).inserted }
        #expect(cache.names == fired)
        let sites = try #require(golden["sites"]?.objectValue)
        #expect(Set(sites.keys) == Set(cache.names))
        for (name, shape) in sites.pairs {
            let activation = try cache[name], finite = activation.array.filter(\.isFinite)
            #expect(activation.shape == (try shape.integers(name)), "\(name)")
            let largest = try #require(golden["largest"]?[name]?.doubleValue), sum = try #require(golden["sums"]?[name]?.doubleValue)
            let tolerance = goldenTolerance * largest
            #expect(activation.array.allSatisfy { !$0.isNaN }, "\(name)")
            #expect(abs(Double(finite.map(abs).max() ?? 0) - largest) <= tolerance, "\(name)")
            #expect(abs(finite.reduce(0) { $0 + Double($1) } - sum) <= tolerance * Double(finite.count).squareRoot(), "\(name)")
        }
    }

    @Test(arguments: [true, false])
    func tellsTheStory(_ keepsKeysAndValues: Bool) throws {
        let prompt = try #require(golden["prompt"]?.stringValue)
        let expected = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, "
            + "red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park"
        #expect(golden["greedy_80_text"]?.stringValue == expected)
        let sequence = try (golden["greedy_80"] ?? .null).integerRows("greedy_80")[0]
        let tokens = try model.toTokens(prompt).row(0)
        let options = GenerationOptions(maxNewTokens: 80, sampling: .greedy, usesKeyValueCache: keepsKeysAndValues)
        #expect(try tokens + model.model.generate([tokens], options)[0] == sequence)
        if keepsKeysAndValues { #expect(try model.generate(prompt, maxNewTokens: 80, sampling: .greedy) == expected) }
    }
}
