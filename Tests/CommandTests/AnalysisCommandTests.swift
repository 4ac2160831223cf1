// The commands of the analyses: their text, their JSON, their files, and what they refuse.

import LensFiles
import Testing
import TransformerLens

extension JSON {
    /// An element of an array.
    fileprivate subscript(_ index: Int) -> JSON? { arrayValue.flatMap { $0.indices.contains(index) ? $0[index] : nil } }
    /// The numbers of an array.
    fileprivate var doubles: [Double] { (arrayValue ?? []).compactMap(\.doubleValue) }
}

@Suite struct AnalysisCommandTests {
    private let pair = ["--clean", "When Mary went to the store, John gave a drink to", "--corrupted", "When John went to the store, John gave a drink to",
                        "--answer", " Mary", "--wrong", " John"]

    /// Plain text in a pipe: no escapes, whatever the environment says.
    @Test func plainInAPipe() async throws {
        let model = try Models.gpt2
        for arguments in [["heads", model], ["lens", model, "--prompt", "Once upon"], ["attribute", model, "--prompt", "Once", "--answer", " time"], ["patch", model] + pair] {
            for environment in [["TERM": "xterm-256color", "COLUMNS": "20", "NO_COLOR": nil]] as [[String: String?]] {
                let text = try await text(arguments, environment: environment)
                #expect(!text.contains("\u{1B}") && text.contains("\n"))
            }
        }
    }

    @Test func patch() async throws {
        let model = try Models.gpt2
        let json = try await document(["patch", model, "--top", "3"] + pair)
        let shape = json["shape"]?.ints ?? []
        #expect(shape.count == 2 && shape[0] == 6 && json["values"]?.arrayValue?.count == shape[0] * shape[1])
        #expect(json["axes"]?[0]?["name"]?.stringValue == "layer" && json["top"]?.arrayValue?.count == 3)
        let clean = try #require(json["clean"]?.doubleValue), corrupted = try #require(json["corrupted"]?.doubleValue)
        // The whole stream of the last position's run patched at its beginning: what differs is restored, nothing before it is.
        let values = json["values"]?.doubles ?? [], normalized = json["normalized"]?.doubles ?? []
        try #require(normalized.count == values.count)
        for (value, share) in zip(values, normalized) { #expect(abs((value - corrupted) / (clean - corrupted) - share) < 1e-5) }
        #expect(abs(normalized[shape[1] - 1]) < 1e-6 && abs(normalized[5 * shape[1] + 1]) < 1e-6)
        let noised = try await document(["patch", model, "--noising", "--raw"] + pair)
        #expect(noised["normalized"]?.isNull == true && noised["clean"]?.doubleValue == clean)
        for what in [NamedPatch.mlpOut, .attnHeadOutByPos, .attnHeadPatternByPos, .attnHeadVAllPos] {
            let swept = try await document(["patch", model, "--what", what.rawValue] + pair)
            #expect(swept["shape"]?.ints.count == what.axes.count)
        }
        let paths = try await document(["patch", model, "--to", "L3H1.q", "--to", "L4H0.v"] + pair)
        #expect(paths["shape"]?.ints == [3, 4])
        let direct = try await document(["patch", model, "--to", "final"] + pair), through = try await document(["patch", model, "--to", "final", "--through-mlps"] + pair)
        #expect(direct["shape"]?.ints == [6, 4] && through["shape"]?.ints == [6, 4] && direct["values"] != through["values"])
        // Two pairs of different lengths: padded, each as it is alone; with what examples say.
        let other = ["--clean", "Mary said", "--corrupted", "John said", "--answer", " the", "--wrong", " a"]
        let both = try await document(["patch", model, "--what", "attn_head_out_all_pos", "--raw"] + pair + other)
        #expect(both["p_value"]?.arrayValue?.count == 24 && both["standard_error"]?.arrayValue?.count == 24)
        let first = try await document(["patch", model, "--what", "attn_head_out_all_pos", "--raw"] + pair)["values"]?.doubles ?? []
        let second = try await document(["patch", model, "--what", "attn_head_out_all_pos", "--raw"] + other)["values"]?.doubles ?? []
        let means = both["values"]?.doubles ?? []
        try #require(means.count == 24 && first.count == 24 && second.count == 24)
        for cell in 0..<24 { #expect(abs(means[cell] - (first[cell] + second[cell]) / 2) < 1e-5) }
    }

    /// The table of rank correlations is of what --what patches and --estimate estimates.
    @Test func agreementOfEstimates() async throws {
        let model = try Models.gpt2, folder = try TestFolder(), pair = ["--clean", "Mary said", "--corrupted", "John said", "--answer", " the", "--wrong", " a"]
        let json = try await document(["patch", model, "--agreement", "--steps", "2", "--out", folder("a.npz")] + pair), source = try openTensors(at: folder("a.npz"))
        let reports = try #require(json["reports"]?.arrayValue)
        #expect(reports.map { $0["gradient_at"]?.stringValue } == ["clean", "corrupted", "integrated (2 steps, midpoint)"])
        for (report, (name, direction)) in zip(reports, [("clean", ["--noising"]), ("corrupted", [])]) {
            let parts = try #require(report["components"]?.arrayValue)
            #expect(parts.count == 9 && parts.allSatisfy { ($0["spearman"]?.doubleValue).map { (-1...1).contains($0) } ?? false })
            for what in ["mlp_out", "attn_head_v_by_pos"] {
                let effect = try Tensor(stored: "\(name).\(what).effect", in: source).array, estimate = try Tensor(stored: "\(name).\(what).estimate", in: source).array
                let patch = ["patch", model, "--what", what, "--raw"] + direction + pair
                let truth = try await document(patch), guess = try await document(patch + ["--estimate"])
                let start = try #require(truth[name]?.doubleValue), values = truth["values"]?.doubles ?? [], guesses = guess["values"]?.doubles ?? []
                try #require(values.count == effect.count && guesses.count == effect.count && effect.count > 12)
                for cell in effect.indices {
                    #expect(abs(values[cell] - start - Double(effect[cell])) < 1e-4 && abs(guesses[cell] - start - Double(estimate[cell])) < 1e-4, "\(name) \(what) \(cell)")
                }
            }
        }
        let table = try await text(["patch", model, "--agreement", "--steps", "2"] + pair)
        #expect(table.contains("integrated") && table.contains("attn_head_pattern_by_pos"))
    }

    @Test func headsAndFiles() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        let json = try await document(["heads", model, "--ablate", "mean", "--batch", "2", "--length", "9", "--seed", "3"])
        #expect(json["kinds"]?.arrayValue?.compactMap { $0["kind"]?.stringValue } == ["previous_token", "duplicate_token", "induction"])
        #expect(json["loss"]?.doubleValue != nil && json["loss_ablated"]?.arrayValue?.count == 6)
        #expect(try await document(["heads", model, "--ablate", "mean", "--batch", "2", "--length", "9", "--seed", "3", "--threads", "1"]) == json)
        #expect(try await document(["heads", model, "--ablate", "zero", "--batch", "2", "--length", "9", "--seed", "3"])["loss_ablated"] != json["loss_ablated"])
        let detected = try await document(["heads", model, "--tokens", "1,2,3,1,2,3", "--error-measure", "abs", "--exclude-bos", "--head", "L1H2"])
        #expect(detected["kinds"]?[0]?["kind"]?.stringValue == "previous_token_head")
        #expect(detected["kinds"]?[0]?["scores"]?[0]?[0]?.doubleValue == -1 && detected["kinds"]?[0]?["scores"]?[1]?[2]?.doubleValue != -1)
        for name in ["h.npz", "h.safetensors"] {
            _ = try await text(["heads", model, "--out", folder(name), "--length", "9", "--batch", "2"])
            let source = try openTensors(at: folder(name))
            #expect(try Tensor(stored: "induction", in: source).shape == [6, 4])
            var text = Array(((source as? SafetensorsFile)?.metadata["labels"] ?? "").utf8)
            if name == "h.npz" { text = try source.bytes(of: "labels") }
            let labels = try JSON.parse(text, at: name)
            #expect(labels["induction"]?[0]?[5]?.stringValue == "L5" && labels["induction"]?[1]?[3]?.stringValue == "H3")
        }
    }

    @Test func lensAndAttribute() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        let lens = try await document(["lens", model, "--prompt", "Once upon a time", "--prompt", "Hello", "--target", " Mary", "--top", "2"])
        #expect(lens["rows"]?.arrayValue?.count == 2)
        let last = try #require(lens["rows"]?[0]?["layers"]?.arrayValue?.last)
        #expect(last["label"]?.stringValue == "final_post" && last["positions"]?[0]?["kl_to_output"]?.doubleValue == 0)
        #expect(last["positions"]?[0]?["target"]?["text"]?.stringValue == " Mary" && last["positions"]?[0]?["top"]?.arrayValue?.count == 2)
        for unit in ["component", "layer", "head", "neuron"] {
            let json = try await document(["attribute", model, "--prompt", "Once upon a time", "--answer", " Mary", "--wrong", " John", "--by", unit])
            let attribution = try #require(json["rows"]?[0]?["attribution"])
            let parts = attribution["parts"]?.arrayValue ?? []
            let sum = parts.compactMap { $0["values"]?[0]?.doubleValue }.reduce(0, +)
            let total = try #require(attribution["total"]?[0]?.doubleValue)
            #expect(abs(sum - total) < 1e-3 && parts.count > 6, "\(unit)")
        }
        _ = try await text(["attribute", model, "--prompt", "Once upon", "--answer", "#5", "--by", "head", "--out", folder("a.npz")])
        _ = try await text(["lens", model, "--prompt", "Once upon", "--out", folder("l.safetensors")])
        #expect(try Tensor(stored: "attribution", in: openTensors(at: folder("a.npz"))).shape[0] == 1)
        #expect(try Tensor(stored: "entropy", in: openTensors(at: folder("l.safetensors"))).shape.count == 3)
    }

    @Test func neuronsAndEval() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        try folder.write("text", (0..<80).map { "Mary gave John a drink. \($0 * 37 % 11) The Eiffel Tower is in Paris and the store.\n" }.joined())
        let arguments = ["neurons", model, "--neuron", "L1N5", "--neuron", "5.220", "--text-file", folder("text"), "--length", "32", "--top", "3"]
        let whole = try await document(arguments)
        #expect(whole["neurons"]?.arrayValue?.count == 2 && whole["neurons"]?[1]?["examples"]?.arrayValue?.count == 3)
        // In parts, from a state.
        let state = ["--state", folder("state")]
        _ = try await document(arguments + state + ["--rows", "7"])
        #expect(try await document(arguments + state) == whole)
        #expect(try await failure(["neurons", model, "--neuron", "L1N6", "--text-file", folder("text"), "--length", "32", "--top", "3"] + state).contains("a state of another search"))
        #expect(try await text(arguments).contains("L5N220: above 0 on"))
        try folder.write("q.csv", "Which?,store,drink,A\nWho?,Mary,John,B\n")
        let json = try await document(["eval", model, "--text-file", folder("text"), "--induction", "--ioi", "--samples", "10", "--questions", folder("q.csv"), "--length", "32"])
        let names = json["scores"]?.arrayValue?.compactMap { $0["measure"]?.stringValue } ?? []
        #expect(names == ["loss", "perplexity", "loss", "logit difference", "accuracy", "accuracy"])
        #expect(json["scores"]?.arrayValue?.allSatisfy { $0["value"]?.doubleValue?.isFinite ?? false } == true)
    }

    @Test(arguments: [
        (["patch", "M", "--clean", "a"], "give --clean or --clean-tokens"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--corrupted", "c", "--answer", "d"], "1 clean prompts but 2 corrupted ones"),
        (["patch", "M", "--clean", "a", "--corrupted", "b"], "give an --answer"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--what", "z"], "--what takes resid_pre"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--to", "L1H2"], "receives nothing"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--to", "Lxq.q"], "is not a head"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--through-mlps"], "--through-mlps is for path patching"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--agreement", "--estimate"], "--agreement compares all kinds"),
        (["patch", "M", "--clean", "a", "--corrupted", "b", "--answer", "c", "--agreement", "--steps", "0"], "--steps takes a number from 1"),
        (["heads", "M", "--ablate", "all"], "--ablate takes mean or zero"),
        (["heads", "M", "--ablate", "mean", "--prompt", "a"], "--ablate is for random tokens"),
        (["heads", "M", "--error-measure", "x", "--prompt", "a"], "--error-measure takes mul or abs"),
        (["heads", "M", "--head", "L1H1"], "--head goes with --prompt"),
        (["heads", "M", "--batch", "0"], "--batch takes a number from 1"),
        (["heads", "M", "--out", "x.txt"], "--out takes a name ending in"),
        (["neurons", "M", "--text-file", "f"], "give a --neuron"),
        (["neurons", "M", "--text-file", "f", "--neuron", "L1H2"], "is not a neuron"),
        (["neurons", "M", "--neuron", "1.2"], "text-file"),
        (["eval", "M"], "nothing to evaluate"),
        (["eval", "M", "--ioi", "--name", "Mary"], "two or more different"),
        (["lens", "M"], "nothing to run on"),
        (["lens", "M", "--prompt", "a", "--top", "0"], "--top takes a number from 1"),
        (["attribute", "M", "--prompt", "a"], "give an --answer"),
        (["attribute", "M", "--prompt", "a", "--answer", "b", "--by", "word"], "--by takes component"),
    ])
    func badUsage(_ arguments: [String], _ message: String) async throws {
        let finished = try await tlens(arguments)
        #expect(finished.code == 64 && finished.out.isEmpty, "\(arguments)")
        #expect(finished.err.contains(message), "\(finished.err)")
    }

    @Test func refusals() async throws {
        let model = try Models.gpt2, noText = try Models.noText
        func expect(_ part: String, _ arguments: [String]) async throws { #expect(try await failure(arguments).contains(part), "\(arguments)") }
        try await expect("prompts of different lengths", ["patch", model, "--clean", "Mary said", "--corrupted", "Mary", "--answer", " a"])
        try await expect("not a single token", ["patch", model, "--clean", "Mary", "--corrupted", "John", "--answer", "qqqq"])
        try await expect("token out of range", ["patch", model, "--clean", "Mary", "--corrupted", "Mary", "--answer", "#99999"])
        try await expect("no such receiver", ["patch", model, "--to", "L9H0.q"] + pair)
        try await expect("no head comes before", ["patch", model, "--to", "L0H0.q"] + pair)
        try await expect("must fit within the model's context window", ["heads", model, "--tokens", "1"])
        try await expect("repeated sequences do not fit", ["heads", model, "--length", "1000"])
        try await expect("no such neuron", ["neurons", model, "--neuron", "0.100000", "--text-file", "/dev/null"])
        try await expect("rows longer than the context", ["neurons", model, "--neuron", "0.1", "--length", "5000", "--text-file", "/dev/null"])
        try await expect("nowhere.txt", ["eval", model, "--text-file", "nowhere.txt"])
        try await expect("this model has no tokenizer", ["eval", noText, "--ioi"])
        try await expect("answers do not fit the prompts", ["attribute", model, "--prompt", "a", "--answer", " a", "--answer", " the"])
        try await expect("no such position", ["attribute", model, "--prompt", "a", "--answer", " a", "--position", "7"])
        #expect(try await text(["heads", noText, "--length", "8", "--batch", "1"]).contains("previous token"))
        #expect(try await text(["patch", noText, "--clean-tokens", "1,2,3", "--corrupted-tokens", "1,5,3", "--answer", "#4", "--wrong", "#5"]).contains("resid_pre"))
    }
}
