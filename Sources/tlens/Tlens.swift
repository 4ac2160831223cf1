// `tlens`, the command line: one file per command, what they share in CommonOptions, InputOptions and Printing.
// Exit codes: 0 done, 1 failed, 64 bad usage. Every failure is one line on stderr (bad usage adds how it is used).

import ArgumentParser
import TransformerLens

@main
enum Main {
    static func main() {
        occupyStandardStreams()
        Tlens.main()
    }
}

struct Tlens: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tlens",
        abstract: "Look inside transformer language models: run them, read and save every activation.",
        discussion: """
            MODEL is a folder with config.json and weights, a .gguf file, a file of weights with its config.json (or --config \
            FILE), a registered name or alias (`tlens models`), or a hub id org/name[@revision] that is in the local hub cache. Results go to stdout, as text or with --json as one \
            document; errors are one line on stderr. Exit codes: 0 done, 1 failed, 64 bad usage.

              tlens info gpt2-small
              tlens run gpt2-small --prompt "Hello World" --cache all --out acts.npz
              tlens generate gpt2-small --prompt "The Eiffel Tower is in" --temperature 0
            """,
        version: "0.1.0",
        subcommands: [Models.self, Info.self, Tokenize.self, Run.self, Generate.self, Lens.self, Attention.self, Attribute.self, CircuitCommand.self,
                      Patch.self, Heads.self, Neurons.self, Eval.self, PatchscopeCommand.self, Steer.self, Train.self, Grok.self, Quantize.self,
                      Bench.self])
}
