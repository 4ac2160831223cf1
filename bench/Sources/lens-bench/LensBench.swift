// `lens-bench`: the Swift side of the benchmarks. Results are checked (against a dump of the peers' logits, or a plain
// reference) before anything is timed; JSON on stdout.

import ArgumentParser

@main
struct LensBench: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "lens-bench", abstract: "Benchmarks of swift-transformer-lens.",
                                                    subcommands: [Forward.self, Machine.self, Scale.self, Products.self, RowKernels.self, TextEncoding.self, Patchscopes.self,
                                                                  Training.self, Counted.self])
}
