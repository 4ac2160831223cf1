// Attention of a decoder's positions to an encoder's output. Keys and values come from that output alone: they are computed
// in the first pass, and kept with the key-value cache.

import LensFiles
import LensHooks
import LensTensor

/// An encoder's output as a decoder reads it.
struct EncodedInput: Sendable {
    /// `[batch, encoder_pos, d_model]`, after the final norm.
    private(set) var output: Tensor
    /// Whether each position is a real token: `[batch][encoder_pos]`.
    let isReal: [[Bool]]
    /// Keys and values of each decoder layer that has run.
    var layers: [KeyValuePages?]

    /// The given rows in that order, which may come several times; their keys and values are shared.
    func selecting(rows: [Int]) throws -> EncodedInput {
        let states = try Tensor(joining: rows.map { try output.at(.range($0..<$0 + 1)) }, axis: 0)
        return EncodedInput(output: states, isReal: rows.map { isReal[$0] }, layers: try layers.map { try $0?.selecting(rows: rows) })
    }

    /// With an output in its place that is tracked otherwise.
    func replacing(_ output: Tensor) -> EncodedInput {
        var copy = self
        copy.output = output
        return copy
    }

    /// Let go of what it was computed from.
    var detached: EncodedInput { EncodedInput(output: output.detached(), isReal: isReal, layers: layers.map { _ in nil }) }

    /// Left padding of each row.
    var padding: [Int] { isReal.map { row in row.firstIndex(of: true) ?? row.count } }

    /// 0 where a key is masked, `[batch × keys]`; nil where left padding says it all.
    var keyMask: [UInt8]? {
        let hasHoles = zip(isReal, padding).contains { row, pad in row.dropFirst(pad).contains(false) }
        return hasHoles ? isReal.flatMap { row in row.map { $0 ? 1 : 0 } } : nil
    }
}

extension ForwardPass {
    /// - Returns: `residual` plus what cross-attention writes: `[batch, pos, d_model]`.
    func crossAttentionLayer(_ layer: Int, _ weights: CrossWeights, _ norm: NormWeights, _ residual: Tensor) throws -> Tensor {
        var input = residual
        try fire(.crossAttnIn, layer, &input)
        let x = try normLayer(config.inputNorm, norm, input, .ln2Scale, .ln2Normalized, layer)
        var q = try weights.wQ.product(x, epilogue: Epilogue(bias: weights.bQ)).out.reshaped([batch, pos, config.nHeads, config.dHead])
        try fire(.crossQ, layer, &q)
        let pages = try crossKeysValues(layer, weights)
        let spec = AttentionSpec(heads: config.nHeads, kvHeads: config.nHeads, dHead: config.dHead,
                                 scoreScale: Float(1 / config.attention.scale), causal: false)
        let z = try attend(layer, q, pages, spec, keyValues.encoded?.keyMask, sites: .cross)
        var stream = try addOut(.crossAttnOut, layer, headsOut(layer, weights.wO, weights.bO, z, residual, .cross), residual)
        try fire(.residMidCross, layer, &stream)
        return stream
    }

    /// The layer's keys and values: those kept, or computed now.
    private func crossKeysValues(_ layer: Int, _ weights: CrossWeights) throws -> KeyValuePages {
        guard let encoded = keyValues.encoded else { throw LensError(.usage, "a decoder without an encoder's output") }
        if let kept = encoded.layers[layer] { return kept }
        // A node for each layer: there the gradients of keys and values are added up.
        let states = encoded.output.isTracked ? encoded.output.tracked() : encoded.output
        let shape = [batch, states.shape[1], config.nHeads, config.dHead]
        var k = try weights.wK.product(states, epilogue: Epilogue(bias: weights.bK)).out.reshaped(shape)
        try fire(.crossK, layer, &k)
        var v = try weights.wV.product(states, epilogue: Epilogue(bias: weights.bV)).out.reshaped(shape)
        try fire(.crossV, layer, &v)
        var pages = KeyValuePages(kvHeads: config.nHeads, dHead: config.dHead, first: encoded.padding)
        try pages.append(keys: k, values: v)
        if keepsKeyValues { keyValues.encoded?.layers[layer] = pages }
        return pages
    }
}
