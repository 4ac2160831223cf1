// A patchscope over every pair of layers: as one batch over a key-value cache, and one pair at a time with recomputation, in
// one run. They must say the same, token for token, before anything is timed.

import ArgumentParser
import TransformerLens

struct Patchscopes: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time a patchscope's grid of layers, batched and one by one.")

    @Argument(help: "A model folder.")
    var folder: String

    @Option var threads = 2
    @Option var newTokens = 20
    @Option(help: "Seconds for each way.")
    var seconds = 5.0

    func run() throws {
        Kernels.threads = threads
        let model = try HookedTransformer(folder: folder).model, vocabulary = model.config.dVocab
        let source = (0..<16).map { (7919 * $0 + 13) % vocabulary }, target = (0..<24).map { (104_729 * $0 + 7) % vocabulary }
        let together = Patchscope(source: .init(model, source), target: .init(model, target, positions: [20]))
        var alone = together
        alone.usesKeyValueCache = false
        let layers = Array(0..<model.config.nLayers), pairs = PatchscopePair.grid(layers, layers)
        let options = GenerationOptions(maxNewTokens: newTokens, sampling: .greedy)
        let cells = try together.sweep(pairs, options)
        for cell in cells where try alone(cell.pair.sourceLayer, cell.pair.targetLayer, options).tokens != cell.tokens {
            throw LensError(.usage, "cached and recomputed generations differ", at: "\(cell.pair)")
        }
        let batched = try Timing(seconds: seconds) { _ = try together.sweep(pairs, options) }
        let naive = try Timing(seconds: seconds) { for pair in pairs { _ = try alone(pair.sourceLayer, pair.targetLayer, options) } }
        let report: JSON = ["who": "lens", "work": "patchscopes", "pairs": .int(pairs.count), "threads": .int(threads),
                            "batched": .object(batched.json), "one_by_one": .object(naive.json), "ratio": .double(naive.median / batched.median)]
        print(try report.text(pretty: true))
    }
}
