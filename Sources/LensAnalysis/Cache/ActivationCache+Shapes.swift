// A cache's batch: taken away, or only some rows of it; and what the decompositions ask of a cache.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension ActivationCache {
    /// The cache without its batch axis, in place (TransformerLens' `remove_batch_dim`).
    /// - Throws: `LensError(.shape)` if the batch is not 1; `(.usage)` if it was removed before.
    public mutating func removeBatchDim() throws { self = try removingBatchDim() }

    /// The rows of the batch that `slice` picks; one row takes the axis away.
    /// - Throws: `LensError(.usage)` without a batch axis, `(.shape)` for rows out of range.
    public func applySliceToBatchDim(_ slice: AxisSlice) throws -> ActivationCache {
        guard hasBatchDim || slice == .all else { throw LensError(.usage, "cannot slice the batch of a cache without a batch dimension") }
        var result = ActivationCache(nLayers: nLayers, hasBatchDim: hasBatchDim && !slice.dropsAxis, hasGatedMLP: hasGatedMLP)
        for (name, activation) in entries { result.store(name, try slice.apply(activation, axis: 0)) }
        return result
    }

    /// A layer as TransformerLens takes it: nil and -1 mean after the last.
    func inputLayer(_ layer: Int?, of model: Transformer, mlpInput: Bool = false) throws -> Int {
        guard model.config.kind == .decoder, model.config.normPlacement != .onSum else {
            throw LensError(.usage, "the residual stream of this model is no sum of parts", at: model.config.modelName,
                            expected: "a decoder whose blocks add to it", found: model.config.kind == .decoder ? "blocks that normalise sums" : model.config.kind.rawValue)
        }
        let last = model.config.nLayers, layer = layer == -1 ? last : layer ?? last
        guard (0...last).contains(layer) else {
            throw LensError(.usage, "no such layer", expected: "0...\(last), or -1 for the last", found: "\(layer)")
        }
        guard !mlpInput || (layer < last && model.config.mlp != nil) else {
            throw LensError(.usage, "no MLP reads the stream there", at: "layer \(layer)", expected: "a layer with an MLP for mlpInput")
        }
        return layer
    }

    /// - Throws: `LensError(.usage)` where the stream is normalised on its way: it is no sum of what was written to it then.
    func checkStreamIsSum(_ model: Transformer) throws {
        guard model.config.norm == nil || model.config.normPlacement != .onSum else {
            throw LensError(.usage, "the residual stream of this model is no sum of its parts", found: "norms of the stream after each sublayer")
        }
    }

    /// The residual stream entering attention of a layer, its MLP, or the final norm: `[*batch, pos, d_model]`.
    func stream(_ layer: Int, _ model: Transformer, mlpInput: Bool = false) throws -> Tensor {
        if mlpInput, !model.config.parallelAttnMLP { return try self["resid_mid", layer] }
        return layer < model.config.nLayers ? try self["resid_pre", layer] : try self["resid_post", layer - 1]
    }

    /// Attention layers whose output is in the stream that enters `layer`: of a parallel block, the MLP reads what came
    /// before attention. (TransformerLens 3.9 counts the layer's own attention there, and its parts do not sum.)
    func attentionLayers(before layer: Int, _ model: Transformer, mlpInput: Bool) -> Range<Int> {
        0..<layer + (mlpInput && !model.config.parallelAttnMLP ? 1 : 0)
    }
}
