// Every command from outside: what it prints as text and as JSON, its exit code, and what it says when used wrongly.

import LensFiles
import Testing
import TinyModels

/// The one JSON document of a `--json` run, with nothing beside it.
func document(_ arguments: [String], environment: [String: String?] = [:], at place: SourceLocation = #_sourceLocation) async throws -> JSON {
    let finished = try await tlens(arguments + ["--json"], environment: environment, at: place)
    #expect(finished.code == 0 && finished.err.isEmpty, "\(arguments): \(finished.err)", sourceLocation: place)
    return try JSON.parse(Array(finished.out.utf8), at: "stdout")
}

/// Text of a run that went well and said nothing on stderr.
func text(_ arguments: [String], environment: [String: String?] = [:], at place: SourceLocation = #_sourceLocation) async throws -> String {
    let finished = try await tlens(arguments, environment: environment, at: place)
    #expect(finished.code == 0 && finished.err.isEmpty, "\(arguments): \(finished.err)", sourceLocation: place)
    return finished.out
}

/// A run that fails with exit code 1, one line on stderr and nothing on stdout. - Returns: the line.
@discardableResult
func failure(_ arguments: [String], environment: [String: String?] = [:], at place: SourceLocation = #_sourceLocation) async throws -> String {
    let finished = try await tlens(arguments, environment: environment, at: place)
    #expect(finished.code == 1 && finished.out.isEmpty && finished.errorLines.count == 1 && finished.err.hasPrefix("Error: "),
            "\(arguments): code \(finished.code ?? -1), signal \(finished.signal ?? 0), \(finished.err)", sourceLocation: place)
    return finished.err
}

extension JSON {
    var ints: [Int] { arrayValue?.compactMap(\.intValue) ?? [] }
}

@Suite struct CommandTests {
    @Test func help() async throws {
        let all = try await text(["--help"])
        for command in ["models", "info", "tokenize", "run", "generate", "patchscope", "steer", "bench"] {
            #expect(all.contains("  \(command) "))
            let one = try await text([command, "--help"])
            #expect(one.contains("USAGE: tlens \(command)") && one.contains("--json") && one.contains("--quiet"))
            #expect(one.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(one)")
        }
        #expect(try await text(["--version"]) == "0.1.0\n")
    }

    @Test func gradients() async throws {
        let folder = try TestFolder(), model = try Models.gpt2, path = folder("run.safetensors")
        let arguments = ["run", model, "--prompt", "Hello World", "--prompt", "Once upon a time", "--cache", "resid_post", "--cache", "unembed.hook_out", "--grad"]
        let plain = try await document(Array(arguments.dropLast(1))), json = try await document(arguments + ["--out", path])
        #expect(json["rows"] == plain["rows"], "looking changes nothing")
        let names = json["activations"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
        #expect(names.filter { $0.hasSuffix("_grad") } == names.filter { !$0.hasSuffix("_grad") }.map { $0 + "_grad" } && names.count >= 6)
        // The loss' gradient of the logits: softmax less one at the next token, over the number of pairs; zero for padding.
        let file = try SafetensorsFile(path: path), entry = try file.requireEntry("unembed.hook_out_grad")
        let numbers = try file.bytes(of: entry.name).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        let width = entry.shape[2], pos = entry.shape[1], lengths = try #require(json["rows"]?.arrayValue).map { $0["tokens"]?.ints.count ?? 0 }
        let pairs = lengths.reduce(0) { $0 + $1 - 1 }
        for (row, length) in lengths.enumerated() {
            for place in 0..<pos {
                let own = numbers[(row * pos + place) * width..<(row * pos + place + 1) * width]
                if place >= length - 1 { #expect(own.allSatisfy { $0 == 0 }); continue }
                #expect(abs(own.reduce(0, +)) < 1e-5 && own.filter { $0 < 0 }.count == 1)
                let next = try #require(json["rows"]?.arrayValue?[row]["tokens"]?.ints[place + 1])
                #expect(own[own.startIndex + next] < 0 && own[own.startIndex + next] > -1 / Float(pairs))
            }
        }
        #expect(try await text(arguments).contains("blocks.0.hook_resid_post_grad"))
        #expect(try await failure(["run", model, "--tokens", "5", "--cache", "embed", "--grad"]).contains("--grad"))
        let refused = try await tlens(["run", model, "--tokens", "5,6", "--grad"])
        #expect(refused.code == 64 && refused.err.contains("--cache"))
    }

    @Test func models() async throws {
        let list = try await text(["models"])
        #expect(list.contains("openai-community/gpt2-xl") && list.contains("gpt2-small") && list.contains("meta-llama/Llama-3.2-1B"))
        #expect(!list.split(separator: "\n").contains { $0.hasSuffix(" ") })
        let llamas = try await document(["models", "--family", "llama"]).arrayValue ?? []
        #expect(llamas.count > 20 && llamas.allSatisfy { $0["family"]?.stringValue == "llama" && $0["id"]?.stringValue != nil })
    }

    @Test func info() async throws {
        let shown = try await text(["info", Models.gpt2])
        #expect(shown.contains("n_layers ") && shown.contains("blocks.{i}.attn.hook_pattern") && shown.contains("[batch, head 4, pos, key_pos]"))
        let json = try await document(["info", Models.gpt2])
        #expect(json["config"]?["d_head"]?.intValue == 14 && json["config"]?["act_fn"]?.stringValue == "gelu_new")
        #expect((json["parameters"]?.intValue ?? 0) > 200_000)
        #expect(json["processing"]?["done"] == ["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"])
        let raw = try await document(["info", Models.gpt2, "--processing", "none"])
        #expect(raw["processing"]?["done"] == [] && raw["config"]?["normalization_type"] == "LN" && json["config"]?["normalization_type"] == "LNPre")
        let pattern = json["hook_sites"]?.arrayValue?.first { $0["name"]?.stringValue == "blocks.{i}.attn.hook_pattern" }
        #expect(pattern?["shape"] == [nil, 4, nil, nil] && pattern?["axes"] == ["batch", "head", "pos", "key_pos"])
    }

    @Test func tokenize() async throws {
        let model = try Models.gpt2, end = TinyTokenizer.endOfText
        let json = try await document(["tokenize", model, "Hello World"])
        #expect(json["ids"]?.ints.first == end && json["tokens"] == ["<|endoftext|>", "Hello", " World"])
        let bare = try await document(["tokenize", model, "Hello World", "--no-bos"])
        #expect(bare["tokens"] == ["Hello", " World"])
        let ids = bare["ids"]?.ints.map(String.init).joined(separator: ",") ?? ""
        #expect(try await text(["tokenize", model, "--decode", ids]) == "Hello World\n")
        let decoded = try await document(["tokenize", model, "--decode", ids])
        #expect(decoded["text"]?.stringValue == "Hello World")
        #expect(try await text(["tokenize", model, "a\n\u{1B}[31m"]).contains("\\u{1b}"), "a control character reached the terminal")
        // Only a tokenizer: no family's rule, so what the tokenizer does by itself.
        #expect(try await document(["tokenize", model + "/tokenizer.json", "Hello"])["tokens"] == ["Hello"])
        #expect(try await document(["tokenize", model, ""])["ids"]?.ints == [end])
        #expect(try await document(["tokenize", model, "", "--no-bos"])["ids"]?.ints == [])
        #expect(try await failure(["tokenize", model, "--decode", "0,9999"]).contains("no such token (token 1)"))
    }

    @Test func run() async throws {
        let model = try Models.gpt2
        let shown = try await text(["run", model, "--prompt", "Hello World", "--cache", "resid_post", "--top", "3"])
        #expect(shown.contains("rank") && shown.contains("loss: ") && shown.contains("blocks.5.hook_resid_post  [1, 3, 56]"))
        let json = try await document(["run", model, "--prompt", "Hello World", "--top", "3"])
        let row = json["rows"]?.arrayValue?.first
        #expect(row?["next"]?.arrayValue?.count == 3 && (row?["loss"]?.doubleValue ?? -1) > 0 && row?["tokens"]?.ints.count == 3)
        #expect(json["activations"] == [] && json["out"]?.isNull == true)
        // One token has no loss; nor does it need a tokenizer.
        #expect(try await document(["run", Models.noText, "--tokens", "5"])["rows"]?.arrayValue?.first?["loss"]?.isNull == true)
    }

    /// Each form of input, the same rows: the same numbers.
    @Test func inputs() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        try folder.write("prompts.txt", "Hello World\r\nOnce upon a time\n\n")
        let expected = try await document(["run", model, "--prompt", "Hello World", "--prompt", "Once upon a time"])
        let rows = expected["rows"]?.arrayValue?.compactMap { $0["tokens"]?.ints } ?? []
        #expect(rows.count == 2 && rows[0].count != rows[1].count)
        try folder.write("tokens.json", JSON.array(rows.map { .array($0.map(JSON.int)) }))
        let lists = rows.flatMap { ["--tokens", $0.map(String.init).joined(separator: ",")] }
        for input in [["--prompts-file", folder("prompts.txt")], ["--tokens-file", folder("tokens.json")], lists, lists + ["--padding-side", "left"]] {
            #expect(try await document(["run", model] + input) == expected, "\(input)")
        }
        // Each row alone gives what it gives in the batch.
        for row in [0, 1] { #expect(try await document(["run", model, lists[2 * row], lists[2 * row + 1]])["rows"]?.arrayValue?.first == expected["rows"]?.arrayValue?[row]) }
        let bare = try await document(["run", model, "--prompt", "Hello World", "--no-bos"])
        #expect(bare["rows"]?.arrayValue?.first?["tokens"]?.ints == Array(rows[0].dropFirst()))
        // A prompt may begin with a dash.
        #expect(try await text(["run", model, "--prompt", "--out"]).contains("rank"))
    }

    @Test func savesRuns() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        for name in ["run.safetensors", "run.npz"] {
            #expect(try await text(["run", model, "--prompt", "Hello World", "--cache", "all", "--cache", "result", "--out", folder(name)]).contains("wrote"))
            let file = try openTensors(at: folder(name))
            #expect(file.entry("tokens")?.shape == [1, 3] && file.entry("logits")?.shape == [1, 3, TinyTokenizer.size])
            #expect(file.entry("blocks.5.attn.hook_pattern")?.shape == [1, 4, 3, 3] && file.entry("blocks.0.attn.hook_result")?.shape == [1, 3, 4, 56])
            #expect(file.entry("blocks.0.hook_q_input") == nil && file.names.count > 100)
        }
    }

    @Test func filters() async throws {
        let model = try Models.gpt2
        func names(_ filter: String) async throws -> [String] {
            try await document(["run", model, "--tokens", "1,2", "--cache", filter])["activations"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
        }
        #expect(try await names("blocks.3.hook_resid_post") == ["blocks.3.hook_resid_post"])
        #expect(try await names("resid_pre5") == ["blocks.5.hook_resid_pre"])
        #expect(try await names("pattern").count == 6)
        #expect(try await names("blocks.*.hook_z").count == 6)
        #expect(try await names("hook_tokens") == ["hook_tokens"])
        let all = try await names("all")
        #expect(all.contains("ln_final.hook_normalized") && !all.contains("hook_tokens"))
        for filter in ["patern", "blocks.6.hook_resid_pre", "*.nothing", "", "rot_q"] {
            let line = try await failure(["run", model, "--tokens", "1,2", "--cache", filter])
            #expect(line.contains("activation"), "\(line)")
        }
        #expect(try await failure(["run", model, "--tokens", "1", "--cache", "patern"]).contains("did you mean pattern?"))
    }

    @Test func bench() async throws {
        let model = try Models.gpt2, few = ["--prompt-tokens", "8", "--new-tokens", "2", "--repeats", "1", "--threads", "1"]
        let shown = try await text(["bench", model] + few)
        #expect(shown.contains("prefill") && shown.contains("cached run") && shown.contains("decode") && shown.contains("1 thread,"))
        let json = try await document(["bench", model] + few)
        #expect(json["threads"]?.intValue == 1 && json["results"]?.arrayValue?.count == 3)
        #expect(json["results"]?.arrayValue?.allSatisfy { ($0["tokens_per_second"]?.doubleValue ?? 0) > 0 } == true)
    }

    @Test func instructionSets() async throws {
        let model = try Models.gpt2
        let portable = try await document(["info", model], environment: ["LENS_ISA": "portable"])
        #expect(portable["instruction_set"]?.stringValue == "portable")
        #expect(try await failure(["run", model, "--tokens", "1"], environment: ["LENS_ISA": "sse9"]).contains("LENS_ISA"))
    }
}
