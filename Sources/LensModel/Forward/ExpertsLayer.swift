// A mixture of experts: the router, each token's best experts, and the sum of what they write. An expert computes the tokens
// that go to it and no others, in order of batch and position; a token adds up its experts in their order, from its own row
// alone, so its bits do not depend on who else is in the batch.

import LensFiles
import LensHooks
import LensTensor

/// The tokens that go to one expert, and their weights.
private struct Visits {
    var rows: [Int] = []
    /// Of their weights among those of all tokens.
    var places: [Int] = []
}

/// Where a gated MLP's values are seen.
private struct GatedSites {
    let gate: HookSite, linear: HookSite, post: HookSite
    static let expert = GatedSites(gate: .expertGate, linear: .expertPre, post: .expertPost)
    static let shared = GatedSites(gate: .sharedGate, linear: .sharedPre, post: .sharedPost)
}

extension ForwardPass {
    /// - Parameter x: `[batch, pos, d_model]`, normalised.
    /// - Returns: what the experts write: `[batch, pos, d_model]`.
    func experts(_ layer: Int, _ mlp: ModelConfig.MLP, _ weights: ExpertsWeights, _ x: Tensor) throws -> Tensor {
        let rows = try x.reshaped([batch * pos, config.dModel])
        var written = Tensor(zeros: rows.shape)
        let (routes, shares) = try route(layer, weights, rows)
        for (expert, visits) in routes.enumerated() {
            let sites = GatedSites.expert
            let isWatched = [sites.gate, sites.linear, sites.post].contains { plan.touches($0, layer, expert: expert) }
            guard !visits.rows.isEmpty || isWatched else { continue }
            let own = weights.experts[expert]
            let input = try rows.gatherRows(visits.rows)
            let post = try gated(layer, mlp.activation, weights.config.gate, own, input, sites, expert: expert, routed: visits.rows)
            try written.addRows(visits.rows, of: own.wOut.product(post, epilogue: Epilogue(bias: own.bOut)).out,
                                times: shares.elements(at: visits.places))
        }
        if let shared = weights.shared {
            let post = try gated(layer, mlp.activation, .plain, shared, x, .shared)
            let out = try shared.wOut.product(post, epilogue: Epilogue(bias: shared.bOut)).out.reshaped(rows.shape)
            let shares = try weights.sharedGate.map { try $0.product(rows).out.sigmoid().reshaped([batch * pos]) } ?? Tensor(repeating: 1, shape: [batch * pos])
            try written.addRows(Array(0..<batch * pos), of: out, times: shares)
        }
        return try written.reshaped(x.shape)
    }

    // MARK: The router

    /// For each expert the rows that go to it, and the weights of every row's experts: `[batch × pos, per token]`.
    private func route(_ layer: Int, _ weights: ExpertsWeights, _ rows: Tensor) throws -> ([Visits], Tensor) {
        let experts = weights.config, count = experts.count, perToken = experts.perToken
        let scores = try weights.router.product(rows, epilogue: Epilogue(bias: weights.bRouter)).out
        func places(_ indices: [Int]) -> [Int] { indices.enumerated().map { place, index in place / perToken * count + index } }
        var indices: [Int], shares: Tensor
        switch experts.routing {
        case .softmaxThenTopK(let renormalised):
            var all = try scores.softmax().reshaped([batch, pos, count])
            try fire(.expertWeights, layer, &all)
            indices = try all.topK(perToken).indices
            shares = try all.elements(at: places(indices)).reshaped([batch * pos, perToken])
            if renormalised { shares = try Self.renormalised(shares) }
            indices = try fireIndices(layer, indices, experts)
        case .topKThenSoftmax:
            let best = try scores.topK(perToken).indices
            let chosen = try scores.elements(at: places(best)).reshaped([batch * pos, perToken]).softmax()
            var all = try chosen.placed(at: places(best), in: [batch, pos, count])
            try fire(.expertWeights, layer, &all)
            indices = try fireIndices(layer, best, experts)
            shares = try all.elements(at: places(indices)).reshaped([batch * pos, perToken])
        }
        var visits = Array(repeating: Visits(), count: count)
        for (place, index) in indices.enumerated() {
            visits[index].rows.append(place / perToken)
            visits[index].places.append(place)
        }
        return (visits, shares)
    }

    /// Each row divided by its sum, first element first.
    private static func renormalised(_ shares: Tensor) throws -> Tensor {
        guard shares.shape[1] > 0 else { return shares }
        var sum = try shares.at(.all, .range(0..<1))
        for column in 1..<max(1, shares.shape[1]) { sum = try sum + shares.at(.all, .range(column..<column + 1)) }
        return try shares / sum
    }

    /// Hooks see the experts of each token as numbers, and may put others in their place.
    private func fireIndices(_ layer: Int, _ indices: [Int], _ experts: Experts) throws -> [Int] {
        guard plan.touches(.expertIndices, layer) else { return indices }
        var values = try Tensor(indices.map(Float.init), shape: [batch, pos, experts.perToken])
        try fire(.expertIndices, layer, &values)
        guard plan.edits(.expertIndices, layer) else { return indices }
        return try values.array.map { value in
            guard let index = Int(exactly: value), (0..<experts.count).contains(index) else {
                throw LensError(.usage, "an edit put in an expert that does not exist", at: HookSite.expertIndices.name(layer: layer),
                                expected: "0..<\(experts.count)", found: "\(value)")
            }
            return index
        }
    }

    // MARK: An expert

    /// The neurons of a gated MLP: `[…, width]`.
    private func gated(_ layer: Int, _ activation: Activation, _ gate: Experts.Gate, _ weights: ExpertWeights, _ x: Tensor,
                       _ sites: GatedSites, expert: Int? = nil, routed: [Int]? = nil) throws -> Tensor {
        func fire(_ site: HookSite, _ tensor: inout Tensor) throws { try self.fire(site, layer, expert: expert, routed: routed, &tensor) }
        var opened = try weights.wGate.product(x, epilogue: Epilogue(bias: weights.bGate)).out
        try fire(sites.gate, &opened)
        var post: Tensor
        if gate == .plain, !plan.edits(sites.linear, layer, expert: expert) {
            let isRead = plan.touches(sites.linear, layer, expert: expert)
            let epilogue = Epilogue(bias: weights.bIn, activation: activation, gate: opened, keepsLinear: isRead)
            let (out, linear) = try weights.wIn.product(x, epilogue: epilogue)
            if var linear { try fire(sites.linear, &linear) }
            post = out
        } else {
            var linear = try weights.wIn.product(x, epilogue: Epilogue(bias: weights.bIn)).out
            try fire(sites.linear, &linear)
            switch gate {
            case .plain: post = try linear.gated(by: opened, activation)
            case .clamped(let alpha, let limit): post = try linear.clampedGate(by: opened, alpha: Float(alpha), limit: Float(limit))
            }
        }
        try fire(sites.post, &post)
        return post
    }
}
