// `tlens run`: one forward pass; next-token tables, loss, and a file with every activation that was asked for.

import ArgumentParser
import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "One forward pass: next tokens, loss, and activations to a file.",
        usage: "tlens run <model> --prompt <text> [--cache <filter>] [<options>]",
        discussion: """
            FILTER names activations: a full name (blocks.3.hook_resid_post), a shorthand (pattern, resid_pre5), a glob \
            (blocks.*.hook_z) or all. `tlens info MODEL` lists the names.

            \(editHelp)
            """)

    @OptionGroup var options: ModelOptions
    @OptionGroup var input: InputOptions
    @OptionGroup var decoder: DecoderOptions

    @Option(name: .customLong("cache"), help: ArgumentHelp("Activations to keep. Repeatable.", valueName: "filter"))
    var filters: [String] = []

    @Flag(name: .customLong("grad"), help: "Keep the gradient of the loss (the mean over all tokens) at each kept activation too, as NAME_grad.")
    var keepsGradients = false

    @OptionGroup var editing: EditOptions

    @Option(help: ArgumentHelp("Write tokens, logits and the kept activations: a .safetensors or .npz file.", valueName: "file"))
    var out: String?

    @Option(help: ArgumentHelp("Next tokens to show.", valueName: "n"))
    var top = 10

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let out, !out.hasSuffix(".safetensors"), !out.hasSuffix(".npz") {
            throw ValidationError("--out takes a name ending in .safetensors or .npz, not '\(out)'")
        }
        guard !keepsGradients || !filters.isEmpty else { throw ValidationError("--grad is about the activations that --cache keeps: name some") }
        guard top >= 1 else { throw ValidationError("--top takes a number from 1, not \(top)") }
    }

    func run() throws {
        let edits = try editing.edits()
        switch try options.open(output) {
        case .decoder(let model):
            try decoder.refuse(for: "a decoder")
            try run(model, edits)
        case .encoder(let model):
            try decoder.refuse(for: "an encoder")
            try run(model, edits)
        case .encoderDecoder(let model): try run(model, edits)
        }
    }

    private func run(_ model: HookedTransformer, _ edits: [Edit]) throws {
        let rows = try input.rows(model)
        var run = Transformer.Options(hooks: try editing.hooks(edits, model, input.bos), cache: .names(filters), returnType: .logits)
        let hasLoss = rows.contains { $0.count > 1 } && model.config.dVocabOut == model.config.dVocab
        if hasLoss {
            run.returnType = .both
            run.lossPerToken = true
        }
        let result = try pass(run, rows) { try model.run(rows, run, paddingSide: input.side) }
            backward: { try model.runWithGradients(rows, $0, paddingSide: input.side, of: $1) }
        guard let logits = result.logits else { return }
        let tokens = try model.toTokens(rows, paddingSide: input.side, truncate: false)
        if let out { try saveRun(tokens: tokens, logits: logits, cache: result.cache, to: out) }
        let reports = try rows.indices.map { try RowReport(rows[$0], row: $0, logits, result.loss, input.side, top: top, model) }
        try output.json ? printJSON(json(reports.map(\.json), result.cache, edits)) : printText(reports, result.cache)
    }

    /// A pass over rows of tokens, or one there and back: the cache then holds gradients of the loss too.
    func pass(_ options: Transformer.Options, _ rows: [[Int]], forward: () throws -> Transformer.Output,
              backward: (Transformer.Options, Metric) throws -> Gradients) throws -> Transformer.Output {
        guard keepsGradients else { return try forward() }
        guard options.returnType == .both else {
            throw LensError(.usage, "no loss to go back from", at: "--grad", expected: "a row of two tokens or more, of a model that predicts its own tokens")
        }
        var options = options
        options.gradients = options.cache
        let pairs = rows.reduce(0) { $0 + max(0, $1.count - 1) }
        let found = try backward(options) { output in
            guard let losses = output.loss else { throw LensError(.usage, "no loss to go back from", at: "--grad") } // unreachable: it was asked for
            return try losses.sum() / Tensor(Float(pairs))
        }
        var output = found.output
        output.cache = found.cache
        return output
    }

    func printText(_ reports: [RowReport], _ cache: ActivationCache) throws {
        for (index, report) in reports.enumerated() {
            if index > 0 { try say("") }
            if reports.count > 1 { try say("row \(index): \(report.tokens.count) tokens") }
            try say(report.table)
            if let loss = report.loss { try say("loss: \(fixed(loss, 4)) nats per token") }
        }
        try printActivations(cache, "tokens, logits")
    }

    /// What was kept, or where it went.
    func printActivations(_ cache: ActivationCache, _ others: String) throws {
        if !cache.isEmpty, out == nil {
            var table = TextTable(["activation", "shape"])
            for (name, activation) in cache.entries { table.add([name, "\(activation.shape)"]) }
            try say("\n" + table.text)
        }
        if let out { try say("\nwrote \(out): \(others), \(cache.count) activation\(cache.count == 1 ? "" : "s")") }
    }

    func json(_ rows: [JSON], _ cache: ActivationCache, _ edits: [Edit]) -> JSON {
        ["rows": .array(rows),
         "activations": .array(cache.entries.map { ["name": .string($0.name), "shape": .array($0.activation.shape.map(JSON.int))] }),
         "out": out.map(JSON.string) ?? .null, "edits": .array(edits.map(\.json))]
    }
}

/// What one row of a run predicts.
struct RowReport {
    struct Candidate {
        let id: Int
        let text: String
        let logit: Double
        let probability: Double

        /// The likeliest of `logits: [d_vocab]`.
        static func best(_ count: Int, of logits: Tensor, _ model: any HookedModel) throws -> [Candidate] {
            let values = logits.array
            let logProbabilities = try logits.contiguous().reshaped([1, values.count]).logSoftmax().array
            return try values.indices.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(count).map { id in
                let text = id < model.config.dVocab && model.tokenizer != nil ? try model.decoded([id]) : ""
                return Candidate(id: id, text: text, logit: Double(values[id]), probability: exp(Double(logProbabilities[id])))
            }
        }

        /// A table of them.
        static func table(_ candidates: [Candidate]) -> String {
            var table = TextTable(["#rank", "#id", "token", "#logit", "#probability"])
            for (rank, candidate) in candidates.enumerated() {
                table.add(["\(rank)", "\(candidate.id)", quoted(candidate.text), fixed(candidate.logit, 3), fixed(100 * candidate.probability, 2) + " %"])
            }
            return table.text
        }

        var json: JSON { ["id": .int(id), "token": .string(text), "logit": .double(logit), "probability": .double(probability)] }
    }

    let tokens: [Int]
    let next: [Candidate]
    /// Mean next-token cross-entropy in nats.
    let loss: Double?

    /// - Parameter losses: `[batch, pos - 1]`
    init(_ tokens: [Int], row: Int, _ logits: Tensor, _ losses: Tensor?, _ side: PaddingSide, top: Int, _ model: any HookedModel) throws {
        self.tokens = tokens
        let length = logits.shape[1], last = side == .left ? length - 1 : tokens.count - 1
        next = try Candidate.best(top, of: logits.at(.at(row), .at(last)), model)
        let begin = side == .left ? length - tokens.count : 0
        loss = tokens.count < 2 ? nil : try losses.map { losses in
            let row = try losses.at(.at(row), .range(begin..<begin + tokens.count - 1)).array
            return row.reduce(0.0) { $0 + Double($1) } / Double(row.count)
        }
    }

    var table: String { Candidate.table(next) }

    var json: JSON {
        ["tokens": .array(tokens.map(JSON.int)), "loss": loss.map(JSON.double) ?? .null,
         "next": .array(next.map(\.json))]
    }
}
