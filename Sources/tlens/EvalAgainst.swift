// `tlens eval --against`: how far a model in another format is from the same one in float32, layer by layer.

import ArgumentParser
import TransformerLens

extension Eval {
    /// The model that `--against` names in float32, loaded as the evaluated one was.
    private func exact(_ name: String, like model: HookedTransformer) throws -> HookedTransformer {
        var options = options
        options.model = name
        (options.dtype, options.activations) = (WeightFormat.float32.rawValue, .float32)
        // Weights that came in quantised blocks were not rewritten, so these are not.
        if model.processing.done.isEmpty { options.processing = "none" }
        return try options.load(output)
    }

    /// The comparison, on the text files, or else on the text of `sanity_check`.
    func formatError(_ model: HookedTransformer, against name: String) throws -> FormatError {
        let exact = try exact(name, like: model), length = min(length ?? 1024, model.config.nCtx)
        var rows: [[Int]] = textFiles.isEmpty ? [try model.toTokens(Evals.sanityCheckText, prependBOS: bos.choice, truncate: true).array] : []
        var readers = try textFiles.map { path in
            guard let tokenizer = model.tokenizer else { throw LensError(.usage, "this model has no tokenizer") }
            return try TokenRows(file: path, tokenizer: tokenizer, length: length, bos: model.bosToken(bos.choice))
        }
        rows.reverse()
        let meter = ProgressMeter("rows compared", output)
        defer { meter.finish() }
        return try Evals.formatError(of: model.model, against: exact.model, most: self.rows, progress: { meter.advance(to: $0, of: 0) }) {
            if let row = rows.popLast() { return row }
            while !readers.isEmpty {
                if let row = try readers[0].next() { return row }
                readers.removeFirst()
            }
            return nil
        }
    }
}

extension FormatError {
    var json: JSON {
        [
            "divergence": .double(divergence), "agreement": .double(agreement), "positions": .int(positions),
            "matrices": .array(matrices.map {
                ["name": .string($0.name), "format": .string($0.format.rawValue), "activations": .string($0.activations.rawValue),
                 "relative_error": .double($0.relativeError)]
            }),
            "streams": .array(streams.map { ["name": .string($0.name), "relative_error": .double($0.relativeError)] }),
        ]
    }

    /// A line a layer: the error of each kind of matrix in it, and of the stream that leaves it.
    var text: String {
        var kinds: [String] = [], layers: [String: [String: [Double]]] = [:], others: [Matrix] = []
        for matrix in matrices {
            let parts = matrix.name.split(separator: ".").map(String.init)
            guard parts.count > 2, parts[0] == "blocks" else {
                others.append(matrix)
                continue
            }
            // Experts share a column: their errors' root mean square stands for them.
            let kind = parts[2...].filter { Int($0) == nil && !["attn", "mlp", "weight"].contains($0) }.joined(separator: ".")
            if !kinds.contains(kind) { kinds.append(kind) }
            layers[parts[1], default: [:]][kind, default: []].append(matrix.relativeError)
        }
        var table = TextTable(["layer"] + kinds.map { "#" + $0 } + ["#resid_post"])
        for stream in streams {
            let parts = stream.name.split(separator: ".").map(String.init), isEntry = stream.name.hasSuffix("resid_pre")
            let errors = isEntry ? [:] : layers[parts[1]] ?? [:]
            table.add([isEntry ? "embed" : parts[1]] + kinds.map { kind in
                errors[kind].map { percent(($0.reduce(0) { $0 + $1 * $1 } / Double($0.count)).squareRoot()) } ?? ""
            } + [percent(stream.relativeError)])
        }
        var rest = TextTable(["matrix", "format", "#error"])
        for matrix in others { rest.add([matrix.name, matrix.format.rawValue, percent(matrix.relativeError)]) }
        return table.text + "\n\n" + rest.text + "\n\nErrors are root mean squares, of the exact values' own: of weights, and of the residual stream after each block."
    }

    private func percent(_ share: Double) -> String { fixed(100 * share, 3) + " %" }
}
