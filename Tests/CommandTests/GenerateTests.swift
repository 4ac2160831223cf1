// `tlens generate`: the same text for the same seed, streamed or not, and where it ends.

import LensFiles
import Testing
import TinyModels

@Suite struct GenerateTests {
    private let prompt = ["--prompt", "Once upon a time"]

    @Test func seeds() async throws {
        let model = try Models.gpt2
        func sample(_ more: [String]) async throws -> String { try await text(["generate", model] + prompt + more) }
        let first = try await sample(["--seed", "7"])
        #expect(first.hasPrefix("Once upon a time") && first.hasSuffix("\n"))
        #expect(try await sample(["--seed", "7"]) == first)
        #expect(try await sample(["--seed", "7", "--threads", "1"]) == first)
        #expect(try await sample(["--seed", "8"]) != first)
        // One candidate is the most likely one.
        let greedy = try await sample(["--temperature", "0"])
        #expect(try await sample(["--top-k", "1"]) == greedy)
        #expect(try await sample(["--top-p", "0.000001", "--seed", "3"]) == greedy)
        #expect(try await sample(["--max-new-tokens", "0"]) == "Once upon a time\n")
    }

    /// Token by token on the terminal is the text of the whole, multi-byte characters in pieces and all.
    @Test func streaming() async throws {
        let model = try Models.gpt2
        for more in [["--temperature", "0"], ["--seed", "1"], ["--seed", "2", "--temperature", "2"], ["--stop", "M", "--temperature", "0"]] {
            let whole = try await text(["generate", model, "--max-new-tokens", "40"] + prompt + more)
            #expect(try await text(["generate", model, "--max-new-tokens", "40", "--stream"] + prompt + more) == whole)
        }
    }

    @Test func json() async throws {
        let model = try Models.gpt2
        let rows = try await document(["generate", model, "--max-new-tokens", "5", "--temperature", "0"] + prompt + ["--prompt", "Hello"]).arrayValue ?? []
        #expect(rows.count == 2)
        for (row, prompt) in zip(rows, ["Once upon a time", "Hello"]) {
            #expect(row["new_tokens"]?.ints.count == 5 && row["text"]?.stringValue?.hasPrefix(prompt) == true)
            let alone = try await document(["generate", model, "--max-new-tokens", "5", "--temperature", "0", "--prompt", prompt])
            #expect(alone.arrayValue?.first == row, "a batch gives what its rows give alone")
        }
        let two = try await text(["generate", model, "--max-new-tokens", "1", "--prompt", "a", "--prompt", "b"])
        #expect(two.contains("\n---\n"))
    }

    @Test func stopsAfterText() async throws {
        let model = try Models.gpt2, greedy = ["--temperature", "0", "--max-new-tokens", "12"]
        let whole = String(try await text(["generate", model] + prompt + greedy).dropLast().dropFirst("Once upon a time".count))
        let stop = String(whole.dropFirst(2).prefix(2))
        try #require(stop.count == 2)
        let cut = try await text(["generate", model, "--stop", "not there", "--stop", stop] + prompt + greedy)
        #expect(cut.hasSuffix(stop + "\n") && cut.count <= whole.count + "Once upon a time\n".count)
        // A stop text in the prompt stops nothing.
        #expect(try await text(["generate", model, "--stop", "upon"] + prompt + greedy).contains(whole))
    }

    @Test func withoutTokenizer() async throws {
        let model = try Models.noText
        let line = try await text(["generate", model, "--tokens", "1,2", "--max-new-tokens", "3", "--temperature", "0"])
        #expect(line.hasPrefix("1,2,") && line.split(separator: ",").count == 5)
        let json = try await document(["generate", model, "--tokens", "1,2", "--max-new-tokens", "3", "--temperature", "0"])
        #expect(json.arrayValue?.first?["text"]?.isNull == true && json.arrayValue?.first?["new_tokens"]?.ints.count == 3)
        #expect(try await failure(["generate", model, "--prompt", "a"]).contains("no tokenizer"))
        #expect(try await failure(["generate", model, "--tokens", "1", "--stop", "a"]).contains("--stop needs a tokenizer"))
    }

    @Test func contextFull() async throws {
        let model = try Models.gpt2
        #expect(try await failure(["generate", model, "--tokens", "1", "--max-new-tokens", "300"]).contains("context"))
        #expect(try await failure(["generate", model, "--tokens", "1", "--max-new-tokens", "9223372036854775807"]).contains("context"))
        let full = try await document(["generate", Models.noText, "--tokens", "1", "--max-new-tokens", "256", "--temperature", "0"])
        #expect(full.arrayValue?.first?["new_tokens"]?.ints.count == 256)
    }

    /// `--chat`: the template's text is the prompt, and only the answer is printed.
    @Test func chat() async throws {
        let folder = try TestFolder()
        try TinyGPT2().write(to: folder.path)
        let greedy = ["--temperature", "0", "--max-new-tokens", "6"]
        #expect(try await failure(["generate", folder.path, "--chat", "--prompt", "Hello"]).contains("no chat template"))
        try folder.write("chat_template.jinja", """
            {{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}
            {% endfor %}{% if add_generation_prompt %}The{% endif %}{% if messages[0].content == 'no' %}{{ raise_exception('never') }}{% endif %}
            """)
        let answer = try await text(["generate", folder.path, "--chat", "--system", "Once", "--prompt", "Hello"] + greedy)
        let conversation = "system: Once\nuser: Hello\nThe"
        let rows = try await document(["generate", folder.path, "--chat", "--system", "Once", "--prompt", "Hello", "--json"] + greedy)
        let tokens = rows.arrayValue?.first?["prompt_tokens"]?.ints ?? []
        #expect(tokens.count { $0 == TinyTokenizer.endOfText } == 1 && tokens.first == TinyTokenizer.endOfText)
        #expect(try await document(["tokenize", folder.path, conversation, "--prepend-bos"])["ids"]?.ints == tokens)
        let whole = try await text(["generate", folder.path, "--prepend-bos", "--prompt", conversation] + greedy)
        #expect(whole == conversation + answer)
        #expect(try await text(["generate", folder.path, "--chat", "--system", "Once", "--prompt", "Hello", "--stream"] + greedy) == answer)
        #expect(try await failure(["generate", folder.path, "--chat", "--prompt", "no"]).contains("never"))
        for wrong in [["--system", "x", "--prompt", "a"], ["--chat", "--tokens", "1"], ["--chat", "--prompt", "a", "--no-bos"]] {
            #expect(try await tlens(["generate", folder.path] + wrong).code == 64)
        }
    }
}
