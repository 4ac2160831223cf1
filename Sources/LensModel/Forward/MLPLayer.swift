// One feed-forward layer, plain or gated: ln2, the products, the activation, and the residual.

import LensHooks
import LensTensor

extension ForwardPass {
    /// - Parameters:
    ///   - input: the residual stream it reads.
    ///   - residual: the residual stream it is added to (the same, but for parallel blocks).
    /// - Returns: `residual` plus what the MLP writes: `[batch, pos, d_model]`.
    func mlpLayer(_ layer: Int, _ weights: FeedForwardWeights, _ block: BlockWeights, input: Tensor, residual: Tensor) throws -> Tensor {
        guard let mlp = config.mlp else { return residual }
        var input = input
        // Where blocks normalise sums, the norm before the MLP is the block's, and so is this site.
        if !config.postNorm { try fire(.mlpIn, layer, &input) }
        let x = try block.cross == nil ? normLayer(config.inputNorm, block.ln2, input, .ln2Scale, .ln2Normalized, layer)
            : normLayer(config.inputNorm, block.ln3, input, .ln3Scale, .ln3Normalized, layer)
        let edits = plan.edits(.mlpOut, layer) || config.changesWhatIsWritten, touches = plan.touches(.mlpOut, layer)
        var written: (out: Tensor, linear: Tensor?)
        switch weights {
        case .experts(let weights):
            let linear = try experts(layer, mlp, weights, x)
            written = (edits ? linear : try residual + linear, touches && !edits ? linear : nil)
        case .dense(let weights):
            var post = try weights.wGate.map { try gated(layer, mlp, weights, $0, x) } ?? plain(layer, mlp, weights, x)
            if let norm = mlp.norm {
                try fire(.mlpMid, layer, &post)
                post = try normLayer(norm, weights.norm, post, .mlpNormScale, .mlpNormNormalized, layer)
            }
            try fire(.mlpPost, layer, &post)
            let epilogue = Epilogue(bias: weights.bOut, residual: edits ? nil : residual, keepsLinear: touches && !edits)
            written = try weights.wOut.product(post, epilogue: epilogue)
        }
        if config.normPlacement == .onOutput {
            written.out = try normLayer(config.norm, block.ln2, written.out, .ln2Scale, .ln2Normalized, layer)
        }
        written.out = try normLayer(config.outputNorm, block.ln2Post, written.out, .ln2PostScale, .ln2PostNormalized, layer)
        return try addOut(.mlpOut, layer, written, residual)
    }

    /// `activation(x·W_in + b_in)`: `[batch, pos, d_mlp]`.
    private func plain(_ layer: Int, _ mlp: ModelConfig.MLP, _ weights: MLPWeights, _ x: Tensor) throws -> Tensor {
        if let xielu = weights.xielu {
            var pre = try weights.wIn.product(x, epilogue: Epilogue(bias: weights.bIn)).out
            try fire(.mlpPre, layer, &pre)
            return try pre.applying(xielu)
        }
        if plan.edits(.mlpPre, layer) {
            var pre = try weights.wIn.product(x, epilogue: Epilogue(bias: weights.bIn)).out
            try fire(.mlpPre, layer, &pre)
            return try pre.applying(mlp.activation)
        }
        let epilogue = Epilogue(bias: weights.bIn, activation: mlp.activation, keepsLinear: plan.touches(.mlpPre, layer))
        let (post, pre) = try weights.wIn.product(x, epilogue: epilogue)
        if var pre { try fire(.mlpPre, layer, &pre) }
        return post
    }

    /// `activation(x·W_gate) * (x·W_in)`, biases where the configuration has them: `[batch, pos, d_mlp]`.
    private func gated(_ layer: Int, _ mlp: ModelConfig.MLP, _ weights: MLPWeights, _ wGate: PackedMatrix, _ x: Tensor) throws -> Tensor {
        let biasAfter = mlp.gate == .biasAfter, bias = biasAfter ? nil : weights.bIn
        var post: Tensor
        if plan.edits(.mlpPre, layer) || plan.edits(.mlpPreLinear, layer) {
            var pre = try wGate.product(x, epilogue: Epilogue(bias: weights.bGate)).out
            try fire(.mlpPre, layer, &pre)
            var linear = try weights.wIn.product(x, epilogue: Epilogue(bias: bias)).out
            try fire(.mlpPreLinear, layer, &linear)
            post = try linear.gated(by: pre, mlp.activation)
        } else {
            var result = try PackedMatrix.gatedProduct(x, gate: (wGate, weights.bGate), linear: (weights.wIn, bias), mlp.activation,
                                                       keepsLinear: plan.touches(.mlpPreLinear, layer))
            try fire(.mlpPre, layer, &result.pre)
            if var linear = result.linear { try fire(.mlpPreLinear, layer, &linear) }
            post = result.out
        }
        return biasAfter ? try affine(post, weight: nil, bias: weights.bIn) : post
    }
}
