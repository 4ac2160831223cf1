// What each attention head writes to the residual stream.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension ActivationCache {
    /// Adds `hook_result`, z·W_O head by head, `[*batch, pos, head, d_model]`, for every layer that has `hook_z` and not yet
    /// the results (TransformerLens' `compute_head_results`). Where a norm comes after attention, results are what goes into it.
    public mutating func computeHeadResults(in model: some HasTransformer) throws {
        let model = model.model
        for layer in 0..<model.config.nLayers {
            let name = actName("result", layer: layer)
            guard !contains(name), contains(actName("z", layer: layer)) else { continue }
            store(name, try headResults(layer, model).movingAxis(0, to: -2).contiguous())
        }
    }

    /// Results of a layer's heads, `[head, *batch, pos, d_model]`: the cached ones (a run may have edited them), else z·W_O.
    private func headResults(_ layer: Int, _ model: Transformer, posSlice: AxisSlice = .all) throws -> Tensor {
        let name = actName("result", layer: layer)
        if contains(name) { return try posSlice.apply(self[name], axis: -3).movingAxis(-2, to: 0) }
        let z = try posSlice.apply(self["z", layer], axis: -3), weights = try model.parameters["blocks.\(layer).attn.W_O"]
        return try Tensor.stacked((0..<model.config.nHeads).map { head in
            try AxisSlice.at(head).apply(z, axis: -2).matmul(weights.at(.at(head)))
        })
    }

    /// What the heads of some layers add to the residual stream: `[layer × head, *batch, pos, d_model]`.
    func headStack(_ layers: Range<Int>, _ model: Transformer, posSlice: AxisSlice) throws -> Labeled {
        let stacks = try layers.map { layer in
            try throughOutputNorm(headResults(layer, model, posSlice: posSlice), .attention, layer, model, posSlice: posSlice)
        }
        let empty = try Tensor.stacked([], shape: posSlice.apply(stream(0, model), axis: -2).shape)
        return (stacks.isEmpty ? empty : try Tensor.concatenated(stacks),
                layers.flatMap { layer in (0..<model.config.nHeads).map { "L\(layer)H\($0)" } })
    }

    /// What each head of the layers before `layer` added to the residual stream (TransformerLens' `stack_head_results`).
    ///
    /// Where a norm comes between attention and the residual stream, at its cached scale. Unlike TransformerLens 3.9, the
    /// remainder before layer 0 is the stream that enters it, not the one after the last.
    /// - Parameters:
    ///   - layer: nil, -1 or nLayers: all heads.
    ///   - inclRemainder: one more part: the residual stream less the heads.
    ///   - applyLn: divided by the cached scale of the norm that reads the stream.
    /// - Returns: `[layer × head (+ 1), *batch, pos, d_model]`; labels `L0H0`, …, `remainder`.
    public func stackHeadResults(in model: some HasTransformer, layer: Int? = nil, inclRemainder: Bool = false, posSlice: AxisSlice = .all,
                                 applyLn: Bool = false) throws -> Labeled {
        let model = model.model, layer = try inputLayer(layer, of: model)
        var (stack, labels) = try headStack(0..<layer, model, posSlice: posSlice)
        if inclRemainder {
            let total = try posSlice.apply(stream(layer, model), axis: -2)
            stack = try Tensor.concatenated([stack, Tensor.stacked([total - stack.summed(axis: 0)])])
            labels.append("remainder")
        }
        if applyLn { stack = try applyLnToStack(stack, in: model, layer: layer, posSlice: posSlice, hasBatchDim: hasBatchDim) }
        return (stack, labels)
    }
}

/// Attention or MLP.
enum Sublayer { case attention, mlp }

extension ModelConfig {
    /// The norms between a sublayer's product and the residual stream, in order, and their names in the block.
    func writingNorms(_ sublayer: Sublayer) -> [(norm: Norm, name: String)] {
        let name = sublayer == .attention ? "ln1" : "ln2"
        let own = normPlacement == .onOutput ? norm.map { ($0, name) } : nil
        return [own, outputNorm.map { ($0, name + "_post") }].compactMap(\.self)
    }
}

extension ActivationCache {
    /// What parts of a sublayer's output, `[n, *batch, pos, d_model]`, add to the residual stream: themselves, or, where norms or
    /// a factor come between, what they are at the cached scales.
    /// - Parameter addingBiases: the norms' biases too, which are no part's.
    func throughOutputNorm(_ parts: Tensor, _ sublayer: Sublayer, _ layer: Int, _ model: Transformer, posSlice: AxisSlice,
                           addingBiases: Bool = false) throws -> Tensor {
        var parts = parts
        for (norm, name) in model.config.writingNorms(sublayer) {
            parts = try (norm.kind == .layer ? parts.centered() : parts) / posSlice.apply(self["scale", layer, name], axis: -2)
            if let weight = try model.normWeight("blocks.\(layer).\(name).w", norm) { parts = try parts * weight }
            if addingBiases, let bias = try model.normWeight("blocks.\(layer).\(name).b", norm) { parts = try parts + bias }
        }
        return model.config.residualScale == 1 ? parts : try parts.scaled(by: Float(model.config.residualScale))
    }

    /// What the biases of sublayers (and of norms after them) added to the residual stream: `[*batch, pos, d_model]`.
    func biasStream(attention: Range<Int>, mlps: Range<Int>, _ model: Transformer, like shape: [Int], posSlice: AxisSlice) throws -> Tensor {
        var total = Tensor(zeros: shape)
        func add(_ name: String, _ sublayer: Sublayer, _ layer: Int) throws {
            guard model.parameters.has(name) else { return }
            let bias = try model.parameters[name].broadcast(to: [1] + shape)
            total = try total + throughOutputNorm(bias, sublayer, layer, model, posSlice: posSlice, addingBiases: true).at(0)
        }
        for layer in attention { try add("blocks.\(layer).attn.b_O", .attention, layer) }
        if model.config.mlp != nil { for layer in mlps { try add("blocks.\(layer).mlp.b_out", .mlp, layer) } }
        return total
    }
}
