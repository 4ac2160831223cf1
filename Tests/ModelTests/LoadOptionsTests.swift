// Loading a part of a model: its first layers, another context, another rule for the beginning of text.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct LoadOptionsTests {
    private func load(_ name: String, _ options: LoadOptions) throws -> HookedTransformer {
        try HookedTransformer(folder: "\(TestFolders.goldens)/\(name)", options: options)
    }

    private static let tokens = [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]

    /// The first layers give what they give in the whole model.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "falcon", "gemma2"])
    func firstLayers(_ name: String) throws {
        let whole = try load(name, LoadOptions())
        for layers in 0...whole.config.nLayers {
            let cut = try load(name, LoadOptions(firstNLayers: layers))
            #expect(cut.config.nLayers == layers)
            #expect(cut.model.parameters.names.allSatisfy { !$0.hasPrefix("blocks.\(layers).") })
            for parameter in cut.model.parameters.names {
                expectSameBits(try cut.model.parameters[parameter], try whole.model.parameters[parameter], "\(name): \(parameter)")
            }
            let expected = try whole.run(Self.tokens, .init(stopAtLayer: layers == whole.config.nLayers ? nil : layers))
            let actual = try cut.run(Self.tokens, .init(stopAtLayer: layers == whole.config.nLayers ? nil : cut.config.nLayers))
            expectSameBits(actual.residual ?? actual.logits, expected.residual ?? expected.logits, "\(name): \(layers) layers")
        }
    }

    @Test func moreLayersThanThereAre() throws {
        for layers in [-1, 1_000, Int.max] {
            expectError(.usage, "layers", "gpt2-tiny") { try load("gpt2-tiny", LoadOptions(firstNLayers: layers)) }
        }
    }

    /// Learned positions are cut; computed ones go further.
    @Test func otherContexts() throws {
        let whole = try load("gpt2-tiny", LoadOptions())
        let short = try load("gpt2-tiny", LoadOptions(nCtx: 6))
        #expect(short.config.nCtx == 6)
        #expect(try short.model.parameters["pos_embed.W_pos"].shape == [6, whole.config.dModel])
        expectSameBits(try short.logits(Self.tokens), try whole.logits(Self.tokens), "a shorter context")
        #expect(throws: LensError.self) { try short.logits([Array(repeating: 1, count: 7)]) }
        expectError(.usage, "positions", "\(whole.config.nCtx)") { try load("gpt2-tiny", LoadOptions(nCtx: whole.config.nCtx + 1)) }
        let opt = try load("opt", LoadOptions()), shortOPT = try load("opt", LoadOptions(nCtx: 5))
        expectSameBits(try shortOPT.logits(Self.tokens), try opt.logits(Self.tokens), "positions that begin later in the table")
        for name in ["llama-grouped", "bloom"] {
            let model = try load(name, LoadOptions()), long = try load(name, LoadOptions(nCtx: model.config.nCtx + 3))
            #expect(long.config.nCtx == model.config.nCtx + 3)
            if model.config.nCtx < 200 {
                let row = (0..<long.config.nCtx).map { $0 % 90 }
                #expect(try long.logits([row]).shape[1] == row.count)
            }
            expectSameBits(try long.logits(Self.tokens), try model.logits(Self.tokens), name)
        }
        for context in [0, -1, Int.max] {
            expectError(.usage, "context") { try load("gpt2-tiny", LoadOptions(nCtx: min(context, 0))) }
            #expect(throws: LensError.self) { try load("llama-grouped", LoadOptions(nCtx: context)) }
        }
    }

    @Test func beginningOfText() throws {
        for prepends in [true, false] {
            #expect(try load("gpt2-tiny", LoadOptions(defaultPrependBOS: prepends)).config.defaultPrependBOS == prepends)
        }
    }

    /// Models saved under TransformerLens' names are cut the same way.
    @Test func savedModels() throws {
        let whole = try load("gpt2-tiny", LoadOptions())
        try withTemporaryFolder { folder in
            try whole.save(to: folder)
            let cut = try HookedTransformer(folder: folder, options: LoadOptions(firstNLayers: 1, nCtx: 6))
            let same = try load("gpt2-tiny", LoadOptions(firstNLayers: 1, nCtx: 6))
            expectSameBits(try cut.logits(Self.tokens), try same.logits(Self.tokens), "saved and cut")
        }
    }
}
