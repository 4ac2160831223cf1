// A mixture of experts: the router, each token's best experts, and the sum of what they write. An expert computes the tokens
// that go to it and no others, in order of batch and position; a token adds up its experts in their order, from its own row
// alone, so its bits do not depend on who else is in the batch.

import LensFiles
import LensHooks
import LensTensor

/// The tokens that go to one expert, and their weights.
private struct Visits {
    var rows: [Int] = []
    var weights: [Float] = []
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
        for (expert, visits) in try route(layer, weights, rows).enumerated() {
            let sites = GatedSites.expert
            let isWatched = [sites.gate, sites.linear, sites.post].contains { plan.touches($0, layer, expert: expert) }
            guard !visits.rows.isEmpty || isWatched else { continue }
            let own = weights.experts[expert]
            let input = try rows.gatherRows(visits.rows)
            let post = try gated(layer, mlp.activation, weights.config.gate, own, input, sites, expert: expert, routed: visits.rows)
            try written.addRows(visits.rows, of: own.wOut.product(post, epilogue: Epilogue(bias: own.bOut)).out, times: visits.weights)
        }
        if let shared = weights.shared {
            let post = try gated(layer, mlp.activation, .plain, shared, x, .shared)
            let out = try shared.wOut.product(post, epilogue: Epilogue(bias: shared.bOut)).out.reshaped(rows.shape)
            let shares = try weights.sharedGate.map { try $0.product(rows).out.sigmoid().array } ?? Array(repeating: 1, count: batch * pos)
            try written.addRows(Array(0..<batch * pos), of: out, times: shares)
        }
        return try written.reshaped(x.shape)
    }

    // MARK: The router

    /// For each expert the rows that go to it.
    private func route(_ layer: Int, _ weights: ExpertsWeights, _ rows: Tensor) throws -> [Visits] {
        let experts = weights.config, count = experts.count, perToken = experts.perToken
        let scores = try weights.router.product(rows, epilogue: Epilogue(bias: weights.bRouter)).out
        var indices: [Int], shares: [Float]
        switch experts.routing {
        case .softmaxThenTopK(let renormalised):
            var all = try scores.softmax().reshaped([batch, pos, count])
            try fire(.expertWeights, layer, &all)
            (indices, shares) = try all.topK(perToken)
            if renormalised { Self.renormalise(&shares, perToken) }
            indices = try fireIndices(layer, indices, experts)
        case .topKThenSoftmax:
            let best = try scores.topK(perToken)
            let chosen = try Tensor(best.values, shape: [batch * pos, perToken]).softmax().array
            var all = Tensor(zeros: [batch, pos, count])
            try all.withUnsafeMutableElements { elements in
                for (place, index) in best.indices.enumerated() { elements[place / perToken * count + index] = chosen[place] }
            }
            try fire(.expertWeights, layer, &all)
            indices = try fireIndices(layer, best.indices, experts)
            shares = try all.withUnsafeElements { elements in
                indices.enumerated().map { place, index in elements[place / perToken * count + index] }
            }
        }
        var visits = Array(repeating: Visits(), count: count)
        for (place, index) in indices.enumerated() {
            visits[index].rows.append(place / perToken)
            visits[index].weights.append(shares[place])
        }
        return visits
    }

    /// Divides each row of `width` by its sum.
    private static func renormalise(_ shares: inout [Float], _ width: Int) {
        for start in stride(from: 0, to: shares.count, by: max(1, width)) {
            let sum = shares[start..<start + width].reduce(0, +)
            for place in start..<start + width { shares[place] /= sum }
        }
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
