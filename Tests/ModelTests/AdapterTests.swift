// LoRA adapters that PEFT saved: merged, a model gives what Hugging Face gives with the adapter merged; what is not supported
// is refused by name, and damaged adapters too.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct AdapterTests {
    private static let folder = TestFolders.goldens + "/adapters"
    private static let all = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    static let names = all.filter { !$0.hasPrefix("refused") }
    static let refused = all.filter { $0.hasPrefix("refused") }

    private func base(_ name: String) throws -> String {
        TestFolders.goldens + "/" + (try String(contentsOfFile: "\(Self.folder)/\(name)/base.txt", encoding: .utf8)).filter { $0 != "\n" }
    }

    private func load(_ name: String, _ options: LoadOptions = LoadOptions()) throws -> Transformer {
        var options = options
        options.adapter = "\(Self.folder)/\(name)"
        return try ModelFolder(path: base(name), options: options).load()
    }

    @Test(arguments: names)
    func mergedIsPEFTs(_ name: String) throws {
        let golden = try SafetensorsFile(path: "\(Self.folder)/\(name)/golden.safetensors")
        let tokens = try Tensor(stored: "tokens", in: golden)
        let rows = (0..<tokens.shape[0]).map { row in (0..<tokens.shape[1]).map { Int(tokens.array[row * tokens.shape[1] + $0]) } }
        let model = try load(name)
        expectClose(try model.run(.tokens(IntTensor(rows: rows))).logits, try Tensor(stored: "logits", in: golden), name)
        let plain = try ModelFolder(path: base(name)).load()
        #expect(bitDifference(try model.run(.tokens(IntTensor(rows: rows))).logits, try plain.run(.tokens(IntTensor(rows: rows))).logits) != nil)
    }

    @Test func thereAreAdapters() { #expect(Self.names.count == 5 && Self.refused.count == 6) }

    /// With only the first layers loaded, what is loaded is the same.
    @Test func firstLayersOnly() throws {
        let whole = try load("llama"), cut = try load("llama", LoadOptions(firstNLayers: 1))
        for name in cut.parameters.names { expectSameBits(try cut.parameters[name], try whole.parameters[name], name) }
    }

    @Test(arguments: refused)
    func refusals(_ name: String) throws {
        let expected = ["refused-dora": "use_dora", "refused-pissa": "init_lora_weights", "refused-tied": "embed_tokens", "refused-rank": "rank",
                        "refused-kind": "IA3", "refused-key": "use_something"]
        let part = try #require(expected[name])
        let error = #expect(throws: LensError.self) { try load(name) }
        #expect(error?.description.contains(part) == true, "\(error.map(String.init(describing:)) ?? "")")
    }

    @Test func notForOtherKindsOfModel() throws {
        let options = LoadOptions(adapter: Self.folder + "/llama")
        expectError(.usage, "GGUF") { try ModelFolder(path: TestFolders.goldens + "/gguf/llama-multiquery.gguf", options: options).load() }
        expectError(.usage, "TransformerLens") { try ModelFolder(path: TestFolders.goldens + "/native-ln", options: options).load() }
        let other = LoadOptions(adapter: Self.folder + "/half")
        expectError(.weights, "does not have") { try ModelFolder(path: TestFolders.goldens + "/gpt2-untied", options: other).load() }
        expectError(.weights, "shape") { try ModelFolder(path: TestFolders.goldens + "/llama-grouped", options: options).load() }
        expectError(.file, "adapter_config.json") { try ModelFolder(path: TestFolders.goldens + "/llama-multiquery", options: LoadOptions(adapter: TestFolders.goldens)).load() }
    }

    /// Patterns of modules that could take forever, and those that are none.
    @Test func hostilePatterns() throws {
        for pattern in ["(a*)*b", "(.*)+x", "((a{1,9}){1,9})", "(", "[", "a{2,1}", String(repeating: "a", count: 300), ".*.*.*.*.*x", "\\"] {
            try withTemporaryFolder { folder in
                try FileManager.default.copyItem(atPath: "\(Self.folder)/half/adapter_model.safetensors", toPath: folder + "/adapter_model.safetensors")
                let path = "\(Self.folder)/half/adapter_config.json"
                var config = try #require(JSON.parse(file: path, limit: 1 << 20).objectValue)
                config["alpha_pattern"] = .object(JSONObject([(pattern, 2)]))
                try Data(JSON.object(config).utf8()).write(to: URL(fileURLWithPath: folder + "/adapter_config.json"))
                expectError(.config, "pattern") { try ModelFolder(path: base("half"), options: LoadOptions(adapter: folder)).load() }
            }
        }
    }

    @Test func damage() throws {
        var random = SeededRandom(5), refused = 0
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/half/\(file)")))
            try withTemporaryFolder { folder in
                for other in ["adapter_config.json", "adapter_model.safetensors"] {
                    try FileManager.default.copyItem(atPath: "\(Self.folder)/half/\(other)", toPath: "\(folder)/\(other)")
                }
                for _ in 0..<250 {
                    var bytes = original
                    let at = Int.random(in: 0..<bytes.count, using: &random)
                    if Bool.random(using: &random) { bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random) } else { bytes.removeSubrange(at..<min(bytes.count, at + 20)) }
                    try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(file)"))
                    do { _ = try ModelFolder(path: base("half"), options: LoadOptions(adapter: folder)).load() } catch is LensError { refused += 1 }
                }
            }
        }
        #expect(refused > 125 && refused < 500)
    }
}
