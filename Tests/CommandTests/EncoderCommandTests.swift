// The commands on encoders and encoder-decoders: numbers and texts are Hugging Face's, from the goldens of Tests/ModelTests.

import LensFiles
import Testing
import TransformerLens

@Suite struct EncoderCommandTests {
    private let bert = Models.goldens + "/bert", t5 = Models.goldens + "/t5"

    private func texts(_ family: String) throws -> JSON {
        try #require(JSON.parse(file: Models.goldens + "/encoder-text.json", limit: 1 << 20)[family])
    }

    private func prompts(_ family: String) throws -> [String] {
        (try texts(family)["texts"]?.arrayValue ?? []).compactMap(\.stringValue).flatMap { ["--prompt", $0] }
    }

    /// Rows of a golden run's tokens, as options.
    private func rows(_ folder: String, _ run: String, _ field: String, _ option: String) throws -> [String] {
        let runs = try JSON.parse(file: folder + "/golden.json", limit: 1 << 24)["runs"]?.arrayValue ?? []
        let rows = try #require(runs.first { $0["name"]?.stringValue == run }?[field]?.arrayValue)
        return rows.flatMap { [option, $0.ints.map(String.init).joined(separator: ",")] }
    }

    private func expectClose(_ file: String, _ name: String, _ golden: String, in folder: String, at place: SourceLocation = #_sourceLocation) throws {
        let found = try Tensor(stored: name, in: openTensors(at: file)), expected = try Tensor(stored: golden, in: openTensors(at: folder + "/golden.safetensors"))
        #expect(found.shape == expected.shape, sourceLocation: place)
        #expect(zip(found.array, expected.array).allSatisfy { abs($0 - $1) <= 2e-5 * max(1, abs($1)) }, "\(name), \(golden)", sourceLocation: place)
    }

    @Test func whatStandsBehindMasks() async throws {
        let golden = try texts("bert"), json = try await document(["run", bert, "--top", "3"] + prompts("bert"))
        let rows = json["rows"]?.arrayValue ?? [], expected = golden["predictions"]?.arrayValue ?? []
        try #require(rows.count == 4 && expected.count == 4)
        for (index, row) in rows.enumerated() {
            let length = golden["mask"]?.arrayValue?[index].ints.count { $0 == 1 } ?? 0
            #expect(row["tokens"]?.ints == Array(golden["ids"]?.arrayValue?[index].ints.prefix(length) ?? []))
            #expect(row["token_type_ids"]?.ints == Array(repeating: 0, count: length))
            // Rows without masks say something of every position.
            guard let masks = row["masks"]?.arrayValue else {
                #expect(expected[index] == [] && row["positions"]?.arrayValue?.count == length)
                continue
            }
            #expect(masks.compactMap { $0["candidates"]?.arrayValue?.first?["token"] } == expected[index].arrayValue)
            #expect(masks.allSatisfy { $0["candidates"]?.arrayValue?.count == 3 })
            #expect(masks.compactMap { $0["position"]?.intValue } == row["tokens"]?.ints.indices.filter { row["tokens"]?.ints[$0] == 4 })
        }
        let shown = try await text(["run", bert] + prompts("bert"))
        #expect(shown.contains("row 1: 9 tokens") && shown.contains("mask at position 3") && shown.contains("likeliest"))
        let bare = try await document(["run", bert, "--no-bos", "--prompt", "Hello world!"])
        #expect(bare["rows"]?.arrayValue?.first?["tokens"]?.ints == [17, 18, 8])
    }

    @Test func encoderFiles() async throws {
        let folder = try TestFolder()
        for name in ["run.npz", "run.safetensors"] {
            let shown = try await text(["run", bert, "--cache", "pattern", "--out", folder(name)] + rows(bert, "no-types", "tokens", "--tokens"))
            #expect(shown.contains("wrote") && shown.contains("tokens, logits, 2 activations"))
            try expectClose(folder(name), "logits", "no-types/logits", in: bert)
            #expect(try openTensors(at: folder(name)).entry("blocks.1.attn.hook_pattern")?.shape == [2, 3, 9, 9])
        }
        // Without a head there are no logits.
        let bare = Models.goldens + "/bert-bare", line = try rows(bare, "no-types", "tokens", "--tokens")
        let shown = try await text(["run", bare, "--cache", "normalized_resid_post1", "--out", folder("bare.npz")] + line)
        #expect(shown.contains(": tokens, 1 activation") && !shown.contains("likeliest"))
        try expectClose(folder("bare.npz"), "blocks.1.hook_normalized_resid_post", "no-types/residual", in: bare)
        #expect(try openTensors(at: folder("bare.npz")).entry("logits") == nil)
        let plain = try await document(["run", bert, "--tokens", "2,9,4,3"])
        let edited = try await document(["run", bert, "--tokens", "2,9,4,3", "--edit", "zero z1 heads=1"])
        #expect(plain["rows"] != edited["rows"] && edited["edits"]?.arrayValue?.count == 1)
    }

    @Test func readsAndWrites() async throws {
        let folder = try TestFolder(), golden = try texts("t5"), greedy = ["--temperature", "0", "--max-new-tokens", "12"]
        let pass = try ["run", t5, "--cache", "decoder.1.cross_attn.hook_pattern", "--out", folder("t5.safetensors")]
            + rows(t5, "base", "encoder_tokens", "--tokens") + rows(t5, "base", "tokens", "--decoder-tokens")
        let json = try await document(pass)
        try expectClose(folder("t5.safetensors"), "logits", "base/logits", in: t5)
        try expectClose(folder("t5.safetensors"), "decoder.1.cross_attn.hook_pattern", "base/decoder.1.cross_attn.hook_pattern", in: t5)
        #expect(try openTensors(at: folder("t5.safetensors")).entry("decoder_tokens")?.shape == [2, 7])
        #expect(json["rows"]?.arrayValue?[0]["encoder_tokens"]?.ints == [47, 29, 91, 32, 50, 91, 35, 80, 74])
        #expect(json["rows"]?.arrayValue?.allSatisfy { ($0["loss"]?.doubleValue ?? -1) > 0 && $0["next"]?.arrayValue?.count == 10 } == true)
        // The start token alone has no loss.
        #expect(try await document(["run", t5, "--prompt", "hello world."])["rows"]?.arrayValue?[0]["loss"]?.isNull == true)
        let written = try await document(["generate", t5] + greedy + prompts("t5")).arrayValue ?? []
        #expect(written.compactMap { $0["text"] } == golden["written"]?.arrayValue)
        let begun = try await document(["generate", t5, "--decoder-prompt", "hello"] + greedy + prompts("t5")).arrayValue ?? []
        #expect(begun.compactMap { $0["text"] } == golden["begun"]?.arrayValue)
        let first = ["--prompt", "the capital of the house is blue"]
        #expect(try await text(["generate", t5, "--stream"] + greedy + first) == (golden["written"]?.arrayValue?[0].stringValue ?? "") + "\n")
        let edited = try await document(["generate", t5, "--edit", "zero decoder.*.cross_attn.hook_z"] + greedy + first)
        #expect(edited.arrayValue?[0]["new_tokens"] != written.first?["new_tokens"])
    }

    @Test func refusals() async throws {
        func expect(_ part: String, _ arguments: [String]) async throws {
            let line = try await failure(arguments)
            #expect(line.contains(part), "\(arguments): \(line)")
        }
        let tokens = ["--tokens", "2,9,3"]
        try await expect("an encoder does not generate", ["generate", bert] + tokens)
        try await expect("padded on the right", ["run", bert, "--padding-side", "left"] + tokens)
        try await expect("padded on the right", ["run", t5, "--padding-side", "left"] + tokens)
        try await expect("an encoder has no loss", ["run", bert, "--grad", "--cache", "z"] + tokens)
        try await expect("only an encoder-decoder has a decoder's input", ["run", bert, "--decoder-prompt", "a"] + tokens)
        try await expect("only an encoder-decoder has a decoder's input", ["run", try Models.gpt2, "--decoder-tokens", "1"] + tokens)
        try await expect("another number of decoder rows", ["run", t5, "--decoder-tokens", "0,1", "--decoder-tokens", "0"] + tokens)
        try await expect("no chat template", ["generate", t5, "--chat", "--prompt", "hello"])
        try await expect("activations from a prompt are for decoders", ["run", bert, "--edit", "patch z1 prompt=hello"] + tokens)
        try await expect("longer than the model's context", ["run", bert, "--tokens", Array(repeating: "9", count: 25).joined(separator: ",")])
        // Analyses of a decoder's next tokens say in one line what they are for.
        for command in [["lens", bert], ["attribute", t5, "--answer", "#5"]] { try await failure(command + tokens) }
        #expect(try await tlens(["run", t5, "--decoder-tokens", "0", "--decoder-prompt", "a"] + tokens).code == 64)
    }
}
