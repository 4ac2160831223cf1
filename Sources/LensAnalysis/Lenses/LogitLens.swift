// The logit lens (nostalgebraist 2020): what the model would say if it stopped after each sublayer. Each residual stream goes
// through the final norm, with its own scale, and the unembedding; here are entropy, distance to what the model does say,
// the likeliest tokens, and where a given token stands. The logits of only a few positions and tokens exist at a time.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// What each residual stream of a run says, position by position.
public struct LogitLens: AnalysisResult {
    /// `0_pre`, `0_mid`, …, `final_post`: what the first axis stands for.
    public let labels: [String]
    /// Entropy of the next-token distribution, in nats: `[n, *batch, pos]`.
    public let entropy: Tensor
    /// KL divergence from the model's own output, KL(output ‖ lens), in nats: `[n, *batch, pos]`.
    public let klToOutput: Tensor
    /// The likeliest tokens, likeliest first: `[n, *batch, pos, k]`.
    public let topTokens: IntTensor
    /// Their log-probabilities.
    public let topLogProbs: Tensor
    /// Of the tokens asked about.
    public let targets: Targets?

    /// Where given tokens stand.
    public struct Targets: Sendable {
        /// The tokens: `[*batch, pos]`.
        public let tokens: IntTensor
        /// How many tokens are likelier: `[n, *batch, pos]`.
        public let rank: IntTensor
        /// Before the softmax, capped if the model's are.
        public let logit: Tensor
        public let logProb: Tensor
    }

    public var axisLabels: [(axis: String, labels: [String])] { [("layer", labels)] }

    public var tensors: [(name: String, tensor: Tensor)] {
        var all = [("entropy", entropy), ("kl_to_output", klToOutput), ("top_log_probs", topLogProbs)]
        if let tokens = try? topTokens.floats { all.append(("top_tokens", tokens)) }
        guard let targets else { return all }
        all += [("target_logit", targets.logit), ("target_log_prob", targets.logProb)]
        if let tokens = try? targets.tokens.floats, let rank = try? targets.rank.floats { all += [("target_tokens", tokens), ("target_rank", rank)] }
        return all
    }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        let places = entropy.count / max(1, labels.count), k = topTokens.shape.last ?? 0
        let entropies = entropy.array, divergences = klToOutput.array, logProbs = topLogProbs.array
        return .array(try labels.enumerated().map { layer, label in
            ["label": .string(label), "positions": .array(try (0..<places).map { place in
                let index = layer * places + place
                var fields = JSONObject([("entropy", .double(Double(entropies[index]))), ("kl_to_output", .double(Double(divergences[index])))])
                fields["top"] = .array(try (index * k..<(index + 1) * k).map { at in
                    ["token": .int(topTokens.array[at]), "text": .string(try token(topTokens.array[at])), "log_prob": .double(Double(logProbs[at]))]
                })
                if let targets {
                    let asked = targets.tokens.array[place]
                    fields["target"] = ["token": .int(asked), "text": .string(try token(asked)), "rank": .int(targets.rank.array[index]),
                                        "logit": .double(Double(targets.logit.array[index])), "log_prob": .double(Double(targets.logProb.array[index]))]
                }
                return .object(fields)
            })]
        })
    }
}

extension IntTensor {
    /// The same numbers as floats (exact up to 2²⁴).
    var floats: Tensor { get throws { try Tensor(array.map(Float.init), shape: shape) } }
}

extension ActivationCache {
    /// The logit lens over the cached residual streams.
    ///
    /// - Parameters:
    ///   - sublayers: the streams between attention and MLP too (parallel blocks have none).
    ///   - posSlice: the positions to look at.
    ///   - targets: a token for all (`[]`), for each row (`[batch]`) or for each position looked at (`[batch, pos]`).
    ///   - topK: how many tokens to name.
    /// - Throws: `LensError(.name)` if the streams (`resid_pre`, `resid_mid`, `resid_post`) are not cached.
    public func logitLens(in model: some HasTransformer, sublayers: Bool = true, posSlice: AxisSlice = .all, targets: IntTensor? = nil,
                          topK: Int = 5) throws -> LogitLens {
        let model = model.model
        let (stack, labels) = try accumulatedResid(in: model, inclMid: sublayers && model.config.traits.contains(.residMid), posSlice: posSlice)
        return try model.logitLens(of: stack, labels: labels, targets: targets, topK: topK)
    }
}

extension HasTransformer {
    /// The logit lens over a run on `tokens` (`[batch, pos]`), which caches the residual streams and nothing else.
    public func logitLens(_ tokens: IntTensor, sublayers: Bool = true, posSlice: AxisSlice = .all, targets: IntTensor? = nil, topK: Int = 5,
                          hooks: [Hook] = [], attentionMask: IntTensor? = nil) throws -> LogitLens {
        let sites: Set<HookSite> = sublayers ? [.residPre, .residMid, .residPost] : [.residPre, .residPost]
        var options = Transformer.Options(hooks: hooks, cache: .matching { name in HookPoint(name: name).map { sites.contains($0.site) } ?? false }, returnType: .none)
        options.attentionMask = attentionMask
        return try model.run(.tokens(tokens), options).cache.logitLens(in: model, sublayers: sublayers, posSlice: posSlice, targets: targets, topK: topK)
    }

    /// The logit lens over any states: each of `stack`, `[n, *batch, pos, d_model]`, is unembedded as if it were the final
    /// residual stream; the last is the output that the others are compared with.
    /// - Throws: `LensError(.shape)` for targets that do not fit, `(.usage)` for tokens the model does not put out.
    public func logitLens(of stack: Tensor, labels: [String], targets: IntTensor? = nil, topK: Int = 5) throws -> LogitLens {
        try logitLens(of: stack, labels: labels, targets: targets, topK: topK, chunks: nil)
    }

    /// - Parameter chunks: how much is unembedded at a time; nil for a choice that fits caches.
    package func logitLens(of stack: Tensor, labels: [String], targets: IntTensor?, topK: Int, chunks: LensChunks?) throws -> LogitLens {
        let model = model.model
        guard stack.rank >= 2, stack.shape[0] == labels.count, !labels.isEmpty, stack.shape[stack.rank - 1] == model.config.dModel else {
            throw LensError(.shape, "not a stack of residual streams", expected: "[\(labels.count), …, \(model.config.dModel)]", found: "\(stack.shape)")
        }
        guard (1...model.config.dVocabOut).contains(topK) else {
            throw LensError(.usage, "how many tokens to name", expected: "1...\(model.config.dVocabOut)", found: "\(topK)")
        }
        var reading = try LensReading(model, stack, targets: targets, topK: topK, chunks: chunks)
        try reading.read()
        return try reading.result(labels)
    }
}
