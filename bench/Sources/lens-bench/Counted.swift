// Passes to be counted rather than timed: valgrind collects inside `countPlain` and `countOne` (bench.py runs it so). A clock on
// a shared machine cannot tell one part in a hundred; instructions can.

import ArgumentParser
import TransformerLens

struct Counted: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run a pass, and one with one activation cached, for valgrind to count.")

    @Argument(help: "A model folder.")
    var folder: String

    @Option(help: "Only so many layers: the fewer, the more one activation weighs.") var layers = 2
    @Option var positions = 128

    func run() throws {
        Kernels.threads = 1
        let model = try HookedTransformer(folder: folder, processing: .none, options: LoadOptions(firstNLayers: layers))
        let tokens = try IntTensor((0..<positions).map { (7919 * $0 + 13) % model.config.dVocab }, shape: [1, positions])
        let name = "resid_post\(layers - 1)"
        _ = try model.runWithCache(tokens, namesFilter: .init(stringLiteral: name))  // what is done once, before
        try countPlain(model, tokens)
        try countOne(model, tokens, name)
    }
}

/// Not inlined, and with names that valgrind is told.
@inline(never) private func countPlain(_ model: HookedTransformer, _ tokens: IntTensor) throws { _ = try model.logits(tokens) }
@inline(never) private func countOne(_ model: HookedTransformer, _ tokens: IntTensor, _ name: String) throws {
    _ = try model.runWithCache(tokens, namesFilter: .init(stringLiteral: name))
}
