// Attention whose heads read inputs of their own, followed head by head: where gradients flow through `hook_q_input` and its
// like, every head is computed from its own input, not only those that an edit changed. The bits are the same.

import LensFiles
import LensHooks
import LensTensor

extension ForwardPass {
    private static let normSites: [HookSite] = [.ln1Scale, .ln1Normalized]

    /// Whether queries, keys or values are to be computed from each head's input throughout.
    /// - Throws: `LensError(.usage)` where gradients are asked for at split inputs, and hooks at ln1, which sees one row for all
    ///   heads, change its values or gradients.
    func followsHeads(_ layer: Int, _ input: Tensor, _ residual: Tensor) throws -> Bool {
        guard input.isTracked || residual.isTracked else { return false }
        let isChanged = Self.normSites.contains { plan.changesValues($0, layer) || plan.hooksGradient($0, layer) }
        guard isChanged else { return true }
        let inputs: [HookSite] = [.attnIn, .qInput, .kInput, .vInput]
        if let asked = inputs.first(where: { plan.marks($0, layer) || plan.stopsGradient($0, layer) }) {
            throw LensError(.usage, "gradients at an input of each head, and a hook at the norm that all heads share",
                            at: asked.name(stack: plan.stack, layer: layer), advice: "edit the input in place of ln1, or ask in a run of its own")
        }
        return false
    }

    /// A product with a matrix of heads, each with its own input.
    /// - Parameters:
    ///   - input: `[batch, pos, head, d_model]`, before ln1.
    ///   - positions: what is added after the norm: `[batch, pos, d_model]`.
    /// - Returns: `[batch, pos, head × d_head]`
    func productOfHeads(_ layer: Int, _ matrix: PackedMatrix, _ bias: Tensor?, _ input: Tensor, _ norm: NormWeights, _ positions: Tensor?) throws -> Tensor {
        var x = try normOfHeads(layer, norm, input)
        if let positions { x = try x + positions.reshaped([batch, pos, 1, config.dModel]) }
        var out = Tensor(zeros: [batch, pos, matrix.columns])
        for (head, rows) in try x.heads().enumerated() {
            try matrix.updateColumns(head * config.dHead..<(head + 1) * config.dHead, of: &out, from: rows, bias: bias)
        }
        return out
    }

    /// ln1 of each head's input. What it computes is part of ln1's sites, which are there once for all.
    private func normOfHeads(_ layer: Int, _ weights: NormWeights, _ x: Tensor) throws -> Tensor {
        guard let norm = config.inputNorm else { return x }
        let eps = Float(norm.eps)
        guard Self.normSites.contains(where: { plan.marks($0, layer) || plan.stopsGradient($0, layer) }) else {
            return try LensTensor.norm(norm.kind, x, eps: eps, weight: weights.w, bias: weights.b).out ?? x
        }
        func part(_ site: HookSite, _ tensor: Tensor?) -> Tensor? {
            guard let tensor else { return nil }
            let stopped = plan.stopsGradient(site, layer) ? tensor.detached() : tensor
            return plan.recorder?.part(stopped, of: HookPoint(site, stack: plan.stack, layer: layer), headAxis: 2) ?? stopped
        }
        let scale = part(.ln1Scale, try LensTensor.norm(norm.kind, x, eps: eps, wantsOut: false, wantsScale: true).scale)
        let normalized = part(.ln1Normalized, try LensTensor.norm(norm.kind, x, eps: eps, scale: scale, wantsOut: false, wantsNormalized: true).normalized)
        return try affine(normalized ?? x, weight: weights.w, bias: weights.b)
    }
}

extension Tensor {
    /// The heads of `[batch, pos, head, width]`: `[batch, pos, width]` each, contiguous.
    func heads() throws -> [Tensor] {
        let parts = try (0..<shape[2]).map { try detached().at(.all, .all, .at($0)).contiguous() }, shape = shape
        guard let graph else { return parts }
        let node = GraphNode("heads", inputs: [graph], outputShapes: parts.map(\.shape)) { request in
            var whole = Tensor(zeros: shape)
            for (head, gradient) in request.outputs.enumerated() {
                if let gradient { try whole.set(.all, .all, .at(head), to: gradient) }
            }
            return [whole]
        }
        return parts.enumerated().map { $1.attached(to: GraphValue(node, output: $0)) }
    }

    /// Heads, `[batch, pos, width]` each, side by side: `[batch, pos, head, width]`.
    init(heads: [Tensor], shape: [Int]) throws {
        var all = Tensor(zeros: shape)
        for (head, rows) in heads.enumerated() { try all.set(.all, .all, .at(head), to: rows.detached()) }
        self = all.recorded("heads", from: heads.map(\.graph)) { request in
            let gradient = try request.first()
            return try request.wants.enumerated().map { try $1 ? gradient.at(.all, .all, .at($0)).contiguous() : nil }
        }
    }
}
