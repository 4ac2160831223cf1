// The key-value cache as a value: forks, truncation, what a failed pass leaves, and what it refuses.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct KeyValueCacheTests {
    static let names = ["gpt2-tiny", "llama-grouped", "native-parallel", "long-gpt2", "long-llama"]
    struct Stop: Error {}

    private func pos(_ name: String) -> Int { name.hasPrefix("long") ? 100 : 5 }

    /// A cache that holds the prompt, its second row padded on the left.
    private func prefilled(_ model: Transformer, _ tokens: IntTensor) throws -> KeyValueCache {
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 2)
        _ = try model.run(.tokens(tokens), .init(attentionMask: mask(tokens.shape[1])), keyValues: &keyValues)
        return try #require(keyValues)
    }

    private func mask(_ pos: Int) throws -> IntTensor {
        try IntTensor(rows: [Array(repeating: 1, count: pos), [0, 0] + Array(repeating: 1, count: pos - 2)])
    }

    private func joined(_ a: IntTensor, _ b: IntTensor) throws -> IntTensor { try IntTensor(rows: zip(a.rows, b.rows).map { $0 + $1 }) }

    /// Logits of `next` after `tokens`, recomputed.
    private func recomputed(_ model: Transformer, _ tokens: IntTensor, _ next: IntTensor) throws -> Tensor? {
        let all = try joined(tokens, next)
        return try model.run(.tokens(all), .init(attentionMask: mask(all.shape[1]))).logits?.at(.all, .from(tokens.shape[1]))
    }

    @Test(arguments: names)
    func forksGoTheirOwnWays(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: pos(name))
        let trunk = try prefilled(model, tokens)
        var forks: [KeyValueCache?] = [trunk, trunk, trunk]
        var sofar = [tokens, tokens, tokens]
        // Turn by turn, so that each fork writes while the others share its pages.
        for step in 0..<3 {
            for fork in forks.indices {
                let next = try LawModels.tokens(model, batch: 2, pos: 1, seed: UInt64(10 * fork + step + 1))
                let logits = try model.run(.tokens(next), keyValues: &forks[fork]).logits
                expectSameBits(logits, try recomputed(model, sofar[fork], next), "fork \(fork), step \(step)")
                sofar[fork] = try joined(sofar[fork], next)
            }
        }
        #expect(trunk.count == pos(name))
        var again: KeyValueCache? = trunk
        let next = try LawModels.tokens(model, batch: 2, pos: 2, seed: 99)
        expectSameBits(try model.run(.tokens(next), keyValues: &again).logits, try recomputed(model, tokens, next), "the trunk, untouched")
    }

    @Test(arguments: names)
    func truncatedAndContinued(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: pos(name))
        let whole = try prefilled(model, tokens)
        for length in Set([0, 1, 2, 3, 4, pos(name), 62, 64, 65, 66, 67]) where length <= pos(name) {
            var cut = whole
            try cut.truncate(to: length)
            #expect(cut.count == length && whole.count == pos(name))
            var keyValues: KeyValueCache? = cut
            let next = try LawModels.tokens(model, batch: 2, pos: 3, seed: 7)
            let kept = try IntTensor(rows: tokens.rows.map { Array($0[..<length]) })
            let real = try IntTensor(rows: mask(length + 3).rows.map { Array($0[length...]) })
            let logits = try model.run(.tokens(next), .init(attentionMask: real), keyValues: &keyValues).logits
            let all = try joined(kept, next)
            let expected = try model.run(.tokens(all), .init(attentionMask: mask(length + 3))).logits
            // Where the second row is still padding, nothing is promised.
            expectSameBits(try logits?.at(.at(0)), try expected?.at(.at(0), .from(length)), "cut to \(length), row 0")
            let first = max(0, 2 - length)
            expectSameBits(try logits?.at(.at(1), .from(first)), try expected?.at(.at(1), .from(length + first)), "cut to \(length), row 1")
        }
        var cut = whole
        expectError(.usage, "truncate") { try cut.truncate(to: pos(name) + 1) }
        expectError(.usage, "truncate") { try cut.truncate(to: -1) }
        #expect(cut.count == pos(name))
    }

    /// A hook that throws, wherever it is, leaves the cache as it was.
    @Test(arguments: names)
    func aFailedPassLeavesNoTrace(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: pos(name))
        let next = try LawModels.tokens(model, batch: 2, pos: 2, seed: 5)
        let expected = try recomputed(model, tokens, next)
        var keyValues: KeyValueCache? = try prefilled(model, tokens)
        let sites = name.hasPrefix("long") ? ["blocks.0.attn.hook_z", "blocks.1.hook_resid_pre"] : model.config.hookNames
        for site in sites {
            #expect(throws: Stop.self) {
                try model.run(.tokens(next), .init(hooks: [.edit(.names([site])) { _, _ in throw Stop() }]), keyValues: &keyValues)
            }
            #expect(keyValues?.count == pos(name))
            var copy = keyValues, step = -1
            let logits = try model.run(.tokens(next), .init(hooks: [.read("hook_embed") { _, at in step = at.step }]), keyValues: &copy).logits
            #expect(step == 1, "the pass that failed is not counted")
            expectSameBits(logits, expected, "after failing at \(site)")
        }
    }

    /// Errors before, at the start of, and at the end of a pass.
    @Test func anyErrorLeavesTheCache() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try LawModels.tokens(model, batch: 2, pos: 5)
        let next = try LawModels.tokens(model, batch: 2, pos: 2, seed: 5)
        let tooLong = try LawModels.tokens(model, batch: 2, pos: model.config.nCtx - 4)
        var keyValues: KeyValueCache? = try prefilled(model, tokens)
        expectError(.name, "hook_nonsense") { try model.run(.tokens(next), .init(cache: "hook_nonsense"), keyValues: &keyValues) }
        expectError(.usage, "context") { try model.run(.tokens(tooLong), keyValues: &keyValues) }
        expectError(.usage, "token out of range") { try model.run(.tokens(IntTensor(rows: [[1], [97]])), keyValues: &keyValues) }
        expectError(.shape, "remove the batch") { try model.run(.tokens(next), .init(cache: .all, removeBatchDim: true), keyValues: &keyValues) }
        expectError(.shape, "out of range") { try model.run(.tokens(next), .init(cache: .all, posSlice: .at(9)), keyValues: &keyValues) }
        expectError(.usage, "another model or batch") { try model.run(.tokens(IntTensor(rows: [[1]])), keyValues: &keyValues) }
        expectError(.usage, "another model or batch") { try LawModels.named("llama-grouped").run(.tokens(next), keyValues: &keyValues) }
        #expect(keyValues?.count == 5)
        expectSameBits(try model.run(.tokens(next), keyValues: &keyValues).logits, try recomputed(model, tokens, next), "after all that")
    }

    /// A first pass of nothing but padding settles nothing.
    @Test(arguments: names)
    func paddingBeforeTheFirstToken(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: 9)
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 2)
        var rest: Transformer.Output?
        for (range, real) in [(0..<2, [[0, 0], [1, 1]]), (2..<5, [[0, 0, 0], [1, 1, 1]]), (5..<9, [[0, 1, 1, 1], [1, 1, 1, 1]])] {
            let part = try IntTensor(rows: tokens.rows.map { Array($0[range]) })
            // A pass that fails settles nothing either.
            #expect(throws: Stop.self) {
                let hook = Hook.read("blocks.1.attn.hook_z") { _, _ in throw Stop() }
                let ones = try IntTensor(Array(repeating: 1, count: 2 * range.count), shape: [2, range.count])
                _ = try model.run(.tokens(part), .init(hooks: [hook], attentionMask: ones), keyValues: &keyValues)
            }
            rest = try model.run(.tokens(part), .init(attentionMask: IntTensor(rows: real)), keyValues: &keyValues)
        }
        let first = try model.run(.tokens(IntTensor(rows: [Array(tokens.row(0)[6...])]))).logits
        let second = try model.run(.tokens(IntTensor(rows: [tokens.row(1)]))).logits
        expectSameBits(try rest?.logits?.at(.at(0), .from(1)), try first?.at(.at(0)), "the padded row")
        expectSameBits(try rest?.logits?.at(.at(1)), try second?.at(.at(0), .from(5)), "the other row")
    }

    /// A run that stops early does not make a cache that later runs would misread.
    @Test func aCacheThatLacksLayersIsRefused() throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try LawModels.tokens(model, batch: 1, pos: 4)
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        _ = try model.run(.tokens(tokens), .init(stopAtLayer: 1), keyValues: &keyValues)
        // The same layers again: they hold what came before.
        let part = try model.run(.tokens(tokens), .init(stopAtLayer: 1), keyValues: &keyValues)
        let whole = try model.run(.tokens(joined(tokens, tokens)), .init(stopAtLayer: 1))
        expectSameBits(part.residual, try whole.residual?.at(.all, .from(4)), "the first layer")
        expectError(.usage, "key-value cache") { try model.run(.tokens(tokens), keyValues: &keyValues) }
        #expect(keyValues?.count == 8)
    }
}
