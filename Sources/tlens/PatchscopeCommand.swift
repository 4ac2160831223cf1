// `tlens patchscope`: hidden states of one prompt put into another, for every pair of layers at once.

import ArgumentParser
import TransformerLens

struct PatchscopeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "patchscope",
        abstract: "Put hidden states of one prompt into another, and see what comes out.",
        usage: "tlens patchscope <model> --source <text> --target <text> [<options>]",
        discussion: """
            Patchscopes (Ghandeharioun et al., 2024): the residual stream after a source layer, at a source position, goes \
            in after a target layer at a target position; all pairs of layers run as one batch. Layers and positions count \
            from 0, negative from the end. --preset or --relation give a target in place of --target. Presets: \(Patchscope.Preset.allCases.map(\.rawValue).joined(separator: ", ")).
            """)

    @OptionGroup var options: ModelOptions

    @Option(parsing: .unconditional, help: ArgumentHelp("The prompt whose states are taken.", valueName: "text"))
    var source: String

    @Option(parsing: .unconditional, help: ArgumentHelp("Where in it; negative from its end.", valueName: "i"))
    var sourcePosition = -1

    @Option(parsing: .unconditional, help: ArgumentHelp("The prompt they are put into.", valueName: "text"))
    var target: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Where in it. (default: -1; presets know)", valueName: "i"))
    var targetPosition: Int?

    @Option(help: ArgumentHelp("A target of the paper.", valueName: "name"))
    var preset: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("A relation to ask for, as \"The capital of\".", valueName: "text"))
    var relation: String?

    @Option(help: ArgumentHelp("Layers to take from: all, or 0,2,-1.", valueName: "list"))
    var sourceLayers = "all"

    @Option(help: ArgumentHelp("Layers to put into: all, or 0,2,-1.", valueName: "list"))
    var targetLayers = "all"

    @Option(help: ArgumentHelp("Another model for the target.", valueName: "model"))
    var targetModel: String?

    @Option(help: ArgumentHelp("An affine map: a file with weight [in, out] and bias [out].", valueName: "file"))
    var affine: String?

    @Option(help: ArgumentHelp("Tokens to generate; 0 shows the top next token.", valueName: "n"))
    var maxNewTokens = 10

    @Option(help: ArgumentHelp("Pairs in one batch.", valueName: "n"))
    var batchSize = 64

    @OptionGroup var bos: BOSOptions

    @Option(help: ArgumentHelp("Write layers, tokens and logits of every pair: a .safetensors file.", valueName: "file"))
    var out: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard [target, preset, relation].count(where: { $0 != nil }) == 1 else { throw ValidationError("give one of --target, --preset and --relation") }
        if let preset, Patchscope.Preset(rawValue: preset) == nil {
            throw ValidationError("--preset takes \(Patchscope.Preset.allCases.map(\.rawValue).joined(separator: " or ")), not '\(preset)'")
        }
        guard maxNewTokens >= 0 else { throw ValidationError("--max-new-tokens takes a number from 0, not \(maxNewTokens)") }
        guard batchSize >= 1 else { throw ValidationError("--batch-size takes a number from 1, not \(batchSize)") }
        if let out, !out.hasSuffix(".safetensors") { throw ValidationError("--out takes a name ending in .safetensors, not '\(out)'") }
        for list in [sourceLayers, targetLayers] where list != "all" { _ = try layerList(list) }
    }

    func run() throws {
        let model = try options.load(output)
        let other = try targetModel.map { name in
            var others = options
            others.model = name
            return try others.load(output)
        } ?? model
        var prompt = try targetPrompt(other)
        if let targetPosition { prompt.positions = [targetPosition] }
        var scope = Patchscope(source: PatchscopePrompt(model.model, try tokens(source, model), positions: [sourcePosition]), target: prompt)
        if let affine { scope.mapping = .affine(try AffineMap(contentsOf: affine)) }
        scope.batchSize = batchSize
        let from = try sourceLayers == "all" ? Array(0..<model.config.nLayers) : layerList(sourceLayers)
        let to = try targetLayers == "all" ? Array(0..<other.config.nLayers) : layerList(targetLayers)
        let progress = Progress(output)
        defer { progress.clear() }
        let cells = try scope.sweep(PatchscopePair.grid(from, to), GenerationOptions(maxNewTokens: maxNewTokens, sampling: .greedy, eosTokens: other.eosTokens)) { done in
            progress.show("\(done) of \(from.count * to.count) pairs")
        }
        progress.clear()
        if let out { try save(cells, scope, to: out) }
        try output.json ? printJSON(json(cells, scope, other)) : show(cells, to.count, other)
    }

    private func tokens(_ text: String, _ model: HookedTransformer) throws -> [Int] {
        try model.toTokens(text, prependBOS: bos.choice, truncate: false).array
    }

    private func targetPrompt(_ model: HookedTransformer) throws -> PatchscopePrompt {
        if let target { return PatchscopePrompt(model.model, try tokens(target, model)) }
        guard let tokenizer = model.tokenizer else { throw LensError(.usage, "the target model has no tokenizer") }
        if let relation { return try Patchscope.target(relation: relation, model.model, tokenizer) { try tokens($0, model) } }
        guard let chosen = preset.flatMap(Patchscope.Preset.init) else { throw LensError(.usage, "no target") }  // unreachable: validated
        return try Patchscope.target(chosen, model.model, tokenizer) { try tokens($0, model) }
    }

    /// What a pair said.
    private func said(_ cell: PatchscopeCell, _ model: HookedTransformer) throws -> String {
        let tokens = maxNewTokens == 0 ? [cell.topToken].filter { $0 < model.config.dVocab } : cell.tokens
        return try model.decoded(tokens)
    }

    private func show(_ cells: [PatchscopeCell], _ columns: Int, _ model: HookedTransformer) throws {
        var table = TextTable(["#source \\ target"] + cells.prefix(columns).map { "\($0.pair.targetLayer)" })
        for row in stride(from: 0, to: cells.count, by: max(1, columns)) {
            let line = cells[row..<min(row + columns, cells.count)]
            table.add(["\(cells[row].pair.sourceLayer)"] + (try line.map { quoted(try said($0, model)) }))
        }
        try say(table.text)
        if let out { try say("\nwrote \(out): \(cells.count) pairs") }
    }

    private func json(_ cells: [PatchscopeCell], _ scope: Patchscope, _ model: HookedTransformer) throws -> JSON {
        func prompt(_ prompt: PatchscopePrompt) -> JSON {
            ["tokens": .array(prompt.tokens.map(JSON.int)), "position": .int(prompt.positions[0] < 0 ? prompt.positions[0] + prompt.tokens.count : prompt.positions[0])]
        }
        return ["source": prompt(scope.source), "target": prompt(scope.target), "cells": .array(try cells.map { cell in
            ["source_layer": .int(cell.pair.sourceLayer), "target_layer": .int(cell.pair.targetLayer), "text": .string(try said(cell, model)),
             "tokens": .array(cell.tokens.map(JSON.int)), "finish_reason": .string(cell.finishReason.rawValue),
             "top_token": ["id": .int(cell.topToken), "token": .string(cell.topToken < model.config.dVocab ? try model.decoded([cell.topToken]) : ""),
                           "probability": .double(cell.topProbability)]]
        }), "out": out.map(JSON.string) ?? .null]
    }

    /// `pairs` [cell, 2], `logits` [cell, d_vocab_out], `tokens` [cell, new] with -1 after a row's end.
    private func save(_ cells: [PatchscopeCell], _ scope: Patchscope, to path: String) throws {
        let longest = cells.map(\.tokens.count).max() ?? 0
        try SafetensorsWriter.write([
            TensorContent("pairs", shape: [cells.count, 2], cells.flatMap { [Int64($0.pair.sourceLayer), Int64($0.pair.targetLayer)] }),
            TensorContent("logits", shape: [cells.count, cells.first?.logits.count ?? 0], cells.flatMap(\.logits.array)),
            TensorContent("tokens", shape: [cells.count, longest], cells.flatMap { cell in
                cell.tokens.map(Int64.init) + Array(repeating: -1, count: longest - cell.tokens.count)
            }),
            TensorContent("source_tokens", shape: [scope.source.tokens.count], scope.source.tokens.map(Int64.init)),
            TensorContent("target_tokens", shape: [scope.target.tokens.count], scope.target.tokens.map(Int64.init)),
        ], to: path)
    }
}

/// `0,2,-1` as numbers.
func layerList(_ text: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let layer = Int(part) else { throw ValidationError("layers are numbers with commas between, as 0,2,-1, or all; found '\(part)'") }
        return layer
    }
}
