// MODEL as a file: GGUF, what torch.save wrote; and the options that load a part of a model or an adapter.

import LensFiles
import Testing

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
