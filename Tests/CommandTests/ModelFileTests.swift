// MODEL as a file: GGUF, what torch.save wrote; and the options that load a part of a model or an adapter.

import Foundation
import LensFiles
import Testing
import TinyModels

@Suite struct ModelFileTests {
    private static let tests = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    private static let goldens = tests + "/ModelTests/Goldens"
    private let run = ["--tokens", "3,1,4,1,5", "--processing", "none"]

    @Test func ggufFile() async throws {
        let folder = try await document(["run", Self.goldens + "/qwen2-tied"] + run)
        #expect(try await document(["run", Self.goldens + "/gguf/qwen2-tied.gguf"] + run) == folder)
        let tokens = try await document(["tokenize", Self.goldens + "/gguf/gpt2-untied.gguf", "ab c", "--prepend-bos"])
        #expect(tokens["ids"]?.ints == [0, 96, 1, 68])
    }

    @Test func checkpointWithItsConfiguration() async throws {
        let folder = Self.goldens + "/native-ln"
        let named = try await document(["run", folder + "/weights.pt", "--config", folder + "/tl_config.json"] + run)
        #expect(try await document(["run", folder] + run) == named)
        #expect(try await failure(["run", folder + "/weights.pt", "--config", folder + "/none.json"] + run).contains("none.json"))
    }

    /// A model trained in TransformerLens names its tokenizer: another repository, found in the hub's cache.
    @Test func tokenizerOfAnotherRepository() async throws {
        let folder = try TestFolder(), cache = try TestFolder(), words = "models--org--words"
        var config = try #require(JSON.parse(file: Self.goldens + "/native-ln/tl_config.json").objectValue)
        config["tokenizer_name"] = "org/words"
        try folder.write("config.json", JSON.object(config))
        try folder.write("weights.pt", try Array(Data(contentsOf: URL(fileURLWithPath: Self.goldens + "/native-ln/weights.pt"))))
        let environment = ["HF_HUB_CACHE": cache.path]
        let run = ["run", folder.path, "--prompt", "Hello", "--processing", "none"]
        let refused = try await tlens(run, environment: environment)
        #expect(refused.code != 0 && refused.errorLines.count == 1 && refused.err.contains("org/words"), "\(refused.err)")
        #expect(try await tlens(["run", folder.path, "--tokens", "1,2"], environment: environment).code == 0)
        for place in ["refs", "snapshots/abc"] {
            try FileManager.default.createDirectory(atPath: cache("\(words)/\(place)"), withIntermediateDirectories: true)
        }
        try cache.write("\(words)/refs/main", "abc")
        try cache.write("\(words)/snapshots/abc/tokenizer.json", TinyTokenizer.json)
        try cache.write("\(words)/snapshots/abc/tokenizer_config.json", TinyTokenizer.config)
        let found = try await tlens(["tokenize", folder.path, "Hello World"], environment: environment)
        let own = try TestFolder()
        try TinyGPT2().write(to: own.path)
        let expected = try await tlens(["tokenize", own.path, "Hello World"])
        #expect(found.code == 0 && found.out == expected.out, "\(found.err)")
    }

    @Test func parts() async throws {
        let info = try await document(["info", Self.goldens + "/gpt2-tiny", "--first-n-layers", "1", "--n-ctx", "5"])
        #expect(info["config"]?["n_layers"] == 1 && info["config"]?["n_ctx"] == 5)
        #expect(try await failure(["info", Self.goldens + "/gpt2-tiny", "--first-n-layers", "99"]).contains("layers"))
        #expect(try await failure(["info", Self.goldens + "/gpt2-tiny", "--n-ctx", "99999"]).contains("positions"))
        for wrong in [["--first-n-layers", "-1"], ["--n-ctx", "0"], ["--n-ctx", "x"]] {
            #expect(try await tlens(["info", Self.goldens + "/gpt2-tiny"] + wrong).code == 64)
        }
    }

    @Test func adapters() async throws {
        let base = Self.goldens + "/llama-multiquery", adapter = ["--adapter", Self.goldens + "/adapters/llama"]
        let plain = try await document(["run", base] + run), adapted = try await document(["run", base] + run + adapter)
        #expect(plain != adapted)
        #expect(try await failure(["run", Self.goldens + "/gguf/llama-multiquery.gguf"] + run + adapter).contains("GGUF"))
        #expect(try await failure(["run", base] + run + ["--adapter", Self.goldens + "/adapters/refused-dora"]).contains("use_dora"))
    }

    /// A pickle that asks for a function is refused with the function's name.
    @Test func hostilePickles() async throws {
        let config = ["--config", Self.goldens + "/native-ln/tl_config.json"]
        for name in ["posix.system.zip", "posix.system.stream"] {
            let line = try await failure(["run", Self.tests + "/FilesTests/Goldens/pytorch/refused/\(name).pt"] + run + config)
            #expect(line.contains("os.system"))
        }
    }
}
