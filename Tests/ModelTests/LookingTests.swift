// Laws 1 and 3: looking changes nothing, bit for bit; and what nobody looks at does not exist.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct LookingTests {
    /// The input of every test: two rows, one of them padded on the left.
    private func input(_ model: Transformer) throws -> (tokens: IntTensor, mask: IntTensor) {
        let pos = 7
        let mask = try IntTensor(rows: [Array(repeating: 1, count: pos), [0, 0] + Array(repeating: 1, count: pos - 2)])
        return (try LawModels.tokens(model, batch: 2, pos: pos), mask)
    }

    private func logits(_ model: Transformer, hooks: [Hook] = [], cache: ActivationFilter = .none) throws -> Tensor? {
        let (tokens, mask) = try input(model)
        return try model.run(.tokens(tokens), .init(hooks: hooks, cache: cache, attentionMask: mask)).logits
    }

    private func cached(_ model: Transformer, _ name: String) throws -> Tensor {
        let (tokens, mask) = try input(model)
        return try model.run(.tokens(tokens), .init(cache: .names([name]), attentionMask: mask)).cache[name]
    }

    @Test(arguments: LawModels.names)
    func anyFilterLeavesTheLogits(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model)
        expectSameBits(try logits(model, cache: .all), plain, "cache all")
        expectSameBits(try logits(model, cache: .names(model.config.hookNames)), plain, "cache every name")
        for name in model.config.hookNames { expectSameBits(try logits(model, cache: .names([name])), plain, "cache \(name)") }
    }

    @Test(arguments: LawModels.names)
    func aReadAnywhereLeavesTheLogits(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model)
        var fired: [String] = []
        let read = Hook.read(.names(model.config.hookNames)) { _, at in fired.append(at.name) }
        expectSameBits(try logits(model, hooks: [read]), plain, "reads everywhere")
        #expect(fired == model.config.hookNames)
    }

    @Test(arguments: LawModels.names)
    func anIdentityEditAnywhereLeavesTheLogits(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model)
        for site in model.config.hookNames {
            expectSameBits(try logits(model, hooks: [identityEdit(.names([site]))]), plain, "identity at \(site)")
        }
        let everywhere = identityEdit(.names(model.config.hookNames))
        expectSameBits(try logits(model, hooks: [everywhere]), plain, "identity everywhere")
        expectSameBits(try logits(model, hooks: [everywhere], cache: .names(model.config.hookNames)), plain, "identity everywhere, all cached")
        expectSameBits(try logits(model, hooks: [.edit("all") { _, _ in }]), plain, "edits that touch nothing")
        expectSameBits(try logits(model, hooks: [stridedIdentityEdit(.names(model.config.hookNames))]), plain, "the same values, strided")
    }

    /// What is read does not depend on what else is looked at or left as it was.
    @Test(arguments: LawModels.names)
    func activationsDoNotDependOnWhoElseLooks(_ name: String) throws {
        let model = try LawModels.named(name), (tokens, mask) = try input(model)
        let names = model.config.hookNames
        func cache(_ filter: ActivationFilter, _ hooks: [Hook] = []) throws -> ActivationCache {
            try model.run(.tokens(tokens), .init(hooks: hooks, cache: filter, attentionMask: mask)).cache
        }
        let everything = try cache(.names(names))
        #expect(everything.names == names)
        expectSameBits(try cache(.names(names), [identityEdit(.names(names))]), everything, "with identity edits")
        for name in names { expectSameBits(try cache(.names([name]))[name], try everything[name], "\(name) alone") }
        for name in names {
            expectSameBits(try cache(.names(names), [identityEdit(.names([name]))]), everything, "identity at \(name)")
        }
    }

    /// An edit that changes something does the same whatever else looks or hands back its input.
    @Test(arguments: LawModels.names)
    func identityEditsBesideARealOne(_ name: String) throws {
        let model = try LawModels.named(name), names = model.config.hookNames, plain = try logits(model)
        for site in names where !["hook_tokens", "hook_expert_indices"].contains(where: site.hasSuffix) {
            // An expert that nobody goes to.
            if let seen = try? cached(model, site), seen.count == 0 { continue }
            let real = Hook.edit(.names([site])) { tensor, at in
                // Rows of tokens have no position axis; and the experts' shares are made to sum to one again.
                if at.expert != nil || at.site == .expertWeights {
                    tensor = try tensor * tensor
                    return
                }
                // The last position of the first row, and half of what is there: norms would undo a change of scale, and a
                // window may hide the first keys.
                let axis = HookPoint(name: site)?.site.positionAxis ?? 1, last = tensor.rank - 1
                let place = [TensorIndex.at(0)] + Array(repeating: .all, count: axis - 1) + [.at(-1)]
                    + Array(repeating: .all, count: last - axis - 1) + [.from(tensor.shape[last] / 2)]
                try tensor.assign(tensor.view(place) * 0.5, at: place)
            }
            let edited = try logits(model, hooks: [real])
            #expect(bitDifference(edited, plain) != nil, "an edit of \(site) does something")
            expectSameBits(try logits(model, hooks: [real, identityEdit(.names(names))]), edited, "real edit of \(site), identity after it")
            expectSameBits(try logits(model, hooks: [identityEdit(.names(names)), real]), edited, "real edit of \(site), identity before it")
            expectSameBits(try logits(model, hooks: [real], cache: .names(names)), edited, "real edit of \(site), all cached")
        }
    }

    /// Where a head's own input is as it was, the norm's edits still hold.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "llama-full", "native-parallel"], ["q", "k", "v"])
    func editsOfSplitInputsLeaveTheNormsEditsElsewhere(_ name: String, _ letter: String) throws {
        let model = try LawModels.named(name), (tokens, _) = try input(model)
        let split = Hook.edit(.names(["blocks.1.hook_\(letter)_input"])) { x, _ in x[.all, 3, 0] = x[.all, 4, 0] }
        let norm = Hook.edit("blocks.1.ln1.hook_normalized") { x, _ in x[.all, 1] = 0.5 }
        func projected(_ hooks: [Hook]) throws -> Tensor { try model.run(.tokens(tokens), .init(hooks: hooks, cache: .names([letter]))).cache[letter, 1] }
        let both = try projected([split, norm]), plain = try projected([])
        expectSameBits(both[.all, 1], try projected([norm])[.all, 1], "where the norm was edited")
        expectSameBits(both[.all, 3], try projected([split])[.all, 3], "where the head's input was")
        expectSameBits(both[.all, 3, 0], plain[.all, 4, 0], "the head sees another position")
        expectSameBits(both[.all, 3, .from(1)], plain[.all, 3, .from(1)], "other heads do not")
        expectSameBits(both[.all, .from(4)], plain[.all, .from(4)], "elsewhere")
    }

    @Test(arguments: LawModels.names)
    func onDemandSitesExistOnlyWhenNamed(_ name: String) throws {
        let model = try LawModels.named(name)
        let onDemand = model.config.hookPoints.filter(\.site.row.isOnDemand).map(\.name)
        let (tokens, _) = try input(model)
        for filter: ActivationFilter in ["all", "*", "blocks.*", "hook_*", .all] {
            let cached = try model.run(.tokens(tokens), .init(cache: filter)).cache.names
            #expect(Set(cached).isDisjoint(with: onDemand))
        }
        for point in model.config.hookPoints where point.site.row.isOnDemand {
            #expect(try model.run(.tokens(tokens), .init(cache: .names([point.name]))).cache.names == [point.name])
        }
    }
}
