// How time per token and memory grow: with batch, with context, with threads.

import ArgumentParser
import TransformerLens

struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time per token against batch, context and threads; memory against the formula.")

    @Argument(help: "A model folder, or a GGUF file.")
    var folder: String

    @Option(help: "Rows decoded together; repeatable.") var batch: [Int] = [1, 2, 4, 8, 16]
    @Option(help: "Positions held when the time of one more is taken, ascending; repeatable.") var context: [Int] = [128, 512, 2048, 8192, 32768]
    @Option(help: "Only so many layers: long contexts take minutes.") var layers: Int?
    @Option var threads = 2
    @Option(help: "Seconds for each.") var seconds = 1.0

    func run() throws {
        Kernels.threads = threads
        let longest = max(512, context.max() ?? 0) + 64
        let model = try HookedTransformer(folder: folder, processing: .none, options: LoadOptions(firstNLayers: layers, nCtx: longest))
        let report: JSON = [
            "instruction_set": .string(try Kernels.instructionSet()), "layers": .int(model.config.nLayers), "weights_bytes": .int(model.model.parameters.byteCount),
            "threads": .array(try (1...max(1, threads)).flatMap { try atThreads($0, model) }),
            "batch": .array(try batch.map { try atBatch($0, model) }),
            "context": .array(try atContexts(model)),
        ]
        print(try report.text(pretty: true))
    }

    private func tokens(_ batch: Int, _ range: Range<Int>, _ model: HookedTransformer) throws -> IntTensor {
        try IntTensor((0..<batch).flatMap { row in range.map { (7919 * ($0 + 1000 * row) + 13) % model.config.dVocab } }, shape: [batch, range.count])
    }

    /// Adds positions to a cache, logits of the last.
    private func pass(_ model: HookedTransformer, _ batch: Int, _ range: Range<Int>, _ cache: inout KeyValueCache?) throws {
        var options = Transformer.Options()
        options.onlyLastLogits = true
        _ = try model.model.run(.tokens(tokens(batch, range, model)), options, keyValues: &cache)
    }

    /// Seconds of one decoding step after what `cache` holds.
    private func decoding(_ model: HookedTransformer, _ batch: Int, after held: Int, _ cache: KeyValueCache?) throws -> Timing {
        let steps = 8
        let timing = try Timing(seconds: seconds) {
            var cache = cache
            for step in 0..<steps { try pass(model, batch, held + step..<held + step + 1, &cache) }
        }
        return Timing(runs: timing.runs.map { $0 / Double(steps) })
    }

    private func atThreads(_ count: Int, _ model: HookedTransformer) throws -> [JSON] {
        Kernels.threads = count
        defer { Kernels.threads = threads }
        var held: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        try pass(model, 1, 0..<16, &held)
        let decode = try decoding(model, 1, after: 16, held)
        let prefills = try [128, 512].map { length in
            (length, try Timing(seconds: seconds) {
                var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
                try pass(model, 1, 0..<length, &cache)
            })
        }
        return [row([("threads", count), ("positions", 1)], decode)] + prefills.map { row([("threads", count), ("positions", $0.0)], $0.1) }
    }

    private func atBatch(_ rows: Int, _ model: HookedTransformer) throws -> JSON {
        var held: KeyValueCache? = KeyValueCache(for: model.config, batch: rows)
        try pass(model, rows, 0..<16, &held)
        return row([("batch", rows)], try decoding(model, rows, after: 16, held))
    }

    private func atContexts(_ model: HookedTransformer) throws -> [JSON] {
        var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1), held = 0
        return try context.sorted().map { length in
            let start = ContinuousClock.now, before = held
            while held < length {
                let end = min(length, held + 1024)
                try pass(model, 1, held..<end, &cache)
                held = end
            }
            let filling = Timing.since(start)
            var result = try row([("context", length)], decoding(model, 1, after: held, cache)).objectValue ?? JSONObject([])
            result["prefill_tokens_per_s"] = .double(Double(length - before) / max(filling, 1e-9))
            // Whole pages of 64 positions, keys and values, float32.
            let pages = (length + 63) / 64 * 64
            result["cache_bytes"] = .int(cache?.byteCount ?? 0)
            result["formula_bytes"] = .int(8 * pages * model.config.nLayers * model.config.kvHeads * model.config.dHead)
            return .object(result)
        }
    }

    private func row(_ place: [(String, Int)], _ timing: Timing) -> JSON {
        .object(JSONObject(place.map { ($0.0, .int($0.1)) } + [("median_s", .double(timing.median)), ("best_s", .double(timing.best))]))
    }
}
