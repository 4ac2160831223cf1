// Parameters under TransformerLens' names: reading, replacing one, saving and loading, and what is refused.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct ParameterTests {
    private func logits(_ model: Transformer) throws -> Tensor? {
        try model.run(.tokens(LawModels.tokens(model, batch: 2, pos: 6))).logits
    }

    @Test(arguments: LawModels.savable + ["gpt2-untied", "llama-gelu", "llama-multiquery"])
    func savedAndLoadedIsTheSame(_ name: String) throws {
        let model = try LawModels.named(name)
        try withTemporaryFolder { folder in
            try model.save(to: folder + "/saved")
            let loaded = try HookedTransformer(folder: folder + "/saved", processing: .none)
            expectSameBits(try logits(loaded.model), try logits(model), "logits")
            #expect(Set(loaded.model.parameters.names) == Set(model.parameters.names))
            for name in model.parameters.names { expectSameBits(try loaded[name], try model.parameters[name], name) }
            #expect(loaded.config.hookedTransformerConfig == model.config.hookedTransformerConfig)
            // Again, over itself: a file is replaced, not written into.
            try loaded.save(to: folder + "/saved")
            expectSameBits(try logits(HookedTransformer(folder: folder + "/saved", processing: .none).model), try logits(model), "saved again")
        }
    }

    @Test(arguments: LawModels.names + ["gpt2-untied"])
    func replacingByItselfChangesNothing(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model)
        for parameter in model.parameters.names {
            let same = try model.with(parameter, model.parameters[parameter])
            expectSameBits(try logits(same), plain, parameter)
        }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped", "native-gated-ln"])
    func replacingOneChangesThatOne(_ name: String) throws {
        let model = try LawModels.named(name), plain = try logits(model)
        for parameter in model.parameters.names {
            let old = try model.parameters[parameter]
            let new = try randomTensor(old.shape, seed: 5)
            let changed = try model.with(parameter, new)
            for other in model.parameters.names {
                expectSameBits(try changed.parameters[other], other == parameter ? new : try model.parameters[other], "\(parameter), \(other)")
            }
            // The keys' bias adds the same to every score of a query, unless keys turn.
            if !(parameter.hasSuffix("b_K") && model.config.position == .learned) {
                #expect(bitDifference(try logits(changed), plain) != nil, "\(parameter) matters")
            }
            expectSameBits(try logits(model), plain, "the first model is as it was")
        }
    }

    /// W_E and W_U are kept once, and are two parameters all the same.
    @Test(arguments: ["gpt2-tiny", "llama-full", "llama-gelu"])
    func tiedEmbeddingsAreReplacedOneByOne(_ name: String) throws {
        let model = try LawModels.named(name)
        #expect(model.config.tiesEmbeddings)
        let wE = try model.parameters["embed.W_E"], wU = try model.parameters["unembed.W_U"]
        expectSameBits(wE, try wU.permuted(1, 0), "tied")
        let newE = try randomTensor(wE.shape, seed: 1), newU = try randomTensor(wU.shape, seed: 2)
        let tokens = try LawModels.tokens(model, batch: 1, pos: 5)
        func run(_ model: Transformer) throws -> Transformer.Output { try model.run(.tokens(tokens), .init(cache: "all")) }
        let plain = try run(model)
        let otherU = try model.with("unembed.W_U", newU)
        expectSameBits(try otherU.parameters["embed.W_E"], wE, "W_E after W_U was replaced")
        expectSameBits(try run(otherU).cache["unembed.hook_in"], try plain.cache["unembed.hook_in"], "the stream does not know W_U")
        #expect(bitDifference(try run(otherU).logits, plain.logits) != nil)
        let otherE = try model.with("embed.W_E", newE)
        expectSameBits(try otherE.parameters["unembed.W_U"], wU, "W_U after W_E was replaced")
        let gathered = try newE.gatherRows(tokens.array).reshaped([1, 5, model.config.dModel])
        expectSameBits(try run(otherE).cache["hook_embed"], gathered, "tokens are gathered from the new W_E")
        let both = try otherE.with("unembed.W_U", newU)
        expectSameBits(try both.parameters["embed.W_E"], newE, "both replaced: W_E")
        expectSameBits(try run(both).logits, try run(model.with("unembed.W_U", newU).with("embed.W_E", newE)).logits, "in either order")
        try withTemporaryFolder { folder in
            try both.save(to: folder)
            expectSameBits(try run(HookedTransformer(folder: folder, processing: .none).model).logits, try run(both).logits, "saved and loaded")
        }
    }

    @Test(arguments: ["llama-grouped", "llama-multiquery", "native-rms-rotary"])
    func groupedKeysAreReadBothWays(_ name: String) throws {
        let model = try HookedTransformer(Models.named(name)), config = model.config, group = config.nHeads / config.kvHeads
        for short in ["W_K", "W_V", "b_K", "b_V"] {
            let kept = try model["blocks.0.attn._\(short)"], expanded = try model["blocks.0.attn.\(short)"]
            #expect(kept.shape[0] == config.kvHeads && expanded.shape[0] == config.nHeads)
            for head in 0..<config.nHeads { expectSameBits(try expanded.at(.at(head)), try kept.at(.at(head / group)), "\(short), head \(head)") }
        }
        #expect(try model["blocks.0.attn.W_Q"].shape == [config.nHeads, config.dModel, config.dHead])
        #expect(try model["blocks.0.attn.W_O"].shape == [config.nHeads, config.dHead, config.dModel])
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let model = try LawModels.named("gpt2-tiny"), hooked = HookedTransformer(model)
        expectError(.name, "blocks.0.attn.W_QQ", "did you mean blocks.0.attn.W_Q?") { try hooked["blocks.0.attn.W_QQ"] }
        expectError(.weights, "blocks.0.attn.W_QQ", "did you mean") { try model.with("blocks.0.attn.W_QQ", Tensor(0)) }
        expectError(.weights, "blocks.0.attn.W_Q", "wrong shape") { try model.with("blocks.0.attn.W_Q", Tensor(zeros: [42, 42])) }
        var parameters = Dictionary(uniqueKeysWithValues: try model.parameters.names.map { ($0, try model.parameters[$0]) })
        #expect(throws: Never.self) { try Transformer(config: model.config, parameters: parameters) }
        parameters["blocks.1.ln2.w"] = nil
        expectError(.weights, "missing parameter", "blocks.1.ln2.w") { try Transformer(config: model.config, parameters: parameters) }
        parameters["blocks.1.ln2.w"] = Tensor(zeros: [41])
        expectError(.weights, "wrong shape", "blocks.1.ln2.w") { try Transformer(config: model.config, parameters: parameters) }
        parameters["blocks.1.ln2.w"] = Tensor(zeros: [42])
        parameters["blocks.9.ln2.w"] = Tensor(zeros: [42])
        expectError(.weights, "unknown parameter", "blocks.9.ln2.w") { try Transformer(config: model.config, parameters: parameters) }
    }

    @Test func absentBiasesAreZero() throws {
        let model = try LawModels.named("llama-grouped")
        for bias in ["b_Q", "_b_K", "_b_V", "b_O"] { #expect(try model.parameters["blocks.0.attn.\(bias)"].array.allSatisfy { $0 == 0 }) }
        #expect(try model.parameters["unembed.b_U"].array.allSatisfy { $0 == 0 })
    }

    /// Impossible configurations are errors that name the field; none crashes.
    @Test(arguments: [("n_layers", "-1"), ("d_model", "0"), ("n_ctx", "0"), ("n_heads", "0"), ("d_head", "0"), ("d_vocab", "0"),
                      ("d_vocab", "-1"), ("d_head", "9223372036854775807"), ("d_model", "9223372036854775807"), ("d_mlp", "0"), ("n_key_value_heads", "2"),
                      ("n_key_value_heads", "0"), ("eps", "-1"), ("attn_scale", "0"), ("rotary_dim", "3"), ("rotary_dim", "20"),
                      ("act_fn", "\"mish\""), ("act_fn", "5"), ("normalization_type", "\"BN\""),
                      ("positional_embedding_type", "\"sinusoidal\""), ("attention_dir", "\"up\""),
                      ("d_model", "1.5"), ("d_model", "\"18\""), ("n_layers", "null"), ("num_experts", "4"), ("no_such_field", "1")])
    func impossibleConfigurations(_ field: String, _ value: String) throws {
        let path = "\(TestFolders.goldens)/native-partial-rotary/tl_config.json"
        var object = try #require(JSON.parse(file: path, limit: 1 << 20).objectValue)
        object[field] = try JSON.parse(Array(value.utf8), at: "value")
        expectError(.config, field) { try ModelConfig(hookedTransformerConfig: .object(object)) }
    }
}
