// Activation patching (Vig et al. 2020, Meng et al. 2022): put an activation of one run into another, cell by cell, and see
// what the metric does. TransformerLens' `generic_activation_patch`.
//
// Denoising runs the corrupted prompt and puts in clean activations; noising the other way round: give the clean tokens as
// `tokens` and the corrupted run's cache as `cache`.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Activation patching and its named sweeps.
public enum Patching {
    /// One sweep over the full range of some axes, for several metrics at once.
    ///
    /// - Parameters:
    ///   - tokens: what is run with patches, `[batch, pos]`: the corrupted prompt to denoise, the clean one to noise.
    ///   - cache: activations of the other run, of the same shapes (or with a batch of 1, used for every row).
    ///   - setter: what a cell changes.
    ///   - activationName: `resid_pre`, `z`, `pattern`, …; the layer is a cell's first number.
    ///   - axes: the layer first.
    /// - Returns: a result for each metric, in order.
    /// - Throws: `LensError(.name)` for an unknown activation or one that is not in the cache, `(.usage)` for axes that do not
    ///   begin with the layer, `(.shape)` for activations of other shapes; what metrics and setters throw.
    public static func genericActivationPatch(_ model: Transformer, tokens: IntTensor, cache: ActivationCache, metrics: [PatchingMetric],
                                              setter: PatchSetter, activationName: String, axes: [PatchAxis],
                                              options: PatchingOptions = PatchingOptions()) throws -> [PatchingResult] {
        guard axes.first == .layer else {
            throw LensError(.usage, "a sweep's first axis is the layer", expected: "layer, …", found: axes.map(\.rawValue).joined(separator: ", "))
        }
        guard tokens.rank == 2 else { throw LensError(.usage, "not tokens of a batch", expected: "[batch, pos]", found: "\(tokens.shape)") }
        let sizes = axes.map { size(of: $0, model.config, tokens, activationName) }
        let indices = product(sizes)
        let sweep = Sweep(activationName: activationName, setter: setter, indices: indices, shape: sizes, axisNames: axes.map(\.rawValue))
        return try run(sweep, model, tokens, cache, metrics, options)
    }

    /// One sweep over given cells: indices whose first number is the layer. `values` are `[cell]`, in the order given.
    public static func genericActivationPatch(_ model: Transformer, tokens: IntTensor, cache: ActivationCache, metrics: [PatchingMetric],
                                              setter: PatchSetter, activationName: String, indices: [[Int]],
                                              options: PatchingOptions = PatchingOptions()) throws -> [PatchingResult] {
        if let wrong = indices.firstIndex(where: { !(0..<model.config.nLayers).contains($0.first ?? -1) }) {
            throw LensError(.usage, "no such layer", at: "cell \(wrong)", expected: "0..<\(model.config.nLayers) first", found: "\(indices[wrong])")
        }
        let sweep = Sweep(activationName: activationName, setter: setter, indices: indices, shape: [indices.count], axisNames: ["cell"])
        return try run(sweep, model, tokens, cache, metrics, options)
    }

    /// TransformerLens' form: one metric of one number, and the values alone, `[axes…]`.
    public static func genericActivationPatch(_ model: Transformer, tokens: IntTensor, cache: ActivationCache, setter: PatchSetter,
                                              activationName: String, axes: [PatchAxis], options: PatchingOptions = PatchingOptions(),
                                              metric: @escaping (Tensor) throws -> Float) throws -> Tensor {
        try genericActivationPatch(model, tokens: tokens, cache: cache, metrics: [.scalar(metric)], setter: setter,
                                   activationName: activationName, axes: axes, options: options)[0].values
    }

    private struct Sweep {
        let activationName: String
        let setter: PatchSetter
        let indices: [[Int]]
        let shape: [Int]
        let axisNames: [String]
    }

    private static func run(_ sweep: Sweep, _ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache, _ metrics: [PatchingMetric],
                            _ options: PatchingOptions) throws -> [PatchingResult] {
        let cells = try sweep.indices.map { index -> PatchingCell in
            let name = try model.config.hookPoint(named: actName(sweep.activationName, layer: index[0])).name
            let clean = try cache[name], setter = sweep.setter
            guard cache.hasBatchDim else {
                throw LensError(.usage, "a cache to patch from needs its batch dimension", at: name, advice: "run it without removeBatchDim")
            }
            return PatchingCell(edits: [(name, { try setter.apply(to: &$0, rows: $1, index: index, clean: clean) })])
        }
        let runs = try PatchingRuns(model, tokens, options)
        return try collect(runs, cells, metrics, indices: sweep.indices, shape: sweep.shape, axisNames: sweep.axisNames)
    }

    /// Runs cells and gathers the metrics' values.
    static func collect(_ runs: PatchingRuns, _ cells: [PatchingCell], _ metrics: [PatchingMetric], indices: [[Int]], shape: [Int],
                        axisNames: [String]) throws -> [PatchingResult] {
        var values = metrics.map { _ in [[Float]](repeating: [], count: cells.count) }
        try runs.run(cells) { cell, logits in
            for (place, metric) in metrics.enumerated() { values[place][cell] = try metric.values(logits) }
        }
        return try metrics.enumerated().map { place, metric in
            let examples = metric.isPerExample ? [runs.batch] : []
            return PatchingResult(axisNames: axisNames, indices: indices,
                                  values: try Tensor(values[place].flatMap(\.self), shape: shape + examples),
                                  isPerExample: metric.isPerExample, baseline: try Tensor(metric.values(runs.baseline), shape: examples))
        }
    }

    /// The range of an axis.
    private static func size(of axis: PatchAxis, _ config: ModelConfig, _ tokens: IntTensor, _ activationName: String) -> Int {
        switch axis {
        case .layer: return config.nLayers
        case .pos, .srcPos, .destPos: return tokens.shape[1]
        case .head, .headIndex:
            // Grouped heads share keys and values.
            let name = actName(activationName, layer: 0)
            let isShared = [HookSite.k, .v, .rotK, .kInput, .vInput].contains { $0.name(layer: 0) == name }
            return isShared ? config.kvHeads : config.nHeads
        }
    }

    /// Every index below `sizes`, the last number fastest.
    static func product(_ sizes: [Int]) -> [[Int]] {
        sizes.reduce([[]]) { indices, size in indices.flatMap { index in (0..<size).map { index + [$0] } } }
    }
}
