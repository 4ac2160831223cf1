// Path patching (Wang et al. 2022, Goldowsky-Dill et al. 2023): only what goes from a sender straight to a receiver is as in
// the other run, or what goes there through MLPs too. The receiver reads its residual stream with that change added; all else
// stays as it was.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension Patching {
    /// One run for each path: receivers read what its senders write in `cache`'s run.
    ///
    /// What a sender would have sent is the change of the residual stream when it alone is patched, so a norm after attention
    /// is gone through too. In grouped models, receiving keys and values belong to one query head: the others of its group
    /// keep theirs. From the receivers on everything is computed anew, so a receiver also sees what those of earlier layers
    /// made of theirs.
    /// - Parameters:
    ///   - tokens: the run that is patched, `[batch, pos]`.
    ///   - cache: the other run's, with the senders' activations (`z` for heads).
    ///   - recomputing: which components between pass on what reaches them: none, so that only the direct path counts, or
    ///     `.mlps`, as Wang et al. have it. A path's senders are then patched together.
    ///   - positions: where receivers see the change.
    /// - Returns: a result for each metric; `values` are `[path]` (`[path, batch]`).
    /// - Throws: `LensError(.usage)` for ends that the model has not or no path joins, `(.name)` for activations missing in the
    ///   cache, `(.shape)` for ones that do not fit; what metrics throw.
    public static func pathPatch(_ model: Transformer, tokens: IntTensor, cache: ActivationCache, metrics: [PatchingMetric], paths: [Path],
                                 method: PathMethod = .exact, recomputing: PathComponents = [], positions: TensorIndex = .all,
                                 options: PatchingOptions = PatchingOptions()) throws -> [PatchingResult] {
        for path in paths { try path.check(model.config) }
        let reachesKeys = paths.contains { $0.receivers.contains { if case .head(_, _, let input) = $0 { input != .q } else { false } } }
        let model = reachesKeys ? try model.ungroupingQueryAttention() : model
        let runs = try PatchingRuns(model, tokens, options)
        let norms = method == .frozenNorm ? try FrozenNorms(model, tokens, options) : nil
        let changes = recomputing.isEmpty ? try directChanges(along: paths, model, tokens, cache, options)
            : try recomputedChanges(along: paths, RecomputedPaths(model, tokens, cache, recomputing, options))
        let cells = try zip(paths, changes).map { path, change in
            PatchingCell(edits: try path.receivers.map { try edit($0, change($0), model, norms, positions) })
        }
        return try collect(runs, cells, metrics, indices: paths.indices.map { [$0] }, shape: [paths.count], axisNames: ["path"])
    }

    /// From one head to each head of later layers: `[n_layers, n_heads]`, 0 where no path leads (TransformerLens'
    /// `get_act_patch_direct_path`, which is `method: .frozenNorm` on a folded model).
    public static func getActPatchDirectPath(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache, sourceLayer: Int, sourceHead: Int,
                                             component: HeadInput = .q, method: PathMethod = .exact, recomputing: PathComponents = [],
                                             options: PatchingOptions = PatchingOptions(), _ metric: @escaping Metric) throws -> Tensor {
        let config = model.config
        let ends = product([config.nLayers, config.nHeads]).filter { $0[0] > sourceLayer }
        let paths = ends.map { Path(from: [.head(layer: sourceLayer, head: sourceHead)], to: [.head(layer: $0[0], head: $0[1], input: component)]) }
        // A source in the last layer has no paths, but must be one.
        try Path(from: [.head(layer: sourceLayer, head: sourceHead)], to: []).check(config)
        var values = [Float](repeating: 0, count: config.nLayers * config.nHeads)
        if !paths.isEmpty {
            let found = try pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: paths, method: method, recomputing: recomputing,
                                      options: options)
            for (end, value) in zip(ends, found[0].values.array) { values[end[0] * config.nHeads + end[1]] = value }
        }
        return try Tensor(values, shape: [config.nLayers, config.nHeads])
    }

    /// From every head to each head of later layers: `[n_layers, n_heads, n_layers, n_heads]`, senders first.
    public static func getActPatchDirectPathAllSources(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                                       component: HeadInput = .q, method: PathMethod = .exact, recomputing: PathComponents = [],
                                                       options: PatchingOptions = PatchingOptions(), _ metric: @escaping Metric) throws -> Tensor {
        let heads = product([model.config.nLayers, model.config.nHeads])
        var values: [Float] = []
        for source in heads {
            values += try getActPatchDirectPath(model, tokens, cache, sourceLayer: source[0], sourceHead: source[1], component: component,
                                                method: method, recomputing: recomputing, options: options, metric).array
        }
        let shape = [model.config.nLayers, model.config.nHeads]
        return try Tensor(values, shape: shape + shape)
    }

    /// From every head to the same receivers: `[n_layers, n_heads]`, 0 where no path leads to all of them.
    public static func getPathPatchHeadsTo(_ receivers: [PathReceiver], _ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                           recomputing: PathComponents = [],
                                           options: PatchingOptions = PatchingOptions(), _ metric: @escaping Metric) throws -> Tensor {
        let config = model.config
        try Path(from: [], to: receivers).check(config)
        let first = receivers.map { if case .head(let layer, _, _) = $0 { layer } else { config.nLayers } }.min() ?? config.nLayers
        let starts = product([config.nLayers, config.nHeads]).filter { $0[0] < first }
        var values = [Float](repeating: 0, count: config.nLayers * config.nHeads)
        if !starts.isEmpty {
            let paths = starts.map { Path(from: [.head(layer: $0[0], head: $0[1])], to: receivers) }
            let found = try pathPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], paths: paths, recomputing: recomputing,
                                      options: options)
            for (start, value) in zip(starts, found[0].values.array) { values[start[0] * config.nHeads + start[1]] = value }
        }
        return try Tensor(values, shape: [config.nLayers, config.nHeads])
    }

    // MARK: Senders

    /// The change that a receiver sees.
    private typealias Change = (PathReceiver) throws -> Tensor

    /// For each path, what its senders alone change.
    private static func directChanges(along paths: [Path], _ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                                      _ options: PatchingOptions) throws -> [Change] {
        var sent: [PathSender: Tensor] = [:]
        for sender in Set(paths.flatMap(\.senders)) { sent[sender] = try change(of: sender, model, tokens, cache, options) }
        return try paths.map { path in
            let changes = path.senders.compactMap { sent[$0] }
            guard var change = changes.first else { throw LensError(.usage, "a path without a sender") }
            for other in changes.dropFirst() { change = try change + other }
            let sum = change
            return { _ in sum }
        }
    }

    /// For each path, what reaches its receivers through what is recomputed as well.
    private static func recomputedChanges(along paths: [Path], _ runs: RecomputedPaths) throws -> [Change] {
        try paths.map { path in
            guard !path.senders.isEmpty else { throw LensError(.usage, "a path without a sender") }
            let changes = try runs.changes(along: path)
            return { receiver in
                let layer = if case .head(let layer, _, _) = receiver { layer } else { changes.keys.max() ?? 0 }
                guard let change = changes[layer] else { throw LensError(.usage, "no such receiver", found: "\(receiver)") }  // unreachable: of the path
                return change
            }
        }
    }

    /// The change of the residual stream when the sender alone is as in `cache`: `[batch, pos, d_model]`.
    private static func change(of sender: PathSender, _ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache,
                               _ options: PatchingOptions) throws -> Tensor {
        let (site, layer, head) = sender.site
        let name = site.name(layer: layer), clean = try cache[name]
        // A head's change is seen in what its attention layer adds; the others are what is added.
        let seen = head == nil ? name : HookSite.attnOut.name(layer: layer)
        func run(_ hooks: [Hook]) throws -> Tensor {
            var run = Transformer.Options(hooks: hooks, cache: .names([seen]), returnType: .none, stopAtLayer: (layer ?? 0) + 1)
            run.attentionMask = options.attentionMask
            return try model.run(.tokens(tokens), run).cache[seen]
        }
        let before = try run([])
        guard let head else { return try clean - before }
        let after = try run([.edit(.names([name])) { z, _ in try z.assign(clean.view([.all, .all, .at(head)]), at: [.all, .all, .at(head)]) }])
        return try after - before
    }

    // MARK: Receivers

    private static func edit(_ receiver: PathReceiver, _ change: Tensor, _ model: Transformer, _ norms: FrozenNorms?,
                             _ positions: TensorIndex) throws -> (name: String, edit: PatchingCell.Edit) {
        // A single position keeps its axis.
        var positions = positions
        if case .at(let position) = positions { positions = .span(position, position == -1 ? nil : position &+ 1) }
        let change = try change.at(.all, positions)
        func adding(_ change: Tensor, _ places: [TensorIndex]) -> PatchingCell.Edit {
            { tensor, rows in
                let target = [.range(rows), positions] + places
                try tensor.assign(tensor.view(target) + change, at: target)
            }
        }
        switch receiver {
        case .final:
            return (HookSite.residPost.name(layer: model.config.nLayers - 1), adding(change, []))
        case .head(let layer, let head, let input):
            guard let norms else { return (input.inputSite.name(layer: layer), adding(change, [.at(head)])) }
            let projected = try norms.projected(change, layer: layer, head: head, input, positions)
            return (input.site.name(layer: layer), adding(projected, [.at(head)]))
        }
    }
}

/// The scales of every layer's first norm in the unpatched run.
private struct FrozenNorms {
    let model: Transformer
    let scales: ActivationCache?

    init(_ model: Transformer, _ tokens: IntTensor, _ options: PatchingOptions) throws {
        self.model = model
        guard model.config.inputNorm != nil else {
            scales = nil
            return
        }
        var run = Transformer.Options(cache: "blocks.*.ln1.hook_scale", returnType: .none)
        run.attentionMask = options.attentionMask
        scales = try model.run(.tokens(tokens), run).cache
    }

    /// What a head's projection makes of a change of the stream, at the frozen scale: `[batch, pos, d_head]`.
    func projected(_ change: Tensor, layer: Int, head: Int, _ input: HeadInput, _ positions: TensorIndex) throws -> Tensor {
        var x = change
        if let norm = model.config.inputNorm, let scales {
            let scale = try scales[HookSite.ln1Scale.name(layer: layer)].at(.all, positions)
            let width = model.config.dModel
            if norm.kind == .layer {
                let means = x.array.chunked(width).map { row in Float(row.reduce(0.0) { $0 + Double($1) } / Double(width)) }
                x = try x - Tensor(means, shape: x.shape.dropLast() + [1])
            }
            x = try x / scale
            if norm.hasWeights { x = try x * model.parameters["blocks.\(layer).ln1.w"] }
        }
        let weight = try model.parameters["blocks.\(layer).attn.\(input.weight)"].at(.at(head)).contiguous()
        return try PackedMatrix(weight).product(x).out
    }
}

extension Array {
    /// Runs of `size` elements.
    fileprivate func chunked(_ size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min(count, $0 + size)] }
    }
}
