// Activations rounded to eight bits in products with quantised weights: off unless asked for, every law holds with them, hooks see
// what they see without, gradients go straight through, and how far the models are is stated.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite(.serialized) struct Int8ActivationTests {
    static let formats = WeightFormat.allCases.filter(\.isQuantized)

    private func rounding(_ format: WeightFormat, tied: Bool = false) throws -> Transformer {
        try KeptModels.named(format, tied: tied).multiplying(.int8)
    }

    /// The list says what each product takes; nothing else about the model changes, and its weights are shared.
    @Test(arguments: formats, [false, true])
    func whatIsRounded(format: WeightFormat, tied: Bool) throws {
        let plain = try KeptModels.named(format, tied: tied), model = try plain.multiplying(.int8)
        #expect(plain.parameters.activations == .float32 && plain.parameters.kept.count { $0.activations == .int8 } == 0)
        #expect(model.parameters.activations == .int8)
        for kept in model.parameters.kept {
            #expect(kept.activations == (kept.name.contains("W_") && !kept.name.hasSuffix("W_E") ? .int8 : .float32), "\(kept)")
        }
        expectSameBits(try model.parameters["blocks.0.mlp.W_in"], try plain.parameters["blocks.0.mlp.W_in"], "weights")
        let tokens = try LawModels.tokens(model, batch: 2, pos: 20), logits = try #require(try model.run(.tokens(tokens)).logits)
        #expect(logits.array.count(where: \.isFinite) == logits.count)
        #expect(logits.array != (try #require(try plain.run(.tokens(tokens)).logits)).array)
        expectSameBits(try model.multiplying(.float32).run(.tokens(tokens)).logits, try plain.run(.tokens(tokens)).logits, "and back")
    }

    /// A saved key-value cache is not taken for that of the model without rounding.
    @Test func fingerprints() throws {
        let plain = try KeptModels.named(.q8_0)
        #expect(try plain.multiplying(.int8).fingerprint() != plain.fingerprint())
        #expect(try plain.multiplying(.float32).fingerprint() == plain.fingerprint())
    }

    @Test(arguments: formats)
    func lookingChangesNothing(format: WeightFormat) throws {
        let model = try rounding(format), tokens = try LawModels.tokens(model, batch: 2, pos: 9)
        let plain = try model.run(.tokens(tokens)).logits
        for hooks in [[identityEdit(.all)], [identityEdit("blocks.*.attn.hook_result")], [identityEdit("blocks.*.hook_q_input"), identityEdit("blocks.*.hook_v_input")]] {
            expectSameBits(try model.run(.tokens(tokens), .init(hooks: hooks)).logits, plain, "\(format)")
        }
        expectSameBits(try model.run(.tokens(tokens), .init(cache: .all)).logits, plain, "\(format): cached")
        var last = Transformer.Options()
        last.onlyLastLogits = true
        expectSameBits(try model.run(.tokens(tokens), last).logits, try plain?.at(.all, .range(8..<9)), "\(format): the last position's")
    }

    @Test(arguments: formats)
    func rowsAloneThreadsAndDecoding(format: WeightFormat) throws {
        let model = try rounding(format), tokens = try LawModels.tokens(model, batch: 3, pos: 40)
        let whole = try #require(try model.run(.tokens(tokens)).logits)
        let one = try IntTensor(Array(tokens.array[40..<80]), shape: [1, 40])
        expectSameBits(try model.run(.tokens(one)).logits, try whole.at(.range(1..<2)), "\(format): a row alone")
        var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
        var parts = [try #require(try model.run(.tokens(IntTensor(Array(one.array[..<5]), shape: [1, 5])), keyValues: &cache).logits)]
        for token in one.array[5...] { parts.append(try #require(try model.run(.tokens(IntTensor([token], shape: [1, 1])), keyValues: &cache).logits)) }
        for (index, part) in parts.enumerated() {
            let range = index == 0 ? 0..<5 : index + 4..<index + 5
            expectSameBits(part, try whole.at(.range(1..<2), .range(range)), "\(format): positions \(range)")
        }
        let threads = Kernels.threads
        defer { Kernels.threads = threads }
        Kernels.threads = 1
        expectSameBits(try model.run(.tokens(tokens)).logits, whole, "\(format): one thread")
    }

    /// Hooks see and edit float32 activations: what a product is given is rounded, not what stands in the stream.
    @Test func hooksAreAsTheyWere() throws {
        let model = try rounding(.q8_0), plain = try KeptModels.named(.q8_0), tokens = try LawModels.tokens(model, batch: 1, pos: 8)
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let matrix = try PackedMatrix(model.parameters["blocks.0.mlp.W_out"], format: .q8_0), bias = try model.parameters["blocks.0.mlp.b_out"]
        expectSameBits(try cache["hook_embed"], try plain.run(.tokens(tokens), .init(cache: .all)).cache["hook_embed"], "embeddings")
        let product = try matrix.multiplying(.int8).product(cache["blocks.0.mlp.hook_post"], epilogue: Epilogue(bias: bias)).out
        expectSameBits(try cache["blocks.0.hook_mlp_out"], product, "the product of what is cached")
        let edit = Hook.edit(.names(["blocks.1.hook_resid_pre"])) { value, _ in value = try value * 2 }
        let edited = try model.run(.tokens(tokens), .init(hooks: [edit], cache: .all)).cache
        expectSameBits(try edited["blocks.1.hook_resid_pre"], try cache["blocks.1.hook_resid_pre"] * 2, "an edit")
    }

    /// The gradient of a product's input is that of the product with the activations as they are.
    @Test(arguments: [WeightFormat.q8_0, .q4_0])
    func gradientsGoStraightThrough(format: WeightFormat) throws {
        let matrix = try PackedMatrix(randomTensor([96, 70], seed: 2), format: format), x = try randomTensor([3, 96], seed: 3)
        let factor = try randomTensor([3, 70], seed: 4)
        func gradient(_ activations: ActivationFormat) throws -> Tensor {
            let tracked = x.tracked()
            return try gradients(of: (matrix.multiplying(activations).product(tracked).out * factor).sum(), to: [tracked])[0]
        }
        expectSameBits(try gradient(.int8), try gradient(.float32), "\(format)")
    }

    @Test(arguments: formats)
    func gradientsOfModels(format: WeightFormat) throws {
        let model = try KeptModels.named(format), tokens = try LawModels.tokens(model, batch: 1, pos: 6)
        func ofStream(_ model: Transformer) throws -> [Float] {
            var options = Transformer.Options(returnType: .loss)
            options.gradients = "blocks.0.hook_resid_pre"
            return try model.runWithGradients(.tokens(tokens), options) { $0.loss ?? 0 }.activations["blocks.0.hook_resid_pre"].array
        }
        let rounded = try ofStream(model.multiplying(.int8)), exact = try ofStream(model)
        let error = zip(rounded, exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }, size = exact.reduce(0) { $0 + $1 * $1 }
        #expect(error.isFinite && size > 0 && error < 0.1 * size, "\(format): \(error) of \(size)")
    }

    @Test func askedOfWeightsThatAreNotQuantised() throws {
        let plain = try Models.named("llama-grouped")
        expectError(.usage, "quantised") { try plain.multiplying(.int8) }
        expectError(.usage, "quantised") { try plain.keeping(.bfloat16).multiplying(.int8) }
        #expect(try plain.multiplying(.float32).parameters.activations == .float32)
        let half = try KeptModels.named(.float32).keeping(.bfloat16)
        expectError(.usage) { try half.multiplying(.int8) }
    }

    /// The choice stays with the model when it is changed.
    @Test func changedModels() throws {
        let model = try rounding(.q8_0), name = "blocks.1.mlp.W_in"
        let changed = try model.with(name, model.parameters[name])
        #expect(changed.parameters.kept.filter { $0.name == name }.map(\.activations) == [.float32])
        #expect(changed.parameters.activations == .int8)
        #expect(try model.keeping(.q4_0).parameters.kept.filter { $0.activations == .int8 }.count == model.parameters.kept.filter { $0.activations == .int8 }.count)
        #expect(try model.ungroupingQueryAttention().parameters.activations == .int8)
        let processed = try model.processWeights(.default)
        #expect(processed.parameters.kept.map(\.activations) == model.parameters.kept.map(\.activations))
    }

    /// Loading takes the choice, for any kind of file; float32 weights refuse it.
    @Test func loading() throws {
        let model = try KeptModels.named(.float32), tokens = try LawModels.tokens(model, batch: 1, pos: 7)
        try withTemporaryFolder { folder in
            try model.save(to: folder)
            let loaded = try ModelFolder(path: folder, options: LoadOptions(dtype: .q8_0, activations: .int8)).load()
            expectSameBits(try loaded.run(.tokens(tokens)).logits, try model.keeping(.q8_0).multiplying(.int8).run(.tokens(tokens)).logits, "loaded")
            expectError(.usage, "quantised") { try ModelFolder(path: folder, options: LoadOptions(activations: .int8)).load() }
        }
    }

    /// Rounding activations costs less than rounding weights to eight bits does several times over.
    @Test(arguments: [WeightFormat.q8_0, .q4_0])
    func errorIsBounded(format: WeightFormat) throws {
        var models = [("random", try Transformer.random(KeptModels.named(.float32).config, seed: 5))]
        let folder = TestFolders.shared + "/models/stories260K"
        if FileManager.default.fileExists(atPath: folder + "/config.json") { models.append(("stories", try ModelFolder(path: folder).load())) }
        for (name, model) in models {
            let kept = try model.keeping(format), tokens = try LawModels.tokens(model, batch: 2, pos: 60)
            func logProbs(_ model: Transformer) throws -> [Float] { try #require(try model.run(.tokens(tokens)).logits).logSoftmax().array }
            let p = try logProbs(kept), q = try logProbs(kept.multiplying(.int8))
            let divergence = zip(p, q).reduce(0) { $0 + exp(Double($1.0)) * (Double($1.0) - Double($1.1)) } / 120
            #expect(divergence < 5e-3 && divergence > 0, "\(name) \(format): \(divergence)")
        }
    }
}
