// Files of every format damaged in hundreds of ways, the same every time: each is read or refused with a LensError of one
// line. What is refused clearly is said by name further down.
import Foundation
import Testing
import LensFiles
@testable import LensText

@Suite struct FormatsMalformedTests {
    /// A file of a folder's own, damaged and put back as another.
    private static let files = [
        "spm_bpe/tokenizer.model", "spm_unigram/spiece.model", "vocab_merges/vocab.json", "vocab_merges/merges.txt",
        "vocab_txt/vocab.txt", "tiktoken/test.tiktoken", "tiktoken/tokenizer_config.json", "gguf_gpt2/model.gguf",
        "gguf_llama/model.gguf", "gguf_t5/model.gguf", "gguf_bert/model.gguf",
    ]

    private struct Damager {
        var state: UInt64

        mutating func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % max(1, limit)
        }

        mutating func damage(_ whole: [UInt8]) -> [UInt8] {
            var bytes = whole
            for _ in 0...next(4) where !bytes.isEmpty {
                // Half of it near the beginning, where lengths and types are.
                let place = next(2) == 0 ? next(min(bytes.count, 300)) : next(bytes.count)
                let end = min(bytes.count, place + next(40))
                switch next(7) {
                case 0: bytes[place] = UInt8(next(256))
                case 1: bytes[place] ^= UInt8(1 << next(8))
                case 2: bytes.removeSubrange(place..<end)
                case 3: bytes.insert(contentsOf: bytes[place..<end], at: next(bytes.count))
                case 4: bytes.removeLast(min(bytes.count - 1, next(200)))
                case 5: for index in place..<min(bytes.count, place + 8) { bytes[index] = 0xFF }
                default: bytes[place] = Array(" \n{}[]\",:0\u{0}\t".utf8)[next(12)]
                }
            }
            return bytes
        }
    }

    private func scratch() throws -> String {
        let path = NSTemporaryDirectory() + "lens-text-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Loads and uses what is in a folder. - Returns: the error's line, if it is refused.
    private func use(_ folder: String) -> String? {
        do {
            let tokenizer = try Tokenizer(folder: folder)
            let ids = try tokenizer.encode(text: "Hello world, é 日本 <s> 12\n")
            _ = try tokenizer.decode(tokens: ids.filter { $0 < tokenizer.vocabularySize })
            return nil
        } catch let error as LensError {
            #expect(!error.description.contains("\n") && !error.what.isEmpty)
            return error.description
        } catch {
            Issue.record("not a LensError: \(error)")
            return nil
        }
    }

    @Test(arguments: files)
    func damaged(_ file: String) throws {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let parts = file.split(separator: "/").map(String.init), source = "\(Places.goldens)/Formats/\(parts[0])"
        for name in try FileManager.default.contentsOfDirectory(atPath: source) where name != "golden.json" {
            try FileManager.default.copyItem(atPath: "\(source)/\(name)", toPath: "\(folder)/\(name)")
        }
        let whole = try #require(try readFile("\(source)/\(parts[1])"))
        var damager = Damager(state: UInt64(file.utf8.count)), refused = 0
        for _ in 0..<120 {
            try Data(damager.damage(whole)).write(to: URL(fileURLWithPath: "\(folder)/\(parts[1])"))
            if use(folder) != nil { refused += 1 }
        }
        #expect(refused > 5)
    }

    @Test(arguments: [
        ("tokenizer.model", "", "SentencePiece model without pieces"),
        ("tokenizer.model", "\n\u{7F}", "field longer than its message"),
        ("tokenizer.model", "\n\u{3}\u{18}\u{9}\u{0}", "piece of an unknown type"),
        ("vocab.txt", "a\nb\n", "special token missing in the vocabulary"),
        ("x.tiktoken", "YQ== 0\nYg==\n", "not a line of a tiktoken file"),
        ("x.tiktoken", "YQ== 0\nYg== 0\n", "token or rank given twice"),
        ("x.tiktoken", "YQ= 0\n", "not a line of a tiktoken file"),
        ("x.gguf", "GGUF", "ends too early"),
        ("tokenizer.json", "{}", "missing member"),
    ])
    func saysWhatIsWrong(_ name: String, _ content: String, _ message: String) throws {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(content.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        let line = try #require(use(folder))
        #expect(line.contains(message) && line.contains(folder), "\(line)")
    }

    @Test func configurations() throws {
        let folder = try scratch(), json = try #require(try Places.json("\(Places.goldens)/llama.json")["tokenizer"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(try json.utf8()).write(to: URL(fileURLWithPath: folder + "/tokenizer.json"))
        func with(_ config: String) throws -> String? {
            try Data(config.utf8).write(to: URL(fileURLWithPath: folder + "/tokenizer_config.json"))
            return use(folder)
        }
        for bad in ["[]", "{", #"{"bos_token": 1}"#, #"{"added_tokens_decoder": []}"#, #"{"added_tokens_decoder": {"x": {"content": "a"}}}"#,
                    #"{"added_tokens_decoder": {"1": {}}}"#, #"{"chat_template": 3}"#, #"{"chat_template": [{"name": "a"}]}"#,
                    #"{"model_max_length": "long"}"#, #"{"additional_special_tokens": 3}"#] {
            #expect(try with(bad)?.contains(folder) == true, "\(bad)")
        }
        #expect(try with(#"{"pad_token": "<pad>", "additional_special_tokens": ["<a>", {"content": "<b>"}], "extra_token": "<c>"}"#) == nil)
        let tokenizer = try Tokenizer(folder: folder), plain = try Tokenizer(file: folder + "/tokenizer.json")
        let next = plain.vocabularySize
        #expect(tokenizer.padID == next && tokenizer.vocabularySize == next + 4)
        #expect(try tokenizer.encode(text: "x<a><b><pad>", addSpecialTokens: false).suffix(1) == [next])
        // As in transformers, the flags count only without a tokenizer.json.
        #expect(try with(#"{"bos_token": "<s>", "add_bos_token": false, "model_max_length": 1e30, "chat_template": "t"}"#) == nil)
        let flagged = try Tokenizer(folder: folder)
        #expect(try flagged.encode(text: "a") == plain.encode(text: "a") && flagged.config.modelMaxLength == nil)
        #expect(flagged.config.chatTemplates == [ChatTemplateSource(text: "t")])
        try Data("{{ bos_token }}{{ messages[0].content }}".utf8).write(to: URL(fileURLWithPath: folder + "/chat_template.jinja"))
        let chat = try Tokenizer(folder: folder).applyChatTemplate(messages: [["role": "user", "content": "a"]])
        #expect(chat.text == "<s>a" && chat.tokens.first == plain.id(for: "<s>") && chat.tokens.count { $0 == plain.id(for: "<s>") } == 1)
        let error = #expect(throws: LensError.self) { try plain.applyChatTemplate(messages: [["role": "user", "content": "a"]]) }
        #expect(error?.description.contains("no chat template") == true)
    }
}
