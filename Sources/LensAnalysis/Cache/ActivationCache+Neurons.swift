// What each neuron writes to the residual stream, or to a direction in it. With a projection the neurons × d_model numbers of
// each position are never made: the projection meets W_out first.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension ActivationCache {
    /// What each neuron of a layer adds to the residual stream: `[*batch, pos, neuron, d_model]` (TransformerLens'
    /// `get_neuron_results`). Where a norm comes between, at its cached scale.
    /// - Parameter projectOutputOnto: directions `[d_model]` or `[d_model, n]`; the last axis is then gone, or `n`.
    /// - Throws: `LensError(.usage)` for a model without an MLP.
    public func getNeuronResults(in model: some HasTransformer, layer: Int, neuronSlice: AxisSlice = .all, posSlice: AxisSlice = .all,
                                 projectOutputOnto directions: Tensor? = nil) throws -> Tensor {
        let model = model.model, layer = layer < 0 ? layer + model.config.nLayers : layer
        guard (0..<model.config.nLayers).contains(layer), model.hasNeurons(layer) else {
            throw LensError(.usage, "no neurons there", at: "layer \(layer)", expected: "a layer with an MLP (experts have none that all tokens share)")
        }
        let results = try neuronResults(layer, model, neuronSlice: neuronSlice, posSlice: posSlice, directions: asColumns(directions, model), reader: nil)
        return directions?.rank == 1 ? try results.reshaped(Array(results.shape.dropLast())) : results
    }

    /// The norm that reads a stack: the neurons' parts are then divided by its cached scale.
    struct Reader { let layer: Int, mlpInput: Bool }

    /// `[*batch, pos, neuron, d_model]`, or `[…, n]` with directions `[d_model, n]`. Everything linear that comes after the
    /// activation (a norm's scale, centring, weight) is put on the activation and W_out, which are small.
    private func neuronResults(_ layer: Int, _ model: Transformer, neuronSlice: AxisSlice, posSlice: AxisSlice, directions: Tensor?,
                               reader: Reader?) throws -> Tensor {
        var acts = try posSlice.apply(self["post", layer], axis: -2)
        var weights = try neuronSlice.apply(model.parameters["blocks.\(layer).mlp.W_out"], axis: 0)
        for (norm, name) in model.config.writingNorms(.mlp) {
            acts = try acts / posSlice.apply(self["scale", layer, name], axis: -2)
            if norm.kind == .layer { weights = try weights.centered() }
            if let factors = try model.normWeight("blocks.\(layer).\(name).w", norm) { weights = try weights * factors }
        }
        if model.config.residualScale != 1 { weights = try weights.scaled(by: Float(model.config.residualScale)) }
        if let reader {
            let isFinal = reader.layer == model.config.nLayers
            if let norm = isFinal ? model.config.finalNorm : model.config.inputNorm {
                let name = isFinal ? "ln_final.hook_scale" : "blocks.\(reader.layer).ln\(reader.mlpInput ? 2 : 1).hook_scale"
                acts = try acts / posSlice.apply(self[name], axis: -2)
                if norm.kind == .layer { weights = try weights.centered() }
            }
        }
        if let directions { weights = try weights.matmul(directions) }
        if neuronSlice.dropsAxis {
            acts = try neuronSlice.apply(acts, axis: -1)
            return try acts.reshaped(acts.shape + [1]) * weights
        }
        acts = try neuronSlice.apply(acts, axis: -1)
        return try acts.reshaped(acts.shape + [1]) * weights
    }

    /// Directions as `[d_model, n]`.
    func asColumns(_ directions: Tensor?, _ model: Transformer) throws -> Tensor? {
        guard let directions else { return nil }
        guard (1...2).contains(directions.rank), directions.shape[0] == model.config.dModel else {
            throw LensError(.shape, "directions to project onto", expected: "[\(model.config.dModel)] or [\(model.config.dModel), n]",
                            found: "\(directions.shape)")
        }
        return directions.rank == 2 ? directions : try directions.reshaped([directions.count, 1])
    }

    /// What neurons of the layers before `layer` add: `[layer × neuron, *batch, pos, d_model]` or `[…, n]`, and their labels.
    /// Layers of experts have none.
    func neuronStack(_ layer: Int, _ model: Transformer, neuronSlice: AxisSlice = .all, posSlice: AxisSlice, directions: Tensor?,
                     reader: Reader?) throws -> Labeled {
        let width = model.config.mlp?.width ?? 0, neurons = try neuronSlice.indices(width)
        let layers = (0..<layer).filter(model.hasNeurons)
        let stacks = try layers.map { l in
            try neuronResults(l, model, neuronSlice: neuronSlice.keepingAxis, posSlice: posSlice, directions: directions, reader: reader)
                .movingAxis(-2, to: 0)
        }
        let place = try posSlice.apply(stream(0, model), axis: -2).shape
        let shape = directions.map { place.dropLast() + [$0.shape[1]] } ?? place
        return (stacks.isEmpty ? try Tensor.stacked([], shape: shape) : try Tensor.concatenated(stacks),
                layers.flatMap { l in neurons.map { "L\(l)N\($0)" } })
    }

    /// What each neuron of the layers before `layer` added to the residual stream (TransformerLens' `stack_neuron_results`).
    ///
    /// - Parameters:
    ///   - layer: nil, -1 or nLayers: all neurons.
    ///   - inclRemainder: one more part: the residual stream less the neurons.
    ///   - applyLn: divided by the cached scale of the norm that reads the stream.
    ///   - projectOutputOnto: directions `[d_model]` or `[d_model, n]` to project onto (after `applyLn`).
    /// - Returns: `[layer × neuron (+ 1), *batch, pos, d_model]` (the last axis `n`, or gone, with a projection); labels `L0N0`,
    ///   …, `remainder`.
    public func stackNeuronResults(in model: some HasTransformer, layer: Int? = nil, posSlice: AxisSlice = .all, neuronSlice: AxisSlice = .all,
                                   inclRemainder: Bool = false, applyLn: Bool = false, projectOutputOnto: Tensor? = nil) throws -> Labeled {
        let model = model.model, layer = try inputLayer(layer, of: model), directions = try asColumns(projectOutputOnto, model)
        let reader = applyLn ? Reader(layer: layer, mlpInput: false) : nil
        var (stack, labels) = try neuronStack(layer, model, neuronSlice: neuronSlice, posSlice: posSlice, directions: directions, reader: reader)
        if inclRemainder {
            let whole = try projected(Tensor.stacked([posSlice.apply(stream(layer, model), axis: -2)]), model, directions, reader, posSlice)
            stack = try Tensor.concatenated([stack, whole - Tensor.stacked([stack.summed(axis: 0)])])
            labels.append("remainder")
        }
        return (projectOutputOnto?.rank == 1 ? try stack.reshaped(Array(stack.shape.dropLast())) : stack, labels)
    }

    /// A stack of whole parts, divided by a reader's scale and projected, as wanted.
    func projected(_ stack: Tensor, _ model: Transformer, _ directions: Tensor?, _ reader: Reader?, _ posSlice: AxisSlice) throws -> Tensor {
        let scaled = try reader.map {
            try applyLnToStack(stack, in: model, layer: $0.layer, mlpInput: $0.mlpInput, posSlice: posSlice, hasBatchDim: hasBatchDim)
        } ?? stack
        return try directions.map { try scaled.matmul($0) } ?? scaled
    }
}

extension Transformer {
    /// Whether a layer has an MLP whose neurons all tokens share.
    func hasNeurons(_ layer: Int) -> Bool { parameters.has("blocks.\(layer).mlp.W_out") }
}
