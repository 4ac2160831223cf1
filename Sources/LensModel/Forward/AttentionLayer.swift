// One attention layer: ln1, queries, keys and values, their norms and rotation, the key-value cache, attention, W_O and the residual.

import LensFiles
import LensHooks
import LensTensor
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

extension ForwardPass {
    /// - Returns: `residual` plus what attention writes: `[batch, pos, d_model]`, of the last position where the pass goes on with it.
    func attentionLayer(_ layer: Int, _ block: BlockWeights, _ residual: Tensor) throws -> Tensor {
        var (q, k, v) = try queriesKeysValues(layer, block, residual)
        try fire(.q, layer, &q)
        try fire(.k, layer, &k)
        try fire(.v, layer, &v)
        q = try headNorm(block.qNorm, q, .qNormScale, .qNormNormalized, layer)
        k = try headNorm(block.kNorm, k, .kNormScale, .kNormNormalized, layer)
        if let clip = config.attention.clip.map(Float.init) {
            (q, k, v) = (try q.clamped(to: -clip...clip), try k.clamped(to: -clip...clip), try v.clamped(to: -clip...clip))
        }
        if let (table, rows) = try rotary(in: layer) {
            q = try table.rotate(q, positions: layer == narrowingLayer ? (0..<batch).map { rows[($0 + 1) * pos - 1] } : rows)
            k = try table.rotate(k, positions: rows)
        }
        // In a layer that does not rotate, of a model that does, these show queries and keys as they are.
        if isRotary { try fire(.rotQ, layer, &q) }
        // Runs between other layers may have passed it by.
        guard keyValues.layers[layer].count == offset else {
            throw LensError(.usage, "the key-value cache does not reach this layer", at: "layer \(layer)", expected: "\(offset) positions",
                            found: "\(keyValues.layers[layer].count)", advice: "run all passes of a cache over the same layers")
        }
        try keyValues.layers[layer].append(keys: k, values: v, isTransient: !keepsKeyValues)
        if layer == narrowingLayer { narrowToLast() }
        if let start = config.attention.logScalingFrom { q = try logScaled(q, from: start) }
        var pages = keyValues.layers[layer]
        if plan.touches(.rotK, layer), isRotary {
            var allKeys = try pages.keys(0..<pages.count)
            try fire(.rotK, layer, &allKeys)
            // Of this step only: the cache keeps its own keys.
            if plan.edits(.rotK, layer) { pages = try pages.replacingKeys(allKeys) }
        }
        let z = try attend(layer, q, pages, attentionSpec(layer, block), keyMask)
        if !keepsKeyValues { keyValues.layers[layer] = KeyValuePages(kvHeads: config.kvHeads, dHead: config.dHead, first: padding) }
        return try writeOut(layer, block, z, goingOn(residual))
    }

    /// The sites of one kind of attention.
    struct AttentionSites {
        let scores: HookSite, pattern: HookSite, z: HookSite, result: HookSite, out: HookSite
        static let own = AttentionSites(scores: .attnScores, pattern: .pattern, z: .z, result: .result, out: .attnOut)
        static let cross = AttentionSites(scores: .crossAttnScores, pattern: .crossPattern, z: .crossZ, result: .crossResult, out: .crossAttnOut)
    }

    // MARK: Queries, keys, values

    private typealias QKV = (q: Tensor, k: Tensor, v: Tensor)

    private func queriesKeysValues(_ layer: Int, _ block: BlockWeights, _ residual: Tensor) throws -> QKV {
        let inputs = try splitInputs(layer, residual)
        let x = try normLayer(config.inputNorm, block.ln1, residual, .ln1Scale, .ln1Normalized, layer)
        if inputs.q == nil, inputs.k == nil, inputs.v == nil, shortformerPositions == nil, layer != narrowingLayer {
            let all = try PackedMatrix.products(x, [(block.wQ, block.bQ), (block.wK, block.bK), (block.wV, block.bV)])
            return (try all[0].reshaped([batch, pos, config.nHeads, config.dHead]), try all[1].reshaped([batch, pos, config.kvHeads, config.dHead]),
                    try all[2].reshaped([batch, pos, config.kvHeads, config.dHead]))
        }
        // Positions that queries and keys see, and values do not.
        let placed = try shortformerPositions.map { try x + $0 } ?? x
        func project(_ matrix: PackedMatrix, _ bias: Tensor?, _ heads: Int, _ input: Tensor?, from shared: Tensor, isPlaced: Bool = true) throws -> Tensor {
            if let input, try followsHeads(layer, input, residual) {
                return try productOfHeads(layer, matrix, bias, input, block.ln1, isPlaced ? shortformerPositions : nil)
                    .reshaped([batch, pos, heads, config.dHead])
            }
            var out = try matrix.product(shared, epilogue: Epilogue(bias: bias)).out
            if let input {
                try reproject(&out, matrix, bias, heads, input, block, residual: residual, shared: shared, isPlaced ? shortformerPositions : nil)
            }
            return try out.reshaped([batch, shared.shape[1], heads, config.dHead])
        }
        return (try project(block.wQ, block.bQ, config.nHeads, inputs.q, from: layer == narrowingLayer ? placed.at(.all, .from(-1)) : placed),
                try project(block.wK, block.bK, config.kvHeads, inputs.k, from: placed),
                try project(block.wV, block.bV, config.kvHeads, inputs.v, from: x, isPlaced: false))
    }

    /// The residual stream as each head reads it, where someone edits that: `[batch, pos, head, d_model]`.
    private func splitInputs(_ layer: Int, _ residual: Tensor) throws -> (q: Tensor?, k: Tensor?, v: Tensor?) {
        var shared: Tensor?
        if plan.touches(.attnIn, layer) {
            var input = try perHead(residual, config.nHeads)
            try fire(.attnIn, layer, &input)
            shared = plan.edits(.attnIn, layer) ? input : nil
        }
        func split(_ site: HookSite, _ heads: Int) throws -> Tensor? {
            guard plan.touches(site, layer) else { return shared }
            var input = try shared ?? perHead(residual, heads)
            try fire(site, layer, &input)
            return plan.edits(site, layer) ? input : shared
        }
        return (try split(.qInput, config.nHeads), try split(.kInput, config.kvHeads), try split(.vInput, config.kvHeads))
    }

    private func perHead(_ residual: Tensor, _ heads: Int) throws -> Tensor {
        try residual.reshaped([batch, pos, 1, config.dModel]).broadcast(to: [batch, pos, heads, config.dModel]).contiguous()
    }

    /// Recomputes the columns of heads whose input an edit changed. Rows left as they were keep the shared normalised row
    /// (with its own edits), so an edit that returns its input changes nothing.
    private func reproject(_ out: inout Tensor, _ matrix: PackedMatrix, _ bias: Tensor?, _ heads: Int, _ input: Tensor,
                           _ block: BlockWeights, residual: Tensor, shared: Tensor, _ positions: Tensor?) throws {
        for head in 0..<heads {
            let rows = try input.at(.all, .all, .at(head)).contiguous()
            let changed = try changedRows(rows, residual)
            guard changed.contains(true) else { continue }
            var x = rows
            if let norm = config.inputNorm {
                let result = try LensTensor.norm(norm.kind, rows, eps: Float(norm.eps), weight: block.ln1.w, bias: block.ln1.b)
                x = result.out ?? rows
            }
            if let positions { x = try x + positions }
            for (index, isChanged) in changed.enumerated() where !isChanged {
                let row = index / pos, place = index % pos
                try x.set(.at(row), .at(place), to: shared.at(.at(row), .at(place)))
            }
            try matrix.updateColumns(head * config.dHead..<(head + 1) * config.dHead, of: &out, from: x, bias: bias)
        }
    }

    /// For each of batch × pos rows, whether any bit differs.
    private func changedRows(_ a: Tensor, _ b: Tensor) throws -> [Bool] {
        let width = config.dModel
        return try a.withUnsafeElements { a in
            try b.withUnsafeElements { b in
                (0..<batch * pos).map { row in
                    (row * width..<(row + 1) * width).contains { a[$0].bitPattern != b[$0].bitPattern }
                }
            }
        }
    }

    // MARK: Between the products and attention

    private var isRotary: Bool {
        if case .rotary = config.position { return true }
        return false
    }

    /// A norm of queries or keys, `[batch, pos, head, d_head]`.
    private func headNorm(_ weights: NormWeights, _ x: Tensor, _ scaleSite: HookSite, _ normalizedSite: HookSite, _ layer: Int) throws -> Tensor {
        guard let norm = config.attention.qkNorm else { return x }
        let flat = [batch, x.shape[1], x.shape[2] * x.shape[3]]
        switch config.attention.qkNormSpan {
        case .head: return try normLayer(norm, weights, x, scaleSite, normalizedSite, layer)
        case .headWithOwnWeights:
            let normalized = try normLayer(norm, NormWeights(w: nil, b: nil), x, scaleSite, normalizedSite, layer)
            return try affine(normalized.reshaped(flat), weight: weights.w, bias: weights.b).reshaped(x.shape)
        case .allHeads: return try normLayer(norm, weights, x.reshaped(flat), scaleSite, normalizedSite, layer).reshaped(x.shape)
        }
    }

    /// Queries past position `start` times log(p + 1) / log(start).
    private func logScaled(_ q: Tensor, from start: Int) throws -> Tensor {
        guard (positionIDs.max() ?? 0) >= start, start > 1 else { return q }
        let factors = positionIDs.map { $0 < start ? 1 : Float(log(Double($0 + 1)) / log(Double(start))) }
        return try q * Tensor(factors, shape: [batch, pos, 1, 1])
    }

    // MARK: Attention

    /// - Returns: z, `[batch, pos, head, d_head]`.
    func attend(_ layer: Int, _ q: Tensor, _ pages: KeyValuePages, _ spec: AttentionSpec, _ keyMask: [UInt8]?,
                sites: AttentionSites = .own) throws -> Tensor {
        var source = AttentionSource.queries(q)
        if plan.edits(sites.scores, layer),
           var scores = try attention(spec, from: source, over: pages, keyMask: keyMask, storing: .scores).scores {
            try fire(sites.scores, layer, &scores)
            source = .scores(scores)
        }
        if plan.edits(sites.pattern, layer) {
            var wanted: AttentionOutputs = .pattern
            if !plan.edits(sites.scores, layer), plan.touches(sites.scores, layer) { wanted.insert(.scores) }
            let result = try attention(spec, from: source, over: pages, keyMask: keyMask, storing: wanted)
            if var scores = result.scores { try fire(sites.scores, layer, &scores) }
            if var pattern = result.pattern {
                try fire(sites.pattern, layer, &pattern)
                source = .pattern(pattern)
            }
        }
        var wanted: AttentionOutputs = .z
        if case .queries = source, plan.touches(sites.scores, layer) { wanted.insert(.scores) }
        if !plan.edits(sites.pattern, layer), plan.touches(sites.pattern, layer) { wanted.insert(.pattern) }
        let result = try attention(spec, from: source, over: pages, keyMask: keyMask, storing: wanted)
        if var scores = result.scores { try fire(sites.scores, layer, &scores) }
        if var pattern = result.pattern { try fire(sites.pattern, layer, &pattern) }
        guard var z = result.z else { return q }  // unreachable: z was asked for
        try fire(sites.z, layer, &z)
        return z
    }

    private func attentionSpec(_ layer: Int, _ block: BlockWeights) -> AttentionSpec {
        let inverse = config.attention.scaleByInverseLayer ? Double(layer + 1) : 1
        var slopes: [Float]?
        if case .alibi(let alibi) = config.position { slopes = alibi.slopes(heads: config.nHeads) }
        var spec = AttentionSpec(heads: config.nHeads, kvHeads: config.kvHeads, dHead: config.dHead,
                             scoreScale: Float(1 / (config.attention.scale * inverse)),
                             softcap: config.attention.softcap.map { Float($0) }, alibi: slopes, roundsALiBi: config.position == .alibi(.roundedKeys),
                             causal: config.attention.direction == .causal, window: config.attention.window?.size(in: layer))
        spec.relative = block.relative
        spec.sinks = block.sinks?.array
        spec.sinksGraph = block.sinks?.graph
        return spec
    }

    // MARK: Output

    /// W_O, head by head whether or not anyone looks at the heads, and the residual.
    private func writeOut(_ layer: Int, _ block: BlockWeights, _ z: Tensor, _ residual: Tensor) throws -> Tensor {
        var written = try headsOut(layer, block.wO, block.bO, z, residual, .own)
        if config.normPlacement == .onOutput {
            written.out = try normLayer(config.norm, block.ln1, written.out, .ln1Scale, .ln1Normalized, layer)
        }
        written.out = try normLayer(config.outputNorm, block.ln1Post, written.out, .ln1PostScale, .ln1PostNormalized, layer)
        return try addOut(.attnOut, layer, written, residual)
    }

    /// What heads write, and `residual` besides unless something comes between; what `addOut` takes.
    func headsOut(_ layer: Int, _ wO: PackedMatrix, _ bO: Tensor?, _ z: Tensor, _ residual: Tensor,
                  _ sites: AttentionSites) throws -> (out: Tensor, linear: Tensor?) {
        // A norm or a factor comes between the sum and the residual stream, as an edit does.
        let edits = plan.edits(sites.out, layer) || config.changesWhatIsWritten, touches = plan.touches(sites.out, layer)
        if plan.touches(sites.result, layer) {
            var result = try results(wO, z)
            try fire(sites.result, layer, &result)
            return try result.summedParts(bias: bO, residual: edits ? nil : residual, keepsLinear: touches && !edits)
        }
        let rows = try z.reshaped([batch, pos, config.nHeads * config.dHead])
        let epilogue = Epilogue(bias: bO, residual: edits ? nil : residual, keepsLinear: touches && !edits)
        return try wO.product(rows, block: config.dHead, epilogue: epilogue)
    }

    /// Fires a site that is added to the residual stream: `written` is the sum already, or, where an edit comes between,
    /// the addend.
    func addOut(_ site: HookSite, _ layer: Int, _ written: (out: Tensor, linear: Tensor?), _ residual: Tensor) throws -> Tensor {
        if plan.edits(site, layer) || config.changesWhatIsWritten {
            var addend = try config.residualScale == 1 ? written.out : written.out.scaled(by: Float(config.residualScale))
            try fire(site, layer, &addend)
            return try residual + addend
        }
        if var addend = written.linear { try fire(site, layer, &addend) }
        return written.out
    }

    /// What each head writes: `[batch, pos, head, d_model]`.
    private func results(_ wO: PackedMatrix, _ z: Tensor) throws -> Tensor {
        let written = try z.heads().enumerated().map { head, rows in
            try wO.product(rows, rows: head * config.dHead..<(head + 1) * config.dHead, block: config.dHead).out
        }
        return try Tensor(heads: written, shape: [batch, pos, config.nHeads, config.dModel])
    }
}
