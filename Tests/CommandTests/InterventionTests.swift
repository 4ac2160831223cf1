// `tlens patchscope`, `tlens steer`, and --edit on run and generate: what they print, keep and refuse.

import LensFiles
import Testing
import TinyModels

@Suite struct InterventionTests {
    private let greedy = ["--temperature", "0", "--max-new-tokens", "6"]

    @Test func patchscopes() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        let prompts = ["--source", "Hello World", "--target", "Once upon a time", "--max-new-tokens", "3"]
        let shown = try await text(["patchscope", model, "--source-layers", "0,-1", "--target-layers", "1,2"] + prompts)
        let lines = shown.split(separator: "\n")
        #expect(lines.count == 3 && lines[0].hasPrefix("source \\ target  1") && lines[2].drop { $0 == " " }.hasPrefix("5  \""))
        let json = try await document(["patchscope", model, "--out", folder("cells.safetensors")] + prompts)
        let cells = json["cells"]?.arrayValue ?? []
        #expect(cells.count == 36 && cells.allSatisfy { $0["tokens"]?.ints.count == 3 && $0["text"]?.stringValue != nil })
        #expect(json["source"]?["position"]?.intValue == 2 && json["target"]?["tokens"]?.ints.count ?? 0 > 2)
        let file = try openTensors(at: folder("cells.safetensors"))
        #expect(file.entry("pairs")?.shape == [36, 2] && file.entry("logits")?.shape == [36, TinyTokenizer.size] && file.entry("tokens")?.shape == [36, 3])
        // Other batches and threads: the same.
        let same = try await document(["patchscope", model, "--batch-size", "5", "--threads", "1", "--out", folder("cells.safetensors")] + prompts)
        #expect(same == json)
        // A state into its own place changes nothing.
        let own = try await document(["patchscope", model, "--source", "Hello World", "--target", "Hello World", "--source-layers", "2", "--target-layers", "2", "--max-new-tokens", "6"])
        let plain = try await document(["generate", model, "--prompt", "Hello World"] + greedy)
        #expect(own["cells"]?.arrayValue?.first?["tokens"] == plain.arrayValue?.first?["new_tokens"])
        #expect(try await text(["patchscope", model, "--source", "Hello", "--relation", "The World of", "--max-new-tokens", "0"]).split(separator: "\n").count == 7)
        #expect(try await failure(["patchscope", model, "--source", "Hello", "--target", "World", "--source-position", "9"]).contains("no such position"))
        #expect(try await failure(["patchscope", model, "--source", "Hello", "--target", "World", "--source-layers", "6"]).contains("no such layer"))
        #expect(try await failure(["patchscope", model, "--source", "Hello", "--target", "World", "--affine", folder("none.safetensors")]).contains("none.safetensors"))
        for wrong in [["--source", "a"], ["--source", "a", "--target", "b", "--preset", "token-identity"], ["--source", "a", "--preset", "nothing"],
                      ["--source", "a", "--target", "b", "--source-layers", "x"], ["--target", "b"], ["--source", "a", "--target", "b", "--out", "x.txt"]] {
            #expect(try await tlens(["patchscope", model] + wrong).code == 64, "\(wrong)")
        }
    }

    @Test func steering() async throws {
        let model = try Models.gpt2, folder = try TestFolder(), sides = ["--positive", "Hello", "--positive", "Hello World", "--negative", "Once", "--negative", "Once upon"]
        for (name, count) in [("v.gguf", 5), ("v.safetensors", 6)] {
            let made = try await document(["steer", model, "--out", folder(name), "--method", "pca"] + sides)
            #expect(made["layers"]?.arrayValue?.count == count)
            let once = try await document(["steer", model, "--vector", folder(name), "--strength", "-40", "--prompt", "Once upon a time"] + greedy)
            let pair = once["generations"]?.arrayValue?.first
            let plain = try await text(["generate", model, "--prompt", "Once upon a time"] + greedy)
            #expect(pair?["plain"]?.stringValue.map { $0 + "\n" } == plain && pair?["steered"] != pair?["plain"])
        }
        // The same by hand, as an edit.
        let edited = try await text(["generate", model, "--prompt", "Once upon a time", "--edit", "add resid_post3 from=\(folder("v.gguf")) tensor=direction.3 by=40 at=new"] + greedy)
        let steered = try await text(["steer", model, "--vector", folder("v.gguf"), "--layers", "3", "--strength", "40", "--prompt", "Once upon a time"] + greedy)
        #expect(steered.hasSuffix("with:    " + edited))
        #expect(try await failure(["steer", model, "--positive", "Hello", "--negative", "Hello"]).contains("do not differ"))
        #expect(try await failure(["steer", model, "--vector", folder("none.gguf"), "--prompt", "a"]).contains("none.gguf"))
        for wrong in [[], ["--positive", "a"], ["--vector", "v", "--positive", "a", "--negative", "b"], sides + ["--method", "x"], sides + ["--out", "v.bin"], sides + ["--at", "last"]] {
            #expect(try await tlens(["steer", model] + wrong).code == 64, "\(wrong)")
        }
    }

    @Test func edits() async throws {
        let model = try Models.gpt2, folder = try TestFolder(), prompt = ["--prompt", "Once upon a time"]
        let plain = try await document(["generate", model] + prompt + greedy), row = plain.arrayValue?.first
        #expect(row?["log_probabilities"]?.arrayValue?.count == 6 && row?["finish_reason"]?.stringValue == "length" && row?["edits"] == [])
        let line = "zero resid_post1 at=last", changed = try await document(["generate", model, "--edit", line] + prompt + greedy)
        #expect(changed.arrayValue?.first?["log_probabilities"] != row?["log_probabilities"])
        // What --json says was done is an experiment that can be run again.
        try folder.write("experiment.json", changed.arrayValue?.first?["edits"] ?? .null)
        try folder.write("experiment.txt", "# once more\n\(line)\n")
        for name in ["experiment.json", "experiment.txt"] {
            #expect(try await document(["generate", model, "--edit", folder(name)] + prompt + greedy) == changed)
        }
        // On run: patching every layer's output with another prompt's makes it that prompt.
        let other = try await document(["run", model, "--prompt", "Hello World", "--top", "2"]), first = other["rows"]?.arrayValue?.first?["next"]
        let patched = try await document(["run", model, "--prompt", "Once upon a time", "--top", "2", "--edit", "patch resid_post5 prompt=\"Hello World\" at=last"])
        #expect(patched["rows"]?.arrayValue?.first?["next"] == first)
        // Captured while generating.
        _ = try await text(["generate", model, "--cache", "pattern", "--out", folder("run.npz")] + prompt + greedy)
        let file = try openTensors(at: folder("run.npz")), length = (row?["prompt_tokens"]?.ints.count ?? 0) + 6
        #expect(file.entry("tokens")?.shape == [1, length] && file.entry("blocks.5.attn.hook_pattern")?.shape == [1, 4, length - 1, length - 1])
        #expect(try await failure(["generate", model, "--edit", "zero zz3"] + prompt).contains("zz3"))
        #expect(try await failure(["run", model, "--edit", "zero z3 at=later"] + prompt).contains("--edit 1"))
        #expect(try await failure(["run", model, "--edit", folder("none.json")] + prompt).contains("none.json"))
        #expect(try await tlens(["generate", model, "--cache", "z"] + prompt).code == 64)
        #expect(try await tlens(["generate", model, "--temperature", "0", "--frequency-penalty", "1"] + prompt).code == 64)
    }

    @Test func penaltiesAndSeeds() async throws {
        let model = try Models.gpt2, prompt = ["--prompt", "Once upon a time", "--max-new-tokens", "12"]
        let free = try await document(["generate", model, "--temperature", "0"] + prompt).arrayValue?.first?["new_tokens"]?.ints ?? []
        let varied = try await document(["generate", model, "--temperature", "0", "--repetition-penalty", "100"] + prompt).arrayValue?.first?["new_tokens"]?.ints ?? []
        #expect(free.count == 12 && varied.count == 12 && Set(varied).count >= Set(free).count)
        for options in [["--min-p", "1"], ["--min-p", "0.9999999", "--seed", "3"]] {
            #expect(try await document(["generate", model] + options + prompt).arrayValue?.first?["new_tokens"]?.ints == free)
        }
    }
}
