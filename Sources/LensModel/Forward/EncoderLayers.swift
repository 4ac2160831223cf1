// What an encoder like BERT has around its blocks: summed embeddings, the masked-language head, the pooler and the
// next-sentence head. The heads are computed where someone wants them.

import LensFiles
import LensHooks
import LensTensor

extension ForwardPass {
    /// Tokens, positions and kinds of token, summed and normalised: `[batch, pos, d_model]`.
    func summedEmbedding(_ tokens: IntTensor, _ parts: ModelConfig.EncoderParts) throws -> Tensor {
        var sum = try tokenEmbeddings(tokens)
        try fire(.wordEmbed, nil, &sum)
        if var positions = try positionEmbeddings() {
            try fire(.wordPosEmbed, nil, &positions)
            sum = try sum + positions
        }
        if let table = weights.wTokenType {
            let types = tokenTypes?.array ?? Array(repeating: 0, count: batch * pos)
            var kinds = try table.gatherRows(types).reshaped([batch, pos, config.dModel])
            try fire(.tokenTypeEmbed, nil, &kinds)
            sum = try sum + kinds
        }
        var full = try normLayer(config.embedNorm, weights.embedNorm, sum, .embedScale, .embedNormalized, nil)
        try fire(.fullEmbed, nil, &full)
        return full
    }

    /// Pooler and next-sentence head of the encoder's output `[batch, pos, d_model]`, where someone looks at them.
    func pooledHeads(_ output: Tensor) throws {
        guard let pooler = weights.pooler, plan.touches(.poolerOut) || plan.touches(.nextSentenceOut) else { return }
        let first = try output.reshaped([batch * pos, config.dModel]).gatherRows(padding.enumerated().map { $0 * pos + min($1, pos - 1) })
        var pooled = try pooler.w.product(first, epilogue: Epilogue(bias: pooler.b)).out.tanh()
        try fire(.poolerOut, nil, &pooled)
        guard let head = weights.nextSentenceHead, plan.touches(.nextSentenceOut) else { return }
        var logits = try head.w.product(pooled, epilogue: Epilogue(bias: head.b)).out
        try fire(.nextSentenceOut, nil, &logits)
    }

    /// The transform before the unembedding: `[batch, pos, d_model]`; the input where there is none.
    func mlmTransform(_ output: Tensor) throws -> Tensor {
        guard let layer = weights.mlmHead, let head = config.encoderParts?.mlmHead else { return output }
        let transformed = try layer.w.product(output, epilogue: Epilogue(bias: layer.b, activation: head.activation)).out
        return try normLayer(head.norm, weights.mlmNorm, transformed, .mlmScale, .mlmNormalized, nil)
    }
}
