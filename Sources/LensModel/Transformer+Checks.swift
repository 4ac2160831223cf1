// What a run refuses: input, masks, caches and layer bounds that do not fit the model.

import LensFiles
import LensHooks
import LensTensor

extension Transformer {
    /// The batch and number of positions of an input that fits the model.
    func checkedShape(_ input: Input) throws -> (batch: Int, pos: Int) {
        switch input {
        case .tokens(let tokens):
            guard tokens.rank == 2, tokens.shape[0] > 0, tokens.shape[1] > 0 else {
                throw LensError(.usage, "nothing to run on", expected: "tokens [batch, pos], at least one of each",
                                found: "\(tokens.shape)")
            }
            if let wrong = tokens.array.first(where: { !(0..<config.dVocab).contains($0) }) {
                throw LensError(.usage, "token out of range", expected: "0..<\(config.dVocab)", found: "\(wrong)")
            }
            return (tokens.shape[0], tokens.shape[1])
        case .residual(let residual, let tokens):
            guard residual.rank == 3, residual.shape[0] > 0, residual.shape[1] > 0, residual.shape[2] == config.dModel,
                  tokens.map({ $0.shape == Array(residual.shape.prefix(2)) }) ?? true else {
                throw LensError(.usage, "not a residual stream of this model", expected: "[batch, pos, \(config.dModel)] with tokens [batch, pos]",
                                found: "\(residual.shape)" + (tokens.map { " and tokens \($0.shape)" } ?? ""))
            }
            return (residual.shape[0], residual.shape[1])
        case .embeddings(let embeddings, let then):
            guard embeddings.rank == 3, embeddings.shape[0] > 0, embeddings.shape[1] > 0, embeddings.shape[2] == config.dModel,
                  then.map({ $0.rank == 2 && $0.shape[0] == embeddings.shape[0] }) ?? true else {
                throw LensError(.usage, "not embeddings of this model", expected: "[batch, pos, \(config.dModel)], and tokens [batch, more]",
                                found: "\(embeddings.shape)" + (then.map { " and tokens \($0.shape)" } ?? ""))
            }
            guard let then, then.shape[1] > 0 else { return (embeddings.shape[0], embeddings.shape[1]) }
            return (embeddings.shape[0], embeddings.shape[1] + (try checkedShape(.tokens(then)).pos))
        }
    }

    /// A layer in 0...nLayers; negative counts from the end.
    func layerBound(_ layer: Int?, _ name: String) throws -> Int? {
        guard let layer else { return nil }
        let resolved = layer < 0 ? layer + config.nLayers : layer
        guard (0...config.nLayers).contains(resolved) else {
            throw LensError(.usage, "no such layer", at: name, expected: "\(-config.nLayers)...\(config.nLayers)", found: "\(layer)")
        }
        return resolved
    }

    /// Whether each new position is a real token.
    func checkedMask(_ mask: IntTensor?, _ shape: (batch: Int, pos: Int)) throws -> [[Bool]] {
        guard let mask else { return Array(repeating: Array(repeating: true, count: shape.pos), count: shape.batch) }
        guard mask.shape == [shape.batch, shape.pos], mask.array.allSatisfy({ $0 == 0 || $0 == 1 }) else {
            throw LensError(.usage, "attention mask", expected: "zeros and ones [\(shape.batch), \(shape.pos)]", found: "shape \(mask.shape)")
        }
        return mask.rows.map { row in row.map { $0 == 1 } }
    }

    /// The cache to go on from: the given one if it fits, else an empty one. What its windows lack is recomputed.
    func checkedCache(_ keyValues: KeyValueCache?, _ batch: Int, _ plan: HookPlan, _ options: Options) throws -> KeyValueCache {
        guard var keyValues else { return KeyValueCache(for: config, batch: batch) }
        guard keyValues.batch == batch, keyValues.layers.count == config.nLayers,
              keyValues.layers.allSatisfy({ $0.kvHeads == config.kvHeads && $0.dHead == config.dHead }) else {
            throw LensError(.usage, "key-value cache of another model or batch", expected: "\(config.nLayers) layers, batch \(batch)",
                            found: "\(keyValues.layers.count) layers, batch \(keyValues.batch)")
        }
        guard config.attention.direction == .causal || keyValues.count == 0 else {
            throw LensError(.usage, "a bidirectional model cannot go on from a key-value cache")
        }
        guard keyValues.count > 0 else { return keyValues }
        guard keyValues.identity === identity else {
            throw LensError(.usage, "key-value cache of another model or batch", expected: "a cache that this model made",
                            found: "another model's keys and values, of the same shapes")
        }
        if !keyValues.missingLayers(wantingAll: plan.wantsAllKeys).isEmpty { try recompute(&keyValues, options) }
        return keyValues
    }

    /// Fills a cache with its tokens' keys and values again, all the way back.
    private func recompute(_ keyValues: inout KeyValueCache, _ options: Options) throws {
        try keyValues.requireRecomputable()
        var run = Options(returnType: .none)
        run.cancellation = options.cancellation
        run.attentionMask = try IntTensor(keyValues.isReal.joined().map { $0 ? 1 : 0 }, shape: [keyValues.batch, keyValues.count])
        let plan = try HookPlan(hooks: [], caching: .none, points: config.hookPoints, nLayers: config.nLayers)
        let input = Input.tokens(try IntTensor(rows: keyValues.tokens))
        var fresh = KeyValueCache(for: config, batch: keyValues.batch)
        let pass = try ForwardPass(self, plan: plan, input, newMask: keyValues.isReal, isWhole: true, taking: &fresh, keepsKeyValues: true, run)
        _ = try layers(pass, input, 0..<config.nLayers, keyValues.isReal, run, stopped: false)
        keyValues.layers = pass.keyValues.layers
    }

    /// Next-token cross-entropy (TransformerLens' `lm_cross_entropy_loss`): the mean over pairs of real tokens, or
    /// `[batch, pos - 1]` with zeros where either is masked.
    func loss(_ logits: Tensor, _ tokens: IntTensor, _ mask: [[Bool]], perToken: Bool) throws -> Tensor {
        if let wrong = tokens.rows.lazy.flatMap({ $0.dropFirst() }).first(where: { $0 >= config.dVocabOut }) {
            throw LensError(.usage, "no loss: a token is no output of this model", expected: "0..<\(config.dVocabOut)", found: "\(wrong)")
        }
        return try logits.nextTokenLoss(tokens, mask: mask, perToken: perToken)
    }
}

extension Transformer.Input {
    /// The tokens, where it is nothing but tokens.
    var tokens: IntTensor? { if case .tokens(let tokens) = self { return tokens } else { return nil } }

    var isResidual: Bool { if case .residual = self { return true } else { return false } }
}

extension HookPlan {
    /// Whether a pass needs the keys of every position in a layer, those behind its window included.
    func wantsAllKeys(in layer: Int) -> Bool {
        touches(.rotK, layer) || edits(.attnScores, layer) || edits(.pattern, layer)
    }
}
