// `tlens circuit` and `tlens attribute --method`: their text, JSON and files, and what they refuse.

import LensFiles
import Testing
import TransformerLens

@Suite struct CircuitCommandTests {
    private let pair = ["--prompt", "When Mary went to the store, John gave a drink to", "--corrupt", "When John went to the store, John gave a drink to",
                        "--answer", " Mary", "--wrong", " John"]

    @Test func circuits() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        // 6 layers of 4 heads and an MLP: 31 writers, 79 readers.
        let json = try await document(["circuit", model, "--size", "40", "--dot", folder("c.dot"), "--out", folder("c.safetensors"), "--minimality"] + pair)
        let edges = json["circuit"]?["edges"]?.arrayValue ?? [], sizes = json["sizes"]?["circuits"]?.arrayValue ?? []
        #expect(!edges.isEmpty && edges.count <= 40 && sizes.count == 1 && sizes[0]["edges"]?.intValue == edges.count)
        #expect(json["method"]?.stringValue == "eap-ig" && json["gradient_at"]?.stringValue == "integrated (5 steps, right)")
        #expect(edges.allSatisfy { $0["score"]?.doubleValue?.isFinite == true })
        let clean = try #require(json["clean"]?.doubleValue), empty = try #require(json["sizes"]?["empty"]?.doubleValue), corrupted = try #require(json["corrupted"]?.doubleValue)
        #expect(abs(empty - corrupted) < 1e-3 && json["sizes"]?["whole"]?.doubleValue == clean)
        let metric = try #require(sizes[0]["metric"]?.doubleValue), share = try #require(json["faithfulness"]?.doubleValue)
        #expect(abs((metric - empty) / (clean - empty) - share) < 1e-9)
        #expect(json["minimality"]?.arrayValue?.count == (sizes[0]["nodes"]?.intValue ?? 0) - 1)
        let dot = try folder.read("c.dot")
        #expect(dot.hasPrefix("digraph circuit {") && dot.split(separator: "\n").count { $0.contains(" -> ") } == edges.count)
        let file = try SafetensorsFile(path: folder("c.safetensors"))
        #expect(try Tensor(stored: "scores", in: file).shape == [79, 31] && file.names.contains("curve.faithfulness"))
        // The whole graph is the whole model.
        let whole = try await document(["circuit", model, "--size", "100000", "--method", "eap", "--gradient-at", "corrupted"] + pair)
        #expect(whole["faithfulness"]?.doubleValue == 1 && whole["completeness"]?.doubleValue == 0)
    }

    @Test(arguments: [["--method", "attribution", "--size", "6"], ["--ablate", "zero", "--size", "30", "--select", "top"], ["--ablate", "mean", "--method", "eap", "--size", "30"], []])
    func ways(_ options: [String]) async throws {
        let model = try Models.gpt2, all = ["circuit", model] + options + pair
        let json = try await document(all), text = try await text(all)
        #expect(!text.contains("\u{1B}") && text.contains("faithfulness") && text.contains("logit of the answer less that of the wrong one: clean"))
        #expect((json["sizes"]?["circuits"]?.arrayValue ?? []).count == (options.isEmpty ? 6 : 1))
        if options.contains("attribution") {
            #expect(json["node_scores"]?.arrayValue?.count == 30 && (json["circuit"]?["nodes"]?.arrayValue?.count ?? 99) <= 8)
        }
        let again = try await document(all)
        #expect(again == json)
    }

    /// An estimated sweep has the true one's shape, and its baseline where nothing differs.
    @Test func estimatedSweeps() async throws {
        let patched = ["--clean", pair[1], "--corrupted", pair[3]] + pair[4...]
        for what in ["resid_pre", "attn_head_out_by_pos", "attn_head_pattern_by_pos", "attn_head_v_all_pos"] {
            for way in [[], ["--noising"]] {
                let both = try await [document(["patch", Models.gpt2, "--what", what] + way + patched), document(["patch", Models.gpt2, "--what", what, "--estimate"] + way + patched)]
                #expect(both[0]["shape"] == both[1]["shape"] && both[0]["axes"] == both[1]["axes"] && both[0]["clean"] == both[1]["clean"])
                let values = both.map { ($0["values"]?.arrayValue ?? []).compactMap(\.doubleValue) }
                #expect(values[0].count == values[1].count && !values[0].isEmpty)
            }
        }
        let refused = try await tlens(["patch", Models.gpt2, "--estimate", "--to", "final"] + patched)
        #expect(refused.code == 64 && refused.err.contains("--estimate is for activations"))
    }

    @Test func inputTokens() async throws {
        let model = try Models.gpt2, prompt = ["--prompt", "When Mary went to the store", "--answer", " Mary"]
        for method in ["gradient", "gradient-times-input", "integrated"] {
            let json = try await document(["attribute", model, "--method", method] + prompt), rows = json["rows"]?.arrayValue ?? []
            let tokens = rows.first?["tokens"]?.arrayValue ?? []
            #expect(rows.count == 1 && tokens.count >= 6 && tokens.allSatisfy { $0["value"]?.doubleValue?.isFinite == true })
            if method == "integrated", let start = rows[0]["baseline_metric"]?.doubleValue, let end = rows[0]["metric"]?.doubleValue, let gap = rows[0]["completeness_gap"]?.doubleValue {
                let sum = tokens.reduce(0) { $0 + ($1["value"]?.doubleValue ?? .nan) }
                #expect(abs(sum - gap - (end - start)) < 1e-4)
            }
            let text = try await text(["attribute", model, "--method", method, "--baseline", "zero"] + prompt)
            #expect(!text.contains("\u{1B}") && text.contains("\" Mary\"") && text.contains("logit of the answer: "))
        }
    }

    @Test(arguments: [
        (["--size", "5"], "give --prompt or --tokens"), (["--prompt", "a", "--corrupt", "b"], "give an --answer"), (["--prompt", "a", "--answer", "b"], "--corrupt"),
        (["--prompt", "a", "--prompt", "b", "--corrupt", "c", "--answer", "d"], "2 prompts but 1"), (["--method", "magic"], "magic"), (["--ablate", "all"], "all"),
        (["--size", "-1"], "--size"), (["--steps", "0"], "--steps"), (["--gradient-at", "x"], "--gradient-at"), (["--mean-file", "x"], "--mean-file goes with"),
    ]) func badUsage(_ options: [String], _ part: String) async throws {
        let isWhole = options.contains("--prompt") || options == ["--size", "5"]
        let result = try await tlens(["circuit", Models.gpt2] + (isWhole ? [] : pair) + options)
        #expect(result.code == 64 && result.err.contains(part), "\(options): \(result.err)")
    }

    @Test func refusals() async throws {
        func expect(_ part: String, _ arguments: [String]) async throws { #expect(try await failure(arguments).contains(part), "\(arguments)") }
        let model = try Models.gpt2
        try await expect("prompts of different lengths", ["circuit", model, "--prompt", "Mary went", "--corrupt", "Mary", "--answer", " John"])
        try await expect("nothing to measure a circuit by", ["circuit", model, "--prompt", "Mary", "--corrupt", "Mary", "--answer", " John"])
        try await expect("cannot", ["circuit", model, "--size", "3", "--dot", "/no/such/folder/c.dot"] + pair)
        try await expect("norms of the stream after each sublayer", ["circuit", Models.goldens + "/openai-gpt", "--tokens", "1,2", "--corrupt-tokens", "1,3", "--answer", "#5"])
    }
}
