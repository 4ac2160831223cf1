// Greedy generation against Hugging Face: 200 tokens by twenty models of the golden folders, each prompt alone and all in one
// left-padded batch (`goldenmaker/long_greedy.py`).

import LensTestSupport
import Testing
import TransformerLens

@Suite struct LongGreedyTests {
    private static let golden = Result { try JSON.parse(file: TestFolders.goldens + "/long_greedy.json", limit: 1 << 20) }
    private static let names = (try? golden.get()["models"]?.objectValue?.keys) ?? []

    @Test func thereAreTenFamilies() throws { #expect(try Self.golden.get()["models"]?.objectValue?.count ?? 0 >= 10) }

    @Test(arguments: names)
    func equalsHuggingFace(_ name: String) throws {
        let golden = try Self.golden.get(), entry = try #require(golden["models"]?[name])
        let prompts = try (entry["prompts"] ?? .null).integerRows(name), new = try (entry["new"] ?? .null).integerRows(name)
        let model = try lengthened(Models.named(name), to: try #require(golden["context"]?.intValue))
        #expect(new.allSatisfy { $0.count == 200 } && Set(prompts.map(\.count)).count == prompts.count)
        #expect(try model.generate(prompts, .init(maxNewTokens: 200, sampling: .greedy)) == new, "\(name): the batch")
        for (row, prompt) in prompts.enumerated() {
            #expect(try model.generate([prompt], .init(maxNewTokens: 200, sampling: .greedy)) == [new[row]], "\(name): row \(row) alone")
        }
    }

    /// The model with a longer context; a table of positions repeats.
    private func lengthened(_ model: Transformer, to context: Int) throws -> Transformer {
        var config = model.config
        config.nCtx = context
        var parameters: [String: Tensor] = [:]
        for name in model.parameters.names { parameters[name] = try model.parameters[name] }
        if let table = parameters["pos_embed.W_pos"] {
            var long = Tensor(zeros: [context, config.dModel])
            for position in 0..<context { long[.at(position)] = table[.at(position % table.shape[0])] }
            parameters["pos_embed.W_pos"] = long
        }
        return try Transformer(config: config, parameters: parameters)
    }
}
