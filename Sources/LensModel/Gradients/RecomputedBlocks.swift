// Blocks whose inner values are not kept for the reverse pass but computed again from their input when it comes by
// (Chen et al., 2016): the memory of one block in place of all.

import LensFiles
import LensHooks
import LensTensor

extension Transformer {
    /// One block of a pass; what is kept of it for the reverse pass is as `options` say.
    func runBlock(_ pass: ForwardPass, _ layer: Int, _ stream: Tensor, _ mask: [[Bool]], _ options: Options) throws -> Tensor {
        // A node of its own, so that the gradients of what reads the stream in a block are added up there, in the same order
        // whether the block is recomputed or not.
        let input = stream.isTracked ? stream.tracked() : stream
        let encoded = pass.keyValues.encoded?.output.graph, positions = pass.shortformerPositions, parameters = pass.plan.recorder?.parameters ?? []
        guard options.recomputesBlocks, !pass.keepsKeyValues, pass.offset == 0, !pass.plan.touchesBlock(layer),
              input.isTracked || encoded != nil || positions?.isTracked == true || !parameters.isEmpty else { return try pass.block(layer, input) }
        let out = try pass.block(layer, input.detached()).detached()
        let again = BlockAgain(model: self, stack: pass.plan.stack, layer: layer, mask: mask, input: input.detached(),
                               encoded: pass.keyValues.encoded?.detached, positions: positions?.detached(), parameters: parameters,
                               narrowingLayer: pass.narrowingLayer)
        return out.recorded("block", from: [input.graph, encoded, positions?.graph] + parameters) { try again.gradients($0) }
    }
}

/// What it takes to run a block once more.
private struct BlockAgain: Sendable {
    let model: Transformer
    let stack: HookStack
    let layer: Int
    let mask: [[Bool]]
    let input: Tensor
    let encoded: EncodedInput?
    /// A shortformer's, which all blocks share.
    let positions: Tensor?
    let parameters: [GraphValue]
    let narrowingLayer: Int?

    /// Gradients of the block's input, the encoder's output, a shortformer's positions and the parameters.
    func gradients(_ request: GraphNode.Request) throws -> [Tensor?] {
        let input = request.wants[0] ? input.tracked() : input
        var encoded = encoded
        if request.wants[1], let constant = encoded { encoded = constant.replacing(constant.output.tracked()) }
        let plan = try HookPlan(hooks: [], caching: .none, points: [], nLayers: 0)
        let config = stack == .encoder ? model.encoder?.config ?? model.config : model.config
        var none = KeyValueCache(for: config, batch: mask.count)
        let pass = try ForwardPass(model, stack: stack, plan: plan, .residual(input), newMask: mask, isWhole: false, taking: &none,
                                   keepsKeyValues: false, Transformer.Options())
        let positions = request.wants[2] ? positions?.tracked() : positions
        pass.narrowingLayer = narrowingLayer
        pass.keyValues.encoded = encoded
        pass.shortformerPositions = positions
        let out = try pass.block(layer, input)
        let values = [input.graph, encoded?.output.graph, positions?.graph] + parameters
        let wanted = values.indices.filter { request.wants[$0] && values[$0] != nil }
        var result: [Tensor?] = values.map { _ in nil }
        guard let root = out.graph else { return result }
        let found = try LensTensor.gradients(of: root, seed: request.first(), to: wanted.compactMap { values[$0] })
        for (index, gradient) in zip(wanted, found) { result[index] = gradient }
        return result
    }
}
