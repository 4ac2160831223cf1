// `tlens run` on an encoder: what stands behind the masks, or, where nothing is masked, what the head makes of each position;
// and on an encoder-decoder: the decoder's next tokens.

import TransformerLens

extension Run {
    /// One pass of an encoder.
    func run(_ model: HookedEncoder, _ edits: [Edit]) throws {
        try refusePadding()
        guard !keepsGradients else { throw LensError(.usage, "an encoder has no loss to go back from", at: "--grad") }
        let batch = try model.toTokens(input.given(), addSpecialTokens: input.addsSpecialTokens, truncate: false)
        let result = try model.run(batch, .init(hooks: editing.hooks(edits, model), cache: .names(filters)))
        if let out { try saveRun(tokens: batch.tokens, logits: result.logits, cache: result.cache, to: out) }
        let reports = try batch.tokens.rows.indices.map { try EncoderReport(batch, row: $0, result.logits, top: top, model) }
        if output.json { return try printJSON(json(reports.map(\.json), result.cache, edits)) }
        for (index, report) in reports.enumerated() {
            if index > 0 { try say("") }
            if reports.count > 1 { try say("row \(index): \(report.tokens.count) tokens") }
            try say(report.text)
        }
        try printActivations(result.cache, result.logits == nil ? "tokens" : "tokens, logits")
    }

    /// One pass of an encoder-decoder.
    func run(_ model: HookedEncoderDecoder, _ edits: [Edit]) throws {
        try refusePadding()
        let given = try model.rows(input.given(), addSpecialTokens: input.addsSpecialTokens)
        let rows = try decoder.rows(model, count: given.count)
        var run = Transformer.Options(hooks: try editing.hooks(edits, model), cache: .names(filters))
        if rows.contains(where: { $0.count > 1 }) {
            run.returnType = .both
            run.lossPerToken = true
        }
        let result = try pass(run, rows) { try model.run(given, decoderInput: rows, run) }
            backward: { try model.runWithGradients(given, decoderInput: rows, $0, of: $1) }
        guard let logits = result.logits else { return }
        if let out { try saveRun(tokens: model.padded(given).tokens, decoderTokens: model.padded(rows).tokens, logits: logits, cache: result.cache, to: out) }
        let reports = try rows.indices.map { try RowReport(rows[$0], row: $0, logits, result.loss, .right, top: top, model) }
        let jsons = zip(reports, given).map { report, tokens -> JSON in
            guard case .object(var fields) = report.json else { return report.json }
            fields["encoder_tokens"] = .array(tokens.map(JSON.int))
            return .object(fields)
        }
        try output.json ? printJSON(json(jsons, result.cache, edits)) : printText(reports, result.cache)
    }

    /// Rows are filled up on the right, as these models were trained.
    private func refusePadding() throws {
        guard input.side == .right else { throw LensError(.usage, "this model's rows are padded on the right", found: "--padding-side left") }
    }
}

/// What an encoder makes of one row.
struct EncoderReport {
    let tokens: [Int]
    private let strings: [String]
    private let types: [Int]
    /// Candidates at each masked position; at every position, where none is masked.
    private let places: [(position: Int, candidates: [RowReport.Candidate])]
    private let isMasked: Bool
    private let hasHead: Bool

    init(_ batch: EncoderTokens, row: Int, _ logits: Tensor?, top: Int, _ model: HookedEncoder) throws {
        let length = batch.attentionMask.rows[row].count { $0 == 1 }
        let tokens = Array(batch.tokens.rows[row].prefix(length))
        self.tokens = tokens
        types = Array(batch.tokenTypeIds.rows[row].prefix(length))
        strings = model.tokenizer == nil ? tokens.map(String.init) : try model.toStrTokens(tokens)
        let mask = try? model.maskToken
        let masked = tokens.indices.filter { tokens[$0] == mask }
        isMasked = !masked.isEmpty
        hasHead = logits != nil
        places = try logits.map { logits in
            try (masked.isEmpty ? Array(tokens.indices) : masked).map { place in
                (place, try RowReport.Candidate.best(masked.isEmpty ? 1 : top, of: logits.at(.at(row), .at(place)), model))
            }
        } ?? []
    }

    var text: String {
        if isMasked, hasHead {
            return places.map { place in
                (places.count > 1 ? "mask at position \(place.position)\n" : "") + RowReport.Candidate.table(place.candidates)
            }.joined(separator: "\n\n")
        }
        var table = TextTable(["#position", "#id", "token"] + (hasHead ? ["#id there", "likeliest", "#probability"] : []))
        for position in tokens.indices {
            var cells = ["\(position)", "\(tokens[position])", quoted(strings[position])]
            if hasHead, let best = places[position].candidates.first {
                cells += ["\(best.id)", quoted(best.text), fixed(100 * best.probability, 2) + " %"]
            }
            table.add(cells)
        }
        return table.text
    }

    var json: JSON {
        let found = places.map { place -> JSON in ["position": .int(place.position), "candidates": .array(place.candidates.map(\.json))] }
        return ["tokens": .array(tokens.map(JSON.int)), "token_type_ids": .array(types.map(JSON.int)),
                isMasked ? "masks" : "positions": .array(found)]
    }
}
