// `tlens bench`: tokens per second of prefill, decoding and a cached run.

import ArgumentParser
import TransformerLens

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Measure tokens per second: prefill, decode, cached run.",
                                                    usage: "tlens bench <model> [<options>]")

    @OptionGroup var options: ModelOptions

    @Option(help: ArgumentHelp("Tokens in the prompt.", valueName: "n"))
    var promptTokens = 128

    @Option(help: ArgumentHelp("Tokens to generate.", valueName: "n"))
    var newTokens = 32

    @Option(help: ArgumentHelp("Times each is run; the median counts.", valueName: "n"))
    var repeats = 5

    @OptionGroup var output: OutputOptions

    func validate() throws {
        for (name, value) in [("--prompt-tokens", promptTokens), ("--new-tokens", newTokens), ("--repeats", repeats)] where !(1...1_000_000).contains(value) {
            throw ValidationError("\(name) takes a number from 1 to 1000000, not \(value)")
        }
    }

    func run() throws {
        let model = try options.load(output)
        let context = model.config.nCtx
        guard context > 1 else { throw LensError(.usage, "context too short to measure", found: "\(context)") }
        let prompt = min(promptTokens, context - 1), new = min(newTokens, context - prompt)
        let tokens = (0..<prompt).map { ($0 &* 7919 &+ 11) % model.config.dVocab }
        let progress = Progress(output)
        var seconds: [Double] = []
        progress.show("prefill …")
        seconds.append(try median { _ = try model.logits([tokens]) })
        progress.show("cached run …")
        seconds.append(try median { _ = try model.runWithCache([tokens]) })
        progress.show("decode …")
        seconds.append(try decodeSeconds(model, tokens, new))
        progress.clear()
        try report(model, [("prefill", prompt, seconds[0]), ("cached run", prompt, seconds[1]), ("decode", new, seconds[2])])
    }

    /// Generation time less its prefill.
    private func decodeSeconds(_ model: HookedTransformer, _ tokens: [Int], _ new: Int) throws -> Double {
        try median {
            var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
            _ = try model.model.run(.tokens(IntTensor(rows: [tokens])), keyValues: &cache)
            let start = ContinuousClock.now
            for step in 0..<new {
                _ = try model.model.run(.tokens(IntTensor(rows: [[step % model.config.dVocab]])), keyValues: &cache)
            }
            return start
        }
    }

    private func median(_ body: () throws -> Void) throws -> Double {
        try median { () -> ContinuousClock.Instant in
            let start = ContinuousClock.now
            try body()
            return start
        }
    }

    /// The median time from the instant that `body` returns to its end, the first run not counted.
    private func median(_ body: () throws -> ContinuousClock.Instant) throws -> Double {
        _ = try body()
        let times = try (0..<repeats).map { _ -> Double in
            let start = try body()
            let elapsed = ContinuousClock.now - start
            return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        }
        return times.sorted()[times.count / 2]
    }

    private func report(_ model: HookedTransformer, _ results: [(name: String, tokens: Int, seconds: Double)]) throws {
        if output.json {
            try printJSON([
                "instruction_set": .string(try Kernels.instructionSet()), "threads": .int(Kernels.threads), "dtype": .string(model.model.parameters.format.rawValue),
                "activations": .string(model.model.parameters.activations.rawValue),
                "results": .array(results.map {
                    ["work": .string($0.name), "tokens": .int($0.tokens), "milliseconds": .double($0.seconds * 1e3),
                     "tokens_per_second": .double(Double($0.tokens) / $0.seconds)]
                }),
            ])
            return
        }
        try say("\(try Kernels.instructionSet()), \(threadCount(Kernels.threads)), weights \(model.model.parameters.format), activations \(model.model.parameters.activations); median of \(repeats)")
        var table = TextTable(["work", "#tokens", "#ms", "#tokens/s"])
        for result in results {
            table.add([result.name, "\(result.tokens)", fixed(result.seconds * 1e3, 2), fixed(Double(result.tokens) / result.seconds, 1)])
        }
        try say(table.text)
    }
}
