// Patchscopes (Ghandeharioun et al., 2024): a hidden state of a source prompt, mapped, takes a place in a target prompt, and
// what the target model then says tells what the state holds. Here a grid of layer pairs is one batch: the source runs
// once, the target's prompt up to the patched place once, and every pair is a row that goes on from it over the key-value
// cache. The patch is made where its place is computed; later keys and values come from it, so nothing is patched again.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A prompt in a model, and the positions whose hidden states are taken or replaced.
public struct PatchscopePrompt: Sendable {
    public var model: Transformer
    public var tokens: [Int]
    /// Places in the prompt; negative from its end.
    public var positions: [Int]

    public init(_ model: Transformer, _ tokens: [Int], positions: [Int] = [-1]) {
        self.model = model
        self.tokens = tokens
        self.positions = positions
    }

    /// Positions counted from the beginning.
    func resolved(_ what: String) throws -> [Int] {
        guard !tokens.isEmpty, !positions.isEmpty else {
            throw LensError(.usage, "nothing to look at", at: "the \(what) prompt", expected: "at least one token and one position")
        }
        return try positions.map { position in
            let place = position < 0 ? position + tokens.count : position
            guard tokens.indices.contains(place) else {
                throw LensError(.usage, "no such position", at: "the \(what) prompt", expected: "\(-tokens.count)..<\(tokens.count)", found: "\(position)")
            }
            return place
        }
    }
}

/// A layer to take from and one to put into.
public struct PatchscopePair: Sendable, Hashable {
    public var sourceLayer: Int
    public var targetLayer: Int

    public init(_ sourceLayer: Int, _ targetLayer: Int) {
        self.sourceLayer = sourceLayer
        self.targetLayer = targetLayer
    }

    /// Every pair of these layers, source by source.
    public static func grid(_ sourceLayers: [Int], _ targetLayers: [Int]) -> [PatchscopePair] {
        sourceLayers.flatMap { source in targetLayers.map { PatchscopePair(source, $0) } }
    }
}

/// What a hidden state becomes on its way.
public enum PatchscopeMapping {
    case identity
    case affine(AffineMap)
    /// Any function of the states `[position, d_model of the source]` and the pair of layers; gives
    /// `[position, d_model of the target]`.
    case function((Tensor, PatchscopePair) throws -> Tensor)
}

/// What a pair of layers gave.
public struct PatchscopeCell: Sendable {
    public let pair: PatchscopePair
    /// New tokens after the target prompt.
    public let tokens: [Int]
    public let finishReason: FinishReason
    /// The target's logits at its last position: `[d_vocab_out]`.
    public let logits: Tensor
    /// The most likely next token.
    public let topToken: Int
    /// Its probability.
    public let topProbability: Double
}

/// A patchscope: whose hidden states go where, and how.
public struct Patchscope {
    public var source: PatchscopePrompt
    public var target: PatchscopePrompt
    public var mapping: PatchscopeMapping = .identity
    /// The activation taken, and the one replaced: `[batch, pos, d_model]` in a block.
    public var sourceSite: HookSite = .residPost
    public var targetSite: HookSite = .residPost
    /// Rows of one batch.
    public var batchSize = 64
    /// Whether rows go on over a key-value cache. Without, every step recomputes everything: the same tokens, slowly.
    public var usesKeyValueCache = true

    public init(source: PatchscopePrompt, target: PatchscopePrompt, mapping: PatchscopeMapping = .identity) {
        self.source = source
        self.target = target
        self.mapping = mapping
    }

    /// Runs every pair, as one batch (or as few as `batchSize` allows).
    ///
    /// - Parameters:
    ///   - pairs: layers; negative from the end. `PatchscopePair.grid` makes all of a grid; nil: every source layer into
    ///     every target layer.
    ///   - options: how to generate: `maxNewTokens` (0: only the next token's logits), sampling, tokens that end a row, and
    ///     further hooks.
    /// - Returns: a cell for each pair, in their order.
    /// - Throws: `LensError(.usage)` for layers, positions or sizes that do not fit.
    public func sweep(_ pairs: [PatchscopePair]? = nil, _ options: GenerationOptions = .init(maxNewTokens: 0, sampling: .greedy),
                      onCells: (Int) throws -> Void = { _ in }) throws -> [PatchscopeCell] {
        let pairs = try (pairs ?? PatchscopePair.grid(Array(0..<source.model.config.nLayers), Array(0..<target.model.config.nLayers))).map(resolved)
        guard batchSize >= 1 else { throw LensError(.usage, "batch size out of range", expected: "at least 1", found: "\(batchSize)") }
        let states = try sourceStates(Set(pairs.map(\.sourceLayer)))
        let places = try target.resolved("target")
        guard places.count == source.positions.count else {
            throw LensError(.usage, "positions of source and target do not pair", expected: "\(source.positions.count) in the target", found: "\(places.count)")
        }
        let prefix = try targetPrefix(before: places.min() ?? 0)
        var cells: [PatchscopeCell] = []
        for begin in stride(from: 0, to: pairs.count, by: batchSize) {
            let part = Array(pairs[begin..<min(begin + batchSize, pairs.count)])
            let mapped = try part.map { try map(states[$0.sourceLayer], $0, places.count) }
            cells += try run(part, mapped, places, prefix, options)
            try onCells(cells.count)
        }
        return cells
    }

    /// One pair.
    public func callAsFunction(_ sourceLayer: Int, _ targetLayer: Int,
                               _ options: GenerationOptions = .init(maxNewTokens: 0, sampling: .greedy)) throws -> PatchscopeCell {
        try sweep([PatchscopePair(sourceLayer, targetLayer)], options)[0]
    }

    // MARK: Parts

    private func resolved(_ pair: PatchscopePair) throws -> PatchscopePair {
        func layer(_ layer: Int, _ model: Transformer, _ what: String) throws -> Int {
            let resolved = layer < 0 ? layer + model.config.nLayers : layer
            guard (0..<model.config.nLayers).contains(resolved) else {
                throw LensError(.usage, "no such layer", at: "\(what) model", expected: "0..<\(model.config.nLayers)", found: "\(layer)")
            }
            return resolved
        }
        return PatchscopePair(try layer(pair.sourceLayer, source.model, "the source"), try layer(pair.targetLayer, target.model, "the target"))
    }

    /// The source's states in each layer: `[position, d_model]`. One run, no further than the last layer asked for.
    private func sourceStates(_ layers: Set<Int>) throws -> [Int: Tensor] {
        let places = try source.resolved("source"), last = layers.max() ?? 0
        let names = layers.sorted().map { HookPoint(sourceSite, layer: $0).name }
        let options = Transformer.Options(cache: .names(names), returnType: .none, stopAtLayer: min(last + 1, source.model.config.nLayers))
        let cache = try source.model.run(.tokens(IntTensor(rows: [source.tokens])), options).cache
        return try layers.reduce(into: [:]) { states, layer in
            let stream = try cache[HookPoint(sourceSite, layer: layer).name]
            guard stream.rank == 3 else {
                throw LensError(.usage, "not a hidden state", at: sourceSite.rawValue, expected: "an activation [batch, pos, d_model]", found: "\(stream.shape)")
            }
            states[layer] = try Tensor(joining: places.map { try stream.at(.at(0), .range($0..<$0 + 1)) }, axis: 0)
        }
    }

    private func map(_ states: Tensor?, _ pair: PatchscopePair, _ count: Int) throws -> Tensor {
        guard let states else { throw LensError(.usage, "no such layer", found: "\(pair.sourceLayer)") }  // unreachable: all were taken
        let mapped: Tensor
        switch mapping {
        case .identity: mapped = states
        case .affine(let map): mapped = try map(states)
        case .function(let function): mapped = try function(states, pair)
        }
        guard mapped.shape == [count, target.model.config.dModel] else {
            throw LensError(.usage, "a mapped state does not fit the target model", expected: "\([count, target.model.config.dModel])",
                            found: "\(mapped.shape)", advice: "models of different widths need an affine map or a function")
        }
        return mapped
    }

    /// The target's prompt up to the first patched place, which all rows share; nil if it begins there.
    private func targetPrefix(before place: Int) throws -> KeyValueCache? {
        guard usesKeyValueCache, place > 0 else { return nil }
        var keyValues: KeyValueCache? = KeyValueCache(for: target.model.config, batch: 1)
        _ = try target.model.run(.tokens(IntTensor(rows: [Array(target.tokens[..<place])])), .init(returnType: .none), keyValues: &keyValues)
        return keyValues
    }

    private func run(_ pairs: [PatchscopePair], _ mapped: [Tensor], _ places: [Int], _ prefix: KeyValueCache?,
                     _ options: GenerationOptions) throws -> [PatchscopeCell] {
        var options = options
        options.hooks = patches(pairs, mapped, places) + options.hooks
        options.usesKeyValueCache = usesKeyValueCache
        options.outputs.insert(.firstLogits)
        options.keyValues = try prefix?.selecting(rows: pairs.map { _ in 0 })
        // The next token's logits are those of a step, even where its token is not wanted.
        let wanted = options.maxNewTokens
        options.maxNewTokens = max(1, wanted)
        let rest = Array(target.tokens[(prefix?.count ?? 0)...])
        let result = try target.model.generate(.tokens(pairs.map { _ in rest }), options)
        guard let logits = result.logits else { throw LensError(.usage, "generation without logits") }  // unreachable: asked for
        return try pairs.indices.map { row in
            let own = try logits.at(.at(row), .at(0)).contiguous(), top = try own.argmax().array.first ?? 0
            let probability = try own.reshaped([1, own.count]).softmax().at(.at(0), .at(top)).item()
            return PatchscopeCell(pair: pairs[row], tokens: wanted == 0 ? [] : result.tokens[row],
                                  finishReason: wanted == 0 ? .length : result.finishReasons[row], logits: own, topToken: top,
                                  topProbability: Double(probability))
        }
    }

    /// A hook for each target layer and place: each of its rows gets its own state.
    private func patches(_ pairs: [PatchscopePair], _ mapped: [Tensor], _ places: [Int]) -> [Hook] {
        Set(pairs.map(\.targetLayer)).sorted().flatMap { layer in
            places.enumerated().map { index, place in
                let chosen = HookPosition.absolutePerRow(pairs.map { $0.targetLayer == layer ? place : nil })
                return Hook.edit(.names([HookPoint(targetSite, layer: layer).name]), at: chosen) { rows, at in
                    for (entry, place) in at.places.enumerated() { try rows.set(.at(entry), to: mapped[place.row].at(.at(index))) }
                }
            }
        }
    }
}
