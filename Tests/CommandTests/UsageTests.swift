// Being used wrongly, or in a bad place: exit codes, one clear line, nothing else; and files that survive a failed run.

import LensFiles
import Testing
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct UsageTests {
    /// Bad usage is 64: what is wrong first, then how it is used.
    @Test(arguments: [
        (["frobnicate"], "Unexpected argument"),
        (["run"], "Missing expected argument '<model>'"),
        (["run", "M"], "nothing to run on: give --prompt"),
        (["run", "M", "--prompt", "a", "--tokens", "1"], "give only one of"),
        (["run", "M", "--tokens", "1,2,x"], "found 'x'"),
        (["run", "M", "--tokens", "1,,2"], "found ''"),
        (["run", "M", "--tokens", "-1"], ""),
        (["run", "M", "--tokens=-1"], "found '-1'"),
        (["run", "M", "--tokens", "99999999999999999999"], "numbers from 0"),
        (["run", "M", "--prompt", "a", "--out", "x.bin"], "--out takes a name ending in .safetensors or .npz, not 'x.bin'"),
        (["run", "M", "--prompt", "a", "--top", "0"], "--top takes a number from 1"),
        (["run", "M", "--prompt", "a", "--padding-side", "up"], "right or left, not 'up'"),
        (["run", "M", "--prompt", "a", "--threads", "0"], "--threads takes a number from 1"),
        (["run", "M", "--prompt", "a", "--threads", "many"], "--threads"),
        (["run", "M", "--prompt", "a", "--dtype", "q2"], "--dtype takes f32, bf16, f16, q8_0, q4_0, not 'q2'"),
        (["run", "M", "--prompt", "a", "--processing", "some"], "--processing takes default or none, not 'some'"),
        (["run", "M", "--prompt", "a", "--no-bos", "--prepend-bos"], "exclude each other"),
        (["run", "M", "--prompt", "a", "--frob"], "Unknown option '--frob'"),
        (["generate", "M", "--prompt", "a", "--temperature", "-1"], ""),
        (["generate", "M", "--prompt", "a", "--temperature=-1"], "temperature out of range"),
        (["generate", "M", "--prompt", "a", "--temperature", "nan"], "temperature out of range"),
        (["generate", "M", "--prompt", "a", "--top-k", "0"], "top-k out of range"),
        (["generate", "M", "--prompt", "a", "--top-p", "1.5"], "top-p out of range"),
        (["generate", "M", "--prompt", "a", "--seed", "x"], "--seed"),
        (["generate", "M", "--prompt", "a", "--stop", ""], "--stop takes a text that is not empty"),
        (["generate", "M", "--prompt", "a", "--stream", "--json"], "exclude each other"),
        (["generate", "M", "--prompt", "a", "--prompt", "b", "--stream"], "--stream takes one prompt"),
        (["generate", "M", "--prompt", "a", "--max-new-tokens=-1"], "--max-new-tokens takes a number from 0"),
        (["bench", "M", "--repeats", "0"], "--repeats takes a number from 1"),
        (["models", "--family", "gpt9"], "the families are "),
        (["tokenize", "M"], "give a text, or --decode with tokens"),
        (["tokenize", "M", "text", "--decode", "1"], "give a text, or --decode with tokens"),
    ])
    func badUsage(_ arguments: [String], _ message: String) async throws {
        let finished = try await tlens(arguments)
        #expect(finished.code == 64 && finished.out.isEmpty, "\(arguments): \(finished.code ?? -1)")
        #expect(finished.err.hasPrefix("Error: ") && (message.isEmpty || finished.errorLines[0].contains(message)), "\(finished.err)")
        #expect(finished.err.contains("Usage: tlens") && finished.errorLines.count <= 4)
    }

    /// Models that are not there: 1, and what to do.
    @Test func modelsThatAreNotThere() async throws {
        let folder = try TestFolder(), here = ["HF_HUB_CACHE": folder.path] as [String: String?]
        try makeFolder(folder("empty"))
        try folder.write("file.txt", "x")
        for (model, message) in [
            ("gpt2-smal", "did you mean gpt2-small?"), ("zzzzzzzzzzzzzzzzzzzz", "`tlens models` lists the names"),
            ("gpt2-small", "model not on this machine (openai-community/gpt2)"), ("org/name@main", "not on this machine"),
            ("org/name@../../etc", "not a revision"), ("../../etc/passwd/x", "unknown model"), ("", "unknown model"), ("a/b/c", "unknown model"),
            (folder("empty"), "no model in this folder"), (folder("file.txt"), "not a model folder or file"), ("/dev/null", "not a model folder or file"),
            (String(repeating: "x", count: 100_000), "unknown model"),
        ] {
            let line = try await failure(["run", model, "--tokens", "1"], environment: here)
            #expect(line.contains(message), "\(model.prefix(40)): \(line)")
        }
        #expect(try await failure(["tokenize", folder("empty"), "a"]).contains("tokenizer.json"))
        #expect(try await failure(["tokenize", Models.noText, "a"]).contains("tokenizer.json"))
    }

    /// A name that is in the hub's local cache.
    @Test func modelsInTheCache() async throws {
        let folder = try TestFolder()
        let repository = folder("models--openai-community--gpt2")
        for path in [repository, repository + "/refs", repository + "/snapshots"] { try makeFolder(path) }
        try folder.write("models--openai-community--gpt2/refs/main", "0123abc\n")
        #expect(symlink(try Models.gpt2, repository + "/snapshots/0123abc") == 0)
        for name in ["gpt2-small", "gpt2", "openai-community/gpt2", "gpt2-small@main", "gpt2@0123abc"] {
            let json = try await document(["info", name], environment: ["HF_HUB_CACHE": folder.path])
            #expect(json["config"]?["n_layers"]?.intValue == 6, "\(name)")
        }
        // What the hub called it before it had organisations is found, and for no one else's model of that name.
        #expect(rename(repository, folder("models--gpt2")) == 0)
        #expect(try await document(["info", "gpt2-small"], environment: ["HF_HUB_CACHE": folder.path])["config"]?["n_layers"]?.intValue == 6)
        #expect(try await failure(["info", "someone/gpt2"], environment: ["HF_HUB_CACHE": folder.path]).contains("not on this machine"))
        #expect(try await failure(["info", "gpt2-small@other"], environment: ["HF_HUB_CACHE": folder.path]).contains("not on this machine"))
    }

    @Test func badInput() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        try folder.write("empty.txt", "\n\n")
        try folder.write("blank.txt", "a\n\nb\n")
        try folder.write("bytes.txt", [0xFF, 0xFE, 0x0A] as [UInt8])
        let long = String(repeating: "x ", count: 400)
        for (arguments, message) in [
            (["--prompt", long], "longer than the model's context: expected at most 256"), (["--prompt", "", "--no-bos"], "nothing to run on"),
            (["--tokens", "338"], "token out of range: expected 0..<338, found 338"), (["--prompts-file", folder("none")], "No such file"),
            (["--prompts-file", folder("empty.txt")], "no prompts"), (["--prompts-file", folder("bytes.txt")], "not UTF-8 text"),
            (["--prompts-file", folder.path], "a folder"), (["--prompts-file", folder("blank.txt")], "line 2"),
        ] {
            #expect(try await failure(["run", model] + arguments).contains(message), "\(arguments.map { $0.prefix(30) })")
        }
        for (rows, message) in [("[]", "no tokens"), ("[[]]", "nothing to run on"), ("[[1],[]]", "nothing to run on"), ("[1,2]", "array"), ("[[1.5]]", "integer"),
                                ("[[-1]]", "token out of range"), ("[[1e30]]", "integer"), ("{", "t.json"), ("", "t.json"), ("[[1],\"a\"]", "row 1"), (String(repeating: "[", count: 5_000), "t.json")] {
            try folder.write("t.json", rows)
            #expect(try await failure(["run", model, "--tokens-file", folder("t.json")]).lowercased().contains(message), "\(rows.prefix(30))")
        }
    }

    // MARK: Files that are written

    /// A run that fails leaves an older file as it was, and nothing beside it.
    @Test func failedRunsKeepOldFiles() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        for name in ["run.npz", "run.safetensors"] {
            try folder.write(name, "older")
            try await failure(["run", model, "--tokens", "1", "--cache", "nothing", "--out", folder(name)])
            try await failure(["run", model, "--tokens", "999", "--out", folder(name)])
            #expect(try folder.read(name) == "older")
            _ = try await text(["run", model, "--tokens", "1", "--out", folder(name)])
            #expect(try folder.read(name) != "older")
            try folder.remove(name)
            #expect(try folder.contents.isEmpty)
        }
    }

    @Test func placesThatCannotBeWritten() async throws {
        let model = try Models.gpt2, folder = try TestFolder()
        #expect(try await failure(["run", model, "--tokens", "1", "--out", folder("none/x.npz")]).contains("No such file"))
        try makeFolder(folder("folder.npz"))
        #expect(try await failure(["run", model, "--tokens", "1", "--out", folder("folder.npz")]).contains("folder"))
        #expect(try await failure(["run", model, "--tokens", "1", "--out", "/proc/x.npz"]).contains("/proc/x.npz"))
        guard getuid() != 0 else { return }  // Root may write anywhere.
        try makeFolder(folder("locked"))
        chmod(folder("locked"), 0o555)
        #expect(try await failure(["run", model, "--tokens", "1", "--out", folder("locked/x.npz")]).contains("permissions"))
    }

    // MARK: Streams

    /// What cannot be printed is a failure; a reader that has gone ends the process without a word.
    @Test func outputThatGoesNowhere() async throws {
        let full = try await tlens(["models"], stdout: .path("/dev/full"))
        #expect(full.code == 1 && full.errorLines.count == 1 && full.err.contains("No space left"))
        let closed = try await tlens(["models"], stdout: .closed)
        #expect(closed.code == 1 && closed.errorLines.count == 1)
        let broken = try await tlens(["models"], stdout: .brokenPipe)
        #expect((broken.signal == SIGPIPE || broken.code == 1) && broken.errorLines.count <= 1)
        // With stdout closed no file that is opened takes its place.
        let folder = try TestFolder()
        let saved = try await tlens(["run", Models.gpt2, "--tokens", "1", "--out", folder("x.npz")], stdout: .closed)
        #expect(saved.code == 1)
        #expect(try openTensors(at: folder("x.npz")).names.count == 2)
    }
}
