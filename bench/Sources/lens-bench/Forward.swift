// Whole passes over a model folder: the works of bench/python/forward.py, under the same names, on the same tokens.

import ArgumentParser
import TransformerLens

struct Forward: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time forward passes, cached runs and generation of a model folder.")

    @Argument(help: "A model folder.")
    var folder: String

    @Option(help: "Works to time; repeatable. Default: all that fit the context.")
    var work: [String] = []

    @Option var threads = 2
    @Option(help: "Seconds for each work.")
    var seconds = 5.0

    @Option(help: "A dump of bench/python/forward.py: logits are checked against it first.")
    var check: String?

    private static let shapes: [(name: String, batch: Int, pos: Int)] = [("1x16", 1, 16), ("1x128", 1, 128), ("8x128", 8, 128), ("1x1024", 1, 1024)]
    private static let prompt = 16, new = 32

    func run() throws {
        Kernels.threads = threads
        let start = ContinuousClock.now
        let model = try HookedTransformer(folder: folder, processing: .none)
        let loading = Timing.since(start)
        if let check { try compare(model, with: check) }
        let names = work.isEmpty ? Self.shapes.filter { $0.pos <= model.config.nCtx }.map(\.name) + ["cache-1x128", "generate"] : work
        let results = try names.map { name -> JSON in
            var result = try measure(model, name)
            result["who"] = "lens"
            result["work"] = .string(name)
            return .object(result)
        }
        let report: JSON = ["instruction_set": .string(try Kernels.instructionSet()), "threads": .int(threads), "load_s": .double(loading),
                            "results": .array(results)]
        print(try report.text(pretty: true))
    }

    private func tokens(_ batch: Int, _ pos: Int, _ model: HookedTransformer) throws -> IntTensor {
        try IntTensor((0..<batch * pos).map { (7919 * $0 + 13) % model.config.dVocab }, shape: [batch, pos])
    }

    private func measure(_ model: HookedTransformer, _ name: String) throws -> JSONObject {
        if let shape = Self.shapes.first(where: { $0.name == name }) {
            let batch = try tokens(shape.batch, shape.pos, model)
            return try Timing(seconds: seconds) { _ = try model.logits(batch) }.json
        }
        switch name {
        case "cache-1x128":
            let batch = try tokens(1, 128, model)
            return try Timing(seconds: seconds) { _ = try model.runWithCache(batch) }.json
        case "cache-one-1x128":
            let batch = try tokens(1, 128, model)
            return try Timing(seconds: seconds) { _ = try model.runWithCache(batch, namesFilter: "resid_post5") }.json
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

    /// Logits of the dump's works must agree within 2e-5 of the largest.
    private func compare(_ model: HookedTransformer, with path: String) throws {
        let dump = try openTensors(at: path)
        for name in dump.names where name.hasSuffix(".tokens") {
            let work = name.dropLast(".tokens".count)
            let batch = try Tensor(stored: name, in: dump)
            let ours = try model.logits(IntTensor(batch.array.map { Int($0) }, shape: batch.shape)).array
            let theirs = try Tensor(stored: work + ".hf", in: dump).array
            let largest = theirs.map(abs).max() ?? 0
            let error = zip(ours, theirs).map { abs($0 - $1) }.max() ?? .nan
            guard ours.count == theirs.count, error <= 2e-5 * largest else {
                throw LensError(.usage, "logits differ from the dump's", at: String(work), expected: "within 2e-5 of \(largest)", found: "\(error)")
            }
        }
    }
}
