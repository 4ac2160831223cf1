// What each node writes to the residual stream in a run: the parts whose sum the stream is, but for biases. Where a norm or a factor
// stands between a node and the stream (Gemma 2, OLMo 2, Granite), what arrives there, at the run's own scale.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// The activations that contributions are made of.
struct Contributions {
    let model: Transformer
    let graph: EdgeGraph

    /// Names that a run has to hold.
    var names: [String] {
        var names = [HookSite.residPre.name(layer: 0)]
        for layer in 0..<graph.nLayers {
            names.append(HookSite.result.name(layer: layer))
            names += model.config.writingNorms(.attention).map { "blocks.\(layer).\($0.name).hook_scale" }
            if graph.hasMLPs { names.append(HookSite.mlpOut.name(layer: layer)) }
        }
        return names
    }

    /// What enters the first layer: `[1, batch, pos, d_model]`.
    func input(_ cache: ActivationCache) throws -> Tensor { try Tensor.stacked([cache[HookSite.residPre.name(layer: 0)].detached()]) }

    /// What the heads of a layer add to the stream: `[head, batch, pos, d_model]`.
    func heads(_ layer: Int, _ cache: ActivationCache) throws -> Tensor {
        let results = try cache[HookSite.result.name(layer: layer)].detached().movingAxis(-2, to: 0).contiguous()
        return try cache.throughOutputNorm(results, .attention, layer, model, posSlice: .all)
    }

    /// What the MLP of a layer adds: `[1, batch, pos, d_model]`.
    func mlp(_ layer: Int, _ cache: ActivationCache) throws -> Tensor { try Tensor.stacked([cache[HookSite.mlpOut.name(layer: layer)].detached()]) }

    /// All of them, in the graph's order: `[source, batch, pos, d_model]`.
    func all(_ cache: ActivationCache) throws -> Tensor {
        try Tensor.concatenated([input(cache)] + (0..<graph.nLayers).flatMap { layer in
            try [heads(layer, cache)] + (graph.hasMLPs ? [mlp(layer, cache)] : [])
        })
    }
}
