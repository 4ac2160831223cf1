// Law 7: a model is immutable and Sendable. Tasks that run it at once, with hooks of their own, get what they get alone;
// what a hook keeps is never overwritten.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct SharingTests {
    static let names = ["gpt2-tiny", "llama-grouped", "long-gpt2", "long-llama"]

    /// Scales the stream of layer 1 by a number of the task's own.
    private static func run(_ model: Transformer, _ tokens: IntTensor, factor: Float) throws -> Transformer.Output {
        let edit = Hook.edit("blocks.1.hook_resid_pre") { residual, _ in residual = try residual * Tensor(factor) }
        return try model.run(.tokens(tokens), .init(hooks: [edit], cache: .all))
    }

    @Test(arguments: names)
    func tasksGetWhatTheyGetAlone(_ name: String) async throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: name.hasPrefix("long") ? 70 : 9)
        let alone = try (0..<4).map { try Self.run(model, tokens, factor: Float($0 + 1)) }
        let together = try await withThrowingTaskGroup(of: (Int, Transformer.Output).self) { group in
            for index in 0..<16 { group.addTask { (index, try Self.run(model, tokens, factor: Float(index % 4 + 1))) } }
            var outputs: [(Int, Transformer.Output)] = []
            for try await output in group { outputs.append(output) }
            return outputs
        }
        #expect(together.count == 16)
        for (index, output) in together {
            expectSameBits(output.logits, alone[index % 4].logits, "task \(index): logits")
            expectSameBits(output.cache, alone[index % 4].cache, "task \(index)")
        }
    }

    @Test(arguments: names)
    func whatIsKeptStays(_ name: String) throws {
        let model = try LawModels.named(name), pos = name.hasPrefix("long") ? 120 : 9
        let tokens = try LawModels.tokens(model, batch: 2, pos: pos)
        var kept: [(String, Tensor, [Float])] = []
        let keep = Hook.read(.names(model.config.hookNames)) { tensor, at in kept.append((at.name, tensor, tensor.array)) }
        // Kept before an edit of the same buffer, too.
        let edit = Hook.edit(.names(model.config.hookNames)) { tensor, at in
            if at.site != .tokens { try tensor.withUnsafeMutableElements { for index in $0.indices { $0[index] *= 0.5 } } }
        }
        let cache = try model.run(.tokens(tokens), .init(hooks: [keep, edit, keep], cache: .all)).cache
        let copies = cache.entries.map { ($0.name, $0.activation, $0.activation.array) }
        for seed in 1..<4 {
            let other = try LawModels.tokens(model, batch: 2, pos: pos, seed: UInt64(seed))
            _ = try model.run(.tokens(other), .init(hooks: [edit], cache: .all))
        }
        #expect(kept.count == 2 * model.config.hookNames.count)
        for (name, tensor, values) in kept + copies {
            #expect(zip(tensor.array, values).allSatisfy { $0.bitPattern == $1.bitPattern }, "\(name)")
        }
    }

    @Test(arguments: ["gpt2-tiny", "llama-full"])
    func whatATaskChangesInItsCopyIsItsOwn(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 1, pos: 5)
        let plain = try model.run(.tokens(tokens), .init(cache: .all))
        for (site, activation) in plain.cache.entries {
            var mine = activation
            mine[.at(0)] = 7
            expectSameBits(try model.run(.tokens(tokens), .init(cache: .all)).cache[site], activation, site)
        }
    }

    /// A cancelled task stops between blocks.
    @Test func cancellationIsAnError() async throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try LawModels.tokens(model, batch: 1, pos: 5)
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            expectError(.cancelled, "cancelled") { try model.run(.tokens(tokens)) }
            expectError(.cancelled, "cancelled") { try model.generate([[1]]) }
        }
        task.cancel()
        await task.value
    }
}
