// Whole passes over a model folder: the works of bench/python/forward.py, under the same names, on the same tokens.

import ArgumentParser
import Foundation
import TransformerLens

struct Forward: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time forward passes, cached runs and generation of a model folder.")

    @Argument(help: "A model folder, or a GGUF file.")
    var folder: String

    @Option(help: "Works to time; repeatable. Default: all that fit the context.")
    var work: [String] = []

    @Flag(help: "Read lines `WORK SECONDS` from stdin and answer each with a line of JSON: how bench.py lets programs take turns.")
    var serve = false

    @Flag(help: "Rewrite the weights as fromPretrained does.")
    var processed = false

    @Flag(help: "Round activations to eight bits in products with quantised weights.")
    var int8 = false

    @Option var threads = 2
    @Option(help: "Seconds for each work.")
    var seconds = 5.0

    @Option(help: "A dump of bench/python/forward.py: logits are checked against it first.")
    var check: String?

    @Option(help: "How far logits may be from the dump's, as a share of the largest.")
    var tolerance: Float = 2e-5

    private static let shapes: [(name: String, batch: Int, pos: Int)] = [("1x16", 1, 16), ("1x128", 1, 128), ("8x128", 8, 128), ("1x1024", 1, 1024)]
    private static let prompt = 16, new = 32, decoded = 64

    func run() throws {
        Kernels.threads = threads
        let start = ContinuousClock.now
        let model = try HookedTransformer(folder: folder, processing: processed ? .default : .none,
                                          options: LoadOptions(activations: int8 ? .int8 : .float32))
        let loading = Timing.since(start)
        if let check { try compare(model, with: check) }
        if serve { return try answer(model) }
        let names = work.isEmpty ? Self.shapes.filter { $0.pos <= model.config.nCtx }.map(\.name) + ["cache-1x128", "generate"] : work
        let results = try names.map { try result(model, $0, seconds) }
        let report: JSON = ["instruction_set": .string(try Kernels.instructionSet()), "threads": .int(threads),
                            "activations": .string(model.model.parameters.activations.rawValue), "load_s": .double(loading),
                            "results": .array(results)]
        print(try report.text(pretty: true))
    }

    private func result(_ model: HookedTransformer, _ name: String, _ seconds: Double) throws -> JSON {
        var result = try measure(model, name, seconds)
        result["who"] = "lens"
        result["work"] = .string(name)
        return .object(result)
    }

    private func answer(_ model: HookedTransformer) throws {
        while let line = readLine() {
            let words = line.split(separator: " ")
            guard words.count == 2, let seconds = Double(words[1]) else { throw ValidationError("not `WORK SECONDS`: '\(line)'") }
            FileHandle.standardOutput.write(Data((try result(model, String(words[0]), seconds).text() + "\n").utf8))
        }
    }

    private func tokens(_ batch: Int, _ pos: Int, _ model: HookedTransformer) throws -> IntTensor {
        try IntTensor((0..<batch * pos).map { (7919 * $0 + 13) % model.config.dVocab }, shape: [batch, pos])
    }

    private func measure(_ model: HookedTransformer, _ name: String, _ seconds: Double) throws -> JSONObject {
        if let shape = Self.shapes.first(where: { $0.name == name }) {
            let batch = try tokens(shape.batch, shape.pos, model)
            return try Timing(seconds: seconds) { _ = try model.logits(batch) }.json
        }
        switch name {
        case "cache-1x128":
            let batch = try tokens(1, 128, model)
            return try Timing(seconds: seconds) { _ = try model.runWithCache(batch) }.json
        case "cache-first-1x128": // memory given back before each, then a plain pass, so that what is new is the cache alone
            let batch = try tokens(1, 128, model)
            let runs = try (0..<5).map { _ -> Double in
                Kernels.releaseMemory()
                _ = try model.logits(batch)
                let start = ContinuousClock.now
                _ = try model.runWithCache(batch)
                return Timing.since(start)
            }
            return Timing(runs: runs).json
        case "cache-one-1x128":
            let batch = try tokens(1, 128, model)
            return try Timing(seconds: seconds) { _ = try model.runWithCache(batch, namesFilter: "resid_post5") }.json
        case "backward-1x128", "backward-activations-1x128": // the loss and its gradients: of every parameter, or of every residual stream
            let input = Transformer.Input.tokens(try tokens(1, 128, model))
            var options = Transformer.Options(returnType: .loss)
            let ofParameters = name == "backward-1x128"
            if !ofParameters { options.gradients = "resid_pre" }
            return try Timing(seconds: seconds) {
                _ = try model.model.runWithGradients(input, options, parameters: ofParameters ? .all : .none) { $0.loss ?? 0 }
            }.json
        case "attribution-1x128": // the difference of two logits of the last position and its gradients of every residual stream
            let input = Transformer.Input.tokens(try tokens(1, 128, model))
            var options = Transformer.Options()
            (options.onlyLastLogits, options.gradients) = (true, "resid_pre")
            return try Timing(seconds: seconds) {
                _ = try model.model.runWithGradients(input, options) { output in
                    guard let logits = output.logits else { return 0 }
                    return try logits.at(0, -1, 17) - logits.at(0, -1, 42)
                }
            }.json
        case "once": // a pass as soon as the model is there: for the time from start to first logits, and the peak of memory
            let batch = try tokens(1, 128, model), start = ContinuousClock.now
            _ = try model.logits(batch)
            return JSONObject([("median_s", .double(Timing.since(start)))])
        case "prefill-128", "prefill-1024":
            let prompt = try tokens(1, name == "prefill-128" ? 128 : 1024, model)
            var options = Transformer.Options()
            options.onlyLastLogits = true
            return try Timing(seconds: seconds) {
                var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
                _ = try model.model.run(.tokens(prompt), options, keyValues: &cache)
            }.json
        case "decode":
            var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
            _ = try model.model.run(.tokens(try tokens(1, Self.prompt, model)), keyValues: &cache)
            let start = cache
            let timing = try Timing(seconds: seconds) {
                cache = start
                for step in 0..<Self.decoded {
                    _ = try model.model.run(.tokens(IntTensor(rows: [[(7919 * step + 13) % model.config.dVocab]])), keyValues: &cache)
                }
            }
            var result = timing.json
            result["tokens_per_s"] = .double(Double(Self.decoded) / timing.median)
            result["median_s"] = .double(timing.median / Double(Self.decoded))
            result["best_s"] = .double(timing.best / Double(Self.decoded))
            return result
        case "generate":
            let prompt = try tokens(1, Self.prompt, model)
            func generate(_ new: Int) throws { _ = try model.generate(tokens: prompt.rows, maxNewTokens: new, sampling: .greedy, stopAtEOS: false) }
            let whole = try Timing(seconds: seconds) { try generate(Self.new) }
            let first = try Timing(seconds: seconds / 2) { try generate(1) }
            var result = whole.json
            result["prefill_s"] = .double(first.median)
            result["tokens_per_s"] = .double(Double(Self.new) / whole.median)
            result["decode_tokens_per_s"] = .double(Double(Self.new - 1) / max(whole.median - first.median, 1e-9))
            return result
        default:
            throw ValidationError("unknown work '\(name)'")
        }
    }

    /// Logits of the dump's works must agree within `tolerance` of the largest.
    private func compare(_ model: HookedTransformer, with path: String) throws {
        let dump = try openTensors(at: path)
        for name in dump.names where name.hasSuffix(".tokens") {
            let work = name.dropLast(".tokens".count)
            let batch = try Tensor(stored: name, in: dump)
            // A peer that gives the last position alone is compared there.
            let peer = dump.names.contains(work + ".hf") ? ".hf" : ".last"
            let all = try model.logits(IntTensor(batch.array.map { Int($0) }, shape: batch.shape)).array
            let theirs = try Tensor(stored: work + peer, in: dump).array
            let ours = peer == ".last" ? Array(all.suffix(theirs.count)) : all
            let largest = theirs.map(abs).max() ?? 0
            let error = zip(ours, theirs).map { abs($0 - $1) }.max() ?? .nan
            guard ours.count == theirs.count, error <= tolerance * largest else {
                throw LensError(.usage, "logits differ from the dump's", at: String(work), expected: "within \(tolerance) of \(largest)", found: "\(error)")
            }
        }
    }
}
