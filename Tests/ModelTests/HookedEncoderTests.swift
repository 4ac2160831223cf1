// HookedEncoder and HookedEncoderDecoder on text, against Hugging Face: tokens, kinds and masks, what stands behind masks, next
// sentences, means over real tokens, texts written; and what each type refuses.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct HookedEncoderTests {
    private static func folder(_ name: String) -> String { "\(TestFolders.goldens)/\(name)" }
    private let bert: HookedEncoder
    private let t5: HookedEncoderDecoder
    private let expected: JSON

    init() throws {
        bert = try HookedEncoder(folder: Self.folder("bert"))
        t5 = try HookedEncoderDecoder(folder: Self.folder("t5"))
        expected = try JSON.parse(file: "\(TestFolders.goldens)/encoder-text.json", limit: 16 << 20)
    }

    private func strings(_ json: JSON?) -> [String] { json?.arrayValue?.compactMap(\.stringValue) ?? [] }

    /// Rows of numbers as a tensor.
    private func tensor(_ json: JSON?) throws -> Tensor {
        let rows = try #require(json?.arrayValue?.map { $0.arrayValue?.compactMap(\.doubleValue).map { Float($0) } ?? [] })
        return try Tensor(rows.flatMap { $0 }, shape: [rows.count, rows.first?.count ?? 0])
    }

    private func expectSame(_ batch: EncoderTokens, _ fields: JSON?) throws {
        let fields = try #require(fields)
        #expect(try batch.tokens.rows == fields["ids"]?.integerRows("ids"))
        #expect(try batch.tokenTypeIds.rows == fields["types"]?.integerRows("types"))
        #expect(try batch.attentionMask.rows == fields["mask"]?.integerRows("mask"))
    }

    // MARK: Encoders

    @Test func tokensKindsAndMasks() throws {
        let json = try #require(expected["bert"]), texts = strings(json["texts"]), pairs = try #require(json["pairs"]?.arrayValue).map(strings)
        try expectSame(bert.toTokens(texts), json)
        try expectSame(bert.toTokens(texts, addSpecialTokens: false), json["plain"])
        try expectSame(bert.toTokens(pairs: pairs.map { ($0[0], $0[1]) }), json["pair_fields"])
        let one = try bert.toTokens(pairs[0][0], pairs[0][1])
        #expect(try one.tokens.row(0) == json["pair_fields"]?["ids"]?.integerRows("ids")[0].filter { $0 != 0 })
        let long = String(repeating: "the cat sat on the mat and ", count: 6)
        try expectSame(bert.toTokens(long), json["long"])
        #expect(try bert.toTokens(long, truncate: false).tokens.shape == [1, 44])
        expectError(.usage, "longer than the model's context") { try bert.logits(long) }
        // A model of one kind of token has no second one.
        let roberta = try HookedEncoder(Models.named("roberta"), tokenizer: bert.tokenizer)
        #expect(try roberta.toTokens("the cat", "sat").tokenTypeIds.array.allSatisfy { $0 == 0 })
    }

    @Test func whatStandsBehindMasks() throws {
        let json = try #require(expected["bert"]), texts = strings(json["texts"])
        let predictions = try #require(json["predictions"]?.arrayValue).map(strings)
        #expect(try bert.predictions(texts) == predictions)
        for (text, alone) in zip(texts, predictions) { #expect(try bert.predictions(text) == [alone]) }
        #expect(try bert.maskToken == 4)
    }

    @Test func vectors() throws {
        let json = try #require(expected["bert"]), texts = strings(json["texts"])
        expectClose(try bert.pooledOutput(texts), try tensor(json["pooled"]), "pooled")
        let output = try bert.encoderOutput(texts), batch = try bert.toTokens(texts)
        let mean = try tensor(json["mean"])
        for (row, mask) in batch.attentionMask.rows.enumerated() {
            let real = mask.filter { $0 == 1 }.count
            var sum = Tensor(zeros: [bert.config.dModel])
            for place in 0..<real { sum = try sum + output.at(.at(row), .at(place)) }
            expectClose(try sum * Tensor(1 / Float(real)), try mean.at(.at(row)), "mean of row \(row)")
        }
        let bare = try HookedEncoder(folder: Self.folder("bert-bare"))
        #expect(try bare.encoderOutput([1, 2, 3]).shape == [1, 3, bare.config.dModel])
        #expect(try bare.runWithCache([1, 2, 3]).0.shape == [1, 3, bare.config.dModel])
        expectError(.usage, "no masked-language head") { try bare.logits([1, 2, 3]) }
        expectError(.name, "nsp_head.hook_nsp_out") { try HookedEncoder(bare.model, tokenizer: bert.tokenizer).predictNextSentence("a", "the") }
        expectError(.usage, "no tokenizer") { try bare.encoderOutput("hello") }
    }

    @Test func nextSentences() throws {
        let json = try #require(expected["bert"]), pairs = try #require(json["pairs"]?.arrayValue).map(strings), logits = try tensor(json["next_logits"])
        expectClose(try bert.nextSentenceLogits(pairs: pairs.map { ($0[0], $0[1]) }), logits, "next sentence")
        for (row, pair) in pairs.enumerated() {
            let prediction = try bert.predictNextSentence(pair[0], pair[1])
            expectClose(prediction.logits, try logits.at(.at(row)), "row \(row)")
            #expect(!prediction.isNext && "\(prediction)" == "The sentences are NOT sequential")
        }
        let always = Hook.edit("nsp_head.hook_nsp_out") { x, _ in x[.all, 0] = 9 }
        #expect(try bert.hooks([always]) { hooked in try hooked.predictNextSentence("a", "the").isNext })
    }

    @Test func hooksAndCaches() throws {
        let text = "the cat sat", (logits, cache) = try bert.runWithCache(text)
        #expect(cache.names == bert.config.hookPoints.filter { !$0.site.row.isOnDemand }.map(\.name))
        expectSameBits(try bert.logits(text), logits, "logits")
        expectSameBits(try cache["normalized_resid_post", -1], try bert.encoderOutput(text), "encoder output")
        let ablate = Hook.edit("blocks.1.attn.hook_z") { z, _ in z[.all, .all, 1] = 0 }
        let ablated = try bert.runWithHooks(text, hooks: [ablate])
        #expect(bitDifference(ablated, logits) != nil)
        var order: [Int] = []
        try bert.hooks([ablate, .read("z1") { _, _ in order.append(1) }]) { hooked in
            try hooked.hooks([.read("z1") { _, _ in order.append(2) }]) { both in
                expectSameBits(try both.runWithHooks(text, hooks: [.read("z1") { _, _ in order.append(3) }]), ablated, "in a scope")
            }
        }
        #expect(order == [1, 2, 3])
        let second = try bert.run("the cat sat", .init(cache: "embed.hook_token_type_embed"), tokenTypeIds: IntTensor(rows: [[0, 0, 0, 1, 1]]))
        let kinds = try bert["embed.token_type_embed.W_token_type"]
        expectSameBits(try second.cache["embed.hook_token_type_embed"].at(.at(0), .at(4)), try kinds.at(1), "the kind given")
        let replaced = try bert.with("embed.token_type_embed.W_token_type", Tensor(zeros: kinds.shape))
        #expect(bitDifference(try replaced.logits(text), logits) != nil)
        #expect(try bert.toStrTokens(bert.toTokens(text).tokens) == ["[CLS]", "the", "cat", "sat", "[SEP]"])
    }

    /// What a file holds is loaded, whatever class its configuration names.
    @Test func headsAreTheFiles() throws {
        let old = try HookedEncoder(folder: Self.folder("bert-old-names"))
        #expect(old.config.encoderParts?.hasPooler == true && old.config.encoderParts?.hasNextSentenceHead == true)
        #expect(try old.pooledOutput([1, 2]).shape == [1, old.config.dModel])
        let none = try HookedEncoder(folder: Self.folder("bert-untied"))
        #expect(none.config.encoderParts?.hasPooler == false)
        expectError(.name, "pooler.hook_pooler_out") { try none.pooledOutput([1, 2]) }
        let next = try HookedEncoder(folder: Self.folder("bert-next-sentence"))
        #expect(next.config.encoderParts?.mlmHead == nil && next.config.encoderParts?.hasNextSentenceHead == true)
    }

    // MARK: Encoder-decoders

    @Test func readsAndWrites() throws {
        let json = try #require(expected["t5"]), texts = strings(json["texts"]), read = try t5.toTokens(texts)
        #expect(try read.tokens.rows == json["ids"]?.integerRows("ids"))
        #expect(try read.attentionMask.rows == json["mask"]?.integerRows("mask"))
        expectClose(try t5.logits(texts).at(.all, .at(0)), try tensor(json["first_logits"]), "the first token's logits")
        #expect(try t5.generate(texts, maxNewTokens: 12, sampling: .greedy) == strings(json["written"]))
        #expect(try t5.generate(texts, decoderInput: ["hello", "hello", "hello"], maxNewTokens: 12, sampling: .greedy) == strings(json["begun"]))
        for (row, text) in texts.enumerated() {
            #expect(try t5.generate(text, maxNewTokens: 12, sampling: .greedy) == strings(json["written"])[row])
            let generation = try t5.generation(text, decoderInput: [[0, 11]], .init(maxNewTokens: 12, sampling: .greedy)).generation
            // What Hugging Face pads a row with after its end is no part of it.
            let ids = [0, 11] + generation.tokens[0], begun = try #require(json["begun_ids"]?.integerRows("begun")[row])
            #expect(ids == Array(begun.prefix(ids.count)))
        }
    }

    @Test func decodersInput() throws {
        let text = "hello world.", whole = try t5.logits(text, decoderInput: [0, 5, 9])
        #expect(whole.shape == [1, 3, t5.config.dVocab])
        expectSameBits(try t5.logits(text, decoderInput: [[0, 5, 9], [0]].prefix(1).map { $0 }), whole, "as rows")
        expectSameBits(try t5.logits(text, decoderInput: "the cat"), try t5.logits(text, decoderInput: [0] + t5.decoderRows("the cat", batch: 1)[0].dropFirst()), "text comes after the start token")
        let rows = try t5.logits([text, text], decoderInput: [[0, 5, 9], [0]])
        expectSameBits(try rows.at(.range(0..<1)), whole, "beside a shorter row")
        expectSameBits(try rows.at(.at(1), .at(0)), try t5.logits(text).at(.at(0), .at(0)), "the shorter row")
        expectError(.usage, "different sizes") { try t5.logits(text, decoderInput: [[0], [1]]) }
        expectError(.usage, "nothing to run on") { try t5.logits(text, decoderInput: [Int]()) }
        let (logits, cache) = try t5.runWithCache(text, decoderInput: [0, 5, 9])
        expectSameBits(logits, whole, "with a cache")
        #expect(try cache["decoder.0.cross_attn.hook_pattern"].shape == [1, 3, 3, 4])
        let normalized = try cache["encoder_final_ln.hook_normalized"]
        expectSameBits(try affine(normalized, weight: t5["encoder_final_ln.w"], bias: nil), try t5.encoderOutput(text), "encoder output")
        // A shorthand is every stack's that has the site.
        #expect(try t5.runWithCache(text, namesFilter: "pattern0").1.names == ["encoder.0.attn.hook_pattern", "decoder.0.attn.hook_pattern"])
        let blind = Hook.edit("decoder.*.hook_cross_attn_out") { x, _ in x[.all] = 0 }
        try t5.hooks([blind]) { hooked in
            expectSameBits(try hooked.logits("hello"), try hooked.logits("the cat sat on the mat"), "what is not read does not matter")
        }
    }

    // MARK: What is refused

    @Test func eachTypeNamesTheOther() throws {
        expectError(.usage, "HookedTransformer does not run this model", "T5ForConditionalGeneration", "load it with HookedEncoderDecoder") { try HookedTransformer(folder: Self.folder("t5")) }
        expectError(.usage, "HookedTransformer does not run this model", "load it with HookedEncoder") { try HookedTransformer(folder: Self.folder("bert")) }
        expectError(.usage, "HookedEncoder does not run this model", "load it with HookedTransformer") { try HookedEncoder(folder: Self.folder("gpt2-tiny")) }
        expectError(.usage, "HookedEncoder does not run this model", "load it with HookedEncoderDecoder") { try HookedEncoder(folder: Self.folder("t5")) }
        expectError(.usage, "HookedEncoderDecoder does not run this model", "load it with HookedEncoder") { try HookedEncoderDecoder(folder: Self.folder("roberta")) }
        expectError(.usage, "load it with HookedTransformer") { try HookedEncoder(Models.named("gpt2-tiny")) }
    }

    private static let impossible: [(name: String, key: String, value: JSON)] = [("bert", "position_embedding_type", JSON.string("relative_key")), ("bert", "is_decoder", true), ("bert", "type_vocab_size", 0),
                      ("bert", "hidden_act", "tanhh"), ("roberta", "pad_token_id", 40), ("roberta", "pad_token_id", -1), ("t5", "is_encoder_decoder", false),
                      ("t5", "feed_forward_proj", "gated"), ("t5", "relative_attention_num_buckets", 2), ("t5", "relative_attention_num_buckets", -4),
                      ("t5", "relative_attention_max_distance", 7), ("t5", "relative_attention_max_distance", .int(1 << 40)), ("t5", "decoder_start_token_id", 97),
                      ("t5", "num_decoder_layers", -1), ("t5", "num_layers", .int(1 << 40)), ("t5", "d_model", 0), ("gpt2-tiny", "is_encoder_decoder", true),
                      ("opt-350m", "word_embed_proj_dim", 0), ("distilbert", "n_heads", 4), ("openai-gpt", "afn", "tanh")]

    /// Configurations that say what is not built, or cannot be.
    @Test(arguments: impossible)
    func configurationsAreChecked(_ change: (name: String, key: String, value: JSON)) throws {
        try withTemporaryFolder { folder in
            var fields = try JSON.parse(file: Self.folder(change.name) + "/config.json", limit: 1 << 20).asObject(at: "config")
            fields[change.key] = change.value
            let writer = try AtomicFileWriter(path: folder + "/config.json")
            try writer.write(JSON.object(fields).utf8())
            try writer.commit()
            #expect(throws: LensError.self, "\(change)") { try ModelFolder(path: folder) }
        }
    }
}
