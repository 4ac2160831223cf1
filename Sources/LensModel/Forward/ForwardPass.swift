// One forward pass, in firing order. Each component lives in its own file; here is the order they come in, and the one
// place where hooks meet values (`fire`). Values nobody looks at are not stored; every value is a fresh (recycled) buffer,
// so what a hook or the cache keeps is never overwritten.

import LensFiles
import LensHooks
import LensTensor

/// A pass over new positions, which may follow those in a key-value cache.
final class ForwardPass {
    let config: ModelConfig
    let weights: Weights
    let plan: HookPlan
    let batch: Int
    /// New positions in this pass; 1 once it went on with the last alone.
    private(set) var pos: Int
    /// Positions before them.
    private(set) var offset: Int
    let step: Int
    /// Where the prompt ends.
    let promptLength: Int
    /// Left padding of each row.
    let padding: [Int]
    /// Whether each position, cached ones included, is a real token: `[batch][offset + pos]`.
    let isReal: [[Bool]]
    let positionSlice: TensorIndex
    let keepsKeyValues: Bool
    var keyValues: KeyValueCache
    var cache: ActivationCache
    /// The kind of each token, `[batch, pos]`; nil: all 0.
    var tokenTypes: IntTensor?

    /// 0 where a key is masked, `[batch × keys]`; nil where left padding says it all.
    let keyMask: [UInt8]?
    /// Each new position's place among its row's real tokens: `[batch × pos]`.
    private(set) var positionIDs: [Int]
    /// The layer from whose queries on only the last position is computed, as nobody reads the others; nil: all are read.
    var narrowingLayer: Int?
    /// What a shortformer's queries and keys are given: `[batch, pos, d_model]`; nil in other models.
    lazy var shortformerPositions: Tensor? = config.position == .shortformer ? try? positionEmbeddings() : nil
    private lazy var rotary = rotaryTable(local: false)
    private lazy var localRotary = rotaryTable(local: true)

    /// - Parameters:
    ///   - stack: which of the model's stacks of blocks to run.
    ///   - newMask: whether each new position is a real token: `[batch][pos]`.
    ///   - isWhole: whether every layer runs.
    ///   - keyValues: what came before; moved into the pass, so that pages nobody else holds are written in place.
    ///   - keepsKeyValues: whether the cache outlives the pass; else each layer's pages are let go after it.
    init(_ model: Transformer, stack: HookStack = .blocks, plan: HookPlan, _ input: Transformer.Input, newMask: [[Bool]], isWhole: Bool,
         taking keyValues: inout KeyValueCache, keepsKeyValues: Bool, _ options: Transformer.Options) throws {
        let encoder = stack == .encoder ? model.encoder : nil
        config = encoder?.config ?? model.config
        weights = encoder?.weights ?? model.weights
        self.plan = plan.on(stack)
        positionSlice = options.posSlice
        self.keepsKeyValues = keepsKeyValues
        batch = newMask.count
        pos = newMask.first?.count ?? 0
        offset = keyValues.count
        step = options.step ?? keyValues.passes
        promptLength = options.promptLength ?? offset + pos
        keyValues.identity = model.identity
        try keyValues.extend(by: newMask, tokens: input.tokens, areTokensOwn: input.tokens != nil && isWhole && !plan.hasEdits)
        let real = keyValues.isReal, padding = keyValues.padding
        isReal = real
        self.padding = padding
        cache = ActivationCache(nLayers: config.nLayers, hasGatedMLP: config.mlp?.gate != nil)
        let hasHoles = zip(real, padding).contains { row, pad in row.dropFirst(pad).contains(false) }
        keyMask = hasHoles ? real.flatMap { row in row.map { $0 ? 1 : 0 } } : nil
        let offset = offset
        positionIDs = real.flatMap { row -> [Int] in
            var seen = 0
            let ids = row.map { real -> Int in
                if real { seen += 1 }
                return max(0, seen - 1)
            }
            return Array(ids[offset...])
        }
        if let last = positionIDs.max(), let limit = config.positionLimit, last >= limit {
            throw LensError(.usage, "input longer than the model's context", expected: "at most \(limit) positions",
                            found: "\(last + 1)", advice: "shorten the input")
        }
        self.keyValues = keyValues
        keyValues = KeyValueCache(for: config, batch: 0)
    }

    private func rotaryTable(local: Bool) -> Result<(table: RotaryTable, rows: [Int]), Error>? {
        guard case .rotary(let rotary) = config.position else { return nil }
        let own = local ? config.attention.localRotary ?? rotary : rotary
        let width = max(1, pos)
        let lengths = (0..<batch).map { row in (positionIDs[row * width..<(row + 1) * width].max() ?? 0) + 1 }
        return Result { try own.table(for: positionIDs, lengths: lengths) }
    }

    /// The angles of a layer and each position's row of them; nil where nothing turns.
    func rotary(in layer: Int) throws -> (table: RotaryTable, rows: [Int])? {
        guard config.attention.rotates(layer) else { return nil }
        let isLocal = config.attention.localRotary != nil && config.attention.window?.size(in: layer) != nil
        return try (isLocal ? localRotary : rotary)?.get()
    }

    /// Runs the hooks of a site on `tensor`; the cache takes what they leave.
    /// - Parameter routed: of an expert's activation, which of batch × pos each row is.
    func fire(_ site: HookSite, _ layer: Int? = nil, expert: Int? = nil, routed: [Int]? = nil, _ tensor: inout Tensor) throws {
        guard plan.touches(site, layer, expert: expert) else { return }
        var context = HookContext(point: HookPoint(site, stack: plan.stack, layer: layer, expert: expert), positions: offset..<offset + pos,
                                  step: step, isReal: isReal, promptLength: promptLength)
        context.routed = routed
        try plan.fire(context, &tensor) { point, tensor in
            cache.store(point.name, try tensor.positions(positionSlice, point.site, routed: routed, pos: pos))
        }
    }

    // MARK: Embedding

    /// `tokens: [batch, pos]` to the first residual stream `[batch, pos, d_model]`.
    func embed(_ tokens: inout IntTensor) throws -> Tensor {
        // A decoder's own tokens have no sites where its encoder's do.
        if plan.stack == .decoder { return try tokenEmbeddings(tokens) }
        if plan.touches(.tokens) { try fireTokens(&tokens) }
        if let parts = config.encoderParts { return try summedEmbedding(tokens, parts) }
        return try addingPositions(embedded(tokens))
    }

    /// Embeddings in place of tokens', and tokens after them, to the first residual stream.
    func embed(_ given: Tensor, then tokens: IntTensor?) throws -> Tensor {
        guard let tokens, tokens.shape[1] > 0 else { return try addingPositions(given) }
        var all = Tensor(zeros: [batch, pos, config.dModel])
        all[.all, .upTo(given.shape[1])] = given
        all[.all, .from(given.shape[1])] = try embedded(tokens)
        return try addingPositions(all)
    }

    /// The embeddings of tokens.
    private func embedded(_ tokens: IntTensor) throws -> Tensor {
        try normLayer(config.embedNorm, weights.embedNorm, tokenEmbeddings(tokens), .embedScale, .embedNormalized, nil)
    }

    private func addingPositions(_ embeddings: Tensor) throws -> Tensor {
        var embedded = embeddings
        try fire(.embed, nil, &embedded)
        guard var positions = try positionEmbeddings() else { return embedded }
        try fire(.posEmbed, nil, &positions)
        guard config.position == .shortformer else { return try embedded + positions }
        shortformerPositions = positions
        return embedded
    }

    /// `[batch, pos, d_model]`, projected to that where the table is of another width.
    func tokenEmbeddings(_ tokens: IntTensor) throws -> Tensor {
        guard var flat = try weights.wE?.gatherRows(tokens.array) ?? weights.wU?.gatherColumns(tokens.array) else {
            throw LensError(.weights, "missing parameter", at: config.tokenEmbeddingName)  // unreachable: checked when the model was made
        }
        if weights.wE == nil, config.tiedEmbeddingScale != 1 { flat = try flat * Tensor(Float(config.tiedEmbeddingScale)) }
        if let projection = weights.embedProjection { flat = try projection.product(flat).out }
        return try flat.reshaped(tokens.shape + [config.dModel])
    }

    /// `[batch, pos, d_model]`; nil where positions are not embedded.
    func positionEmbeddings() throws -> Tensor? {
        guard let wPos = weights.wPos else { return nil }
        var positions = try wPos.gatherRows(positionIDs).reshaped([batch, pos, config.dModel])
        // What stands at a padded position is never read by a real token; zero, as in TransformerLens.
        try positions.zeroRows(isReal.flatMap { row in row[offset...].map { !$0 } })
        return positions
    }

    /// Hooks see tokens as numbers, and may put others in their place.
    private func fireTokens(_ tokens: inout IntTensor) throws {
        var values = try Tensor(tokens.array.map(Float.init), shape: tokens.shape)
        try fire(.tokens, nil, &values)
        tokens = try IntTensor(values.array.map { value in
            guard let id = Int(exactly: value), (0..<config.dVocab).contains(id) else {
                throw LensError(.usage, "an edit put in a token that does not exist", at: HookSite.tokens.rawValue,
                                expected: "0..<\(config.dVocab)", found: "\(value)")
            }
            return id
        }, shape: tokens.shape)
    }

    // MARK: Blocks

    /// Goes on with the last position alone: keys and values of the others are in the cache, and nothing else of them is read.
    func narrowToLast() {
        positionIDs = (0..<batch).map { positionIDs[($0 + 1) * pos - 1] }
        (offset, pos) = (offset + pos - 1, min(1, pos))
    }

    /// Of a residual stream, the positions the pass goes on with.
    func goingOn(_ stream: Tensor) throws -> Tensor { stream.shape[1] > pos ? try stream.at(.all, .from(-1)) : stream }

    /// One block: residual stream in, residual stream out.
    func block(_ layer: Int, _ residual: Tensor) throws -> Tensor {
        var residual = residual
        try fire(.residPre, layer, &residual)
        let block = weights.blocks[layer]
        if config.postNorm { return try postNormBlock(layer, block, residual) }
        var stream = try attentionLayer(layer, block, residual)
        if let mlp = block.mlp {
            if config.parallelAttnMLP {
                stream = try mlpLayer(layer, mlp, block, input: goingOn(residual), residual: stream)
            } else {
                try fire(.residMid, layer, &stream)
                if let cross = block.cross { stream = try crossAttentionLayer(layer, cross, block.ln2, stream) }
                stream = try mlpLayer(layer, mlp, block, input: stream, residual: stream)
            }
        }
        try fire(.residPost, layer, &stream)
        return stream
    }

    // MARK: Unembedding

    /// The final norm. - Returns: what W_U multiplies, `[batch, pos, d_model]`.
    func finalNorm(_ residual: Tensor) throws -> Tensor {
        let (scale, normalized): (HookSite, HookSite) = switch plan.stack {
        case .blocks: (.lnFinalScale, .lnFinalNormalized)
        case .encoder: (.encoderFinalScale, .encoderFinalNormalized)
        case .decoder: (.decoderFinalScale, .decoderFinalNormalized)
        }
        return try normLayer(config.finalNorm, weights.lnFinal, residual, scale, normalized, nil)
    }

    /// Logits: `[batch, pos, d_vocab_out]`.
    func unembed(_ normalized: Tensor) throws -> Tensor {
        var input = config.unembedScale == 1 ? normalized : try normalized.scaled(by: Float(config.unembedScale))
        try fire(.unembedIn, nil, &input)
        var logits = try weights.logits(ofScaled: input)
        try fire(.unembedOut, nil, &logits)
        return try config.outputSoftcap.map { try logits.softcapped(Float($0)) } ?? logits
    }

    /// A norm with its two sites. An edit cuts it where the site is; the bits are the same either way.
    func normLayer(_ norm: ModelConfig.Norm?, _ weights: NormWeights, _ x: Tensor, _ scaleSite: HookSite,
                   _ normalizedSite: HookSite, _ layer: Int?) throws -> Tensor {
        guard let norm else { return x }
        let eps = Float(norm.eps)
        let editsScale = plan.edits(scaleSite, layer), editsNormalized = plan.edits(normalizedSite, layer)
        var scale: Tensor?
        if editsScale, var computed = try LensTensor.norm(norm.kind, x, eps: eps, wantsOut: false, wantsScale: true).scale {
            try fire(scaleSite, layer, &computed)
            scale = computed
        }
        let result = try LensTensor.norm(norm.kind, x, eps: eps, scale: scale, weight: weights.w, bias: weights.b,
                                         wantsOut: !editsNormalized, wantsNormalized: plan.touches(normalizedSite, layer),
                                         wantsScale: !editsScale && plan.touches(scaleSite, layer))
        if var read = result.scale { try fire(scaleSite, layer, &read) }
        guard var normalized = result.normalized else { return result.out ?? x }
        try fire(normalizedSite, layer, &normalized)
        return try result.out ?? affine(normalized, weight: weights.w, bias: weights.b)
    }
}
