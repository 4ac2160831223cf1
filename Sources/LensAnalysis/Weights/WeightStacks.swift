// A model's weights layer by layer under TransformerLens' names, without ever stacking them: `model.W_Q[5]` unpacks that
// layer's, in float32, and nothing is kept.

import LensFiles
import LensModel
import LensTensor

/// Something each layer has, made when asked for.
public struct LayerStack<Element>: Sendable {
    /// Layers.
    public let count: Int
    private let make: @Sendable (Int) throws -> Element

    init(count: Int, _ make: @escaping @Sendable (Int) throws -> Element) {
        self.count = count
        self.make = make
    }

    /// A layer's; negative counts from the end.
    /// - Throws: `LensError(.usage)` for no such layer, `(.name)` for a model that has nothing of the kind.
    public subscript(_ layer: Int) -> Element {
        get throws {
            guard (-count..<count).contains(layer) else {
                throw LensError(.usage, "no such layer", expected: "\(-count)..<\(count)", found: "\(layer)")
            }
            return try make(layer < 0 ? layer + count : layer)
        }
    }
}

extension LayerStack where Element == Tensor {
    /// A head's of a layer: `try model.W_Q[5, 3]` is `[d_model, d_head]`.
    public subscript(_ layer: Int, _ head: Int) -> Tensor { get throws { try self[layer].at(.at(head)) } }

    /// All layers in one tensor, `[layer, …]`: as much memory as they take.
    public func stacked() throws -> Tensor { try Tensor.stacked((0..<count).map { try self[$0] }) }
}

extension LayerStack where Element == FactoredMatrix {
    /// A head's of a layer.
    public subscript(_ layer: Int, _ head: Int) -> FactoredMatrix { get throws { try self[layer].at(.at(head)) } }

    /// All layers in one, `[layer, head, …]`.
    public func stacked() throws -> FactoredMatrix {
        let layers = try (0..<count).map { try self[$0] }
        return try FactoredMatrix(Tensor.stacked(layers.map(\.A)), Tensor.stacked(layers.map(\.B)))
    }
}

extension HasTransformer {
    /// A parameter of every block, by its name in the block: `attn.W_Q`.
    public func weightStack(_ name: String) -> LayerStack<Tensor> {
        let model = model
        return LayerStack(count: model.config.nLayers) { try model.parameters["blocks.\($0).\(name)"] }
    }

    /// Queries' weights: `[head, d_model, d_head]` of each layer.
    public var W_Q: LayerStack<Tensor> { weightStack("attn.W_Q") }
    /// Keys' weights: `[head, d_model, d_head]` of each layer, in grouped attention each group's once for each of its heads.
    public var W_K: LayerStack<Tensor> { weightStack("attn.W_K") }
    /// Values' weights, as `W_K`.
    public var W_V: LayerStack<Tensor> { weightStack("attn.W_V") }
    /// `[head, d_head, d_model]` of each layer.
    public var W_O: LayerStack<Tensor> { weightStack("attn.W_O") }
    /// `[head, d_head]` of each layer.
    public var b_Q: LayerStack<Tensor> { weightStack("attn.b_Q") }
    public var b_K: LayerStack<Tensor> { weightStack("attn.b_K") }
    public var b_V: LayerStack<Tensor> { weightStack("attn.b_V") }
    /// `[d_model]` of each layer.
    public var b_O: LayerStack<Tensor> { weightStack("attn.b_O") }
    /// `[d_model, d_mlp]` of each layer.
    public var W_in: LayerStack<Tensor> { weightStack("mlp.W_in") }
    /// `[d_model, d_mlp]` of each layer, of a gated MLP.
    public var W_gate: LayerStack<Tensor> { weightStack("mlp.W_gate") }
    /// `[d_mlp, d_model]` of each layer.
    public var W_out: LayerStack<Tensor> { weightStack("mlp.W_out") }
    public var b_in: LayerStack<Tensor> { weightStack("mlp.b_in") }
    public var b_out: LayerStack<Tensor> { weightStack("mlp.b_out") }

    /// Keys' or values' weights (`W_K`, `W_V`, `b_K`, `b_V`) with each group's once: `[kv_head, …]` of each layer.
    public func perGroup(_ name: String) -> LayerStack<Tensor> { weightStack("attn.\(model.config.nKeyValueHeads == nil ? "" : "_")\(name)") }

    /// `[d_vocab, d_model]`
    public var W_E: Tensor { get throws { try model.parameters["embed.W_E"] } }
    /// `[n_ctx, d_model]`, of learned positions.
    public var W_pos: Tensor { get throws { try model.parameters["pos_embed.W_pos"] } }
    /// Tokens' embeddings, then positions': `[d_vocab + n_ctx, d_model]`.
    public var W_E_pos: Tensor { get throws { try Tensor.concatenated([W_E, W_pos]) } }
    /// `[d_model, d_vocab_out]`
    public var W_U: Tensor { get throws { try model.parameters["unembed.W_U"] } }
    /// `[d_vocab_out]`
    public var b_U: Tensor { get throws { try model.parameters["unembed.b_U"] } }

    /// Where each head looks: W_Q·W_Kᵀ, `[head, d_model, d_model]` of each layer, by its factors.
    public var QK: LayerStack<FactoredMatrix> {
        let queries = W_Q, keys = W_K
        return LayerStack(count: queries.count) { try FactoredMatrix(queries[$0], keys[$0].movingAxis(-1, to: -2)) }
    }

    /// What each head moves: W_V·W_O, `[head, d_model, d_model]` of each layer, by its factors.
    public var OV: LayerStack<FactoredMatrix> {
        let values = W_V, outputs = W_O
        return LayerStack(count: values.count) { try FactoredMatrix(values[$0], outputs[$0]) }
    }
}
