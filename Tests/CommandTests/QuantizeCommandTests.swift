// `tlens quantize`: what it writes runs, says what it wrote, and refuses what it cannot write.

import Foundation
import LensFiles
import Testing
import TinyModels
import TransformerLens

@Suite struct QuantizeCommandTests {
    /// A model whose matrices fill blocks.
    private func model(in folder: TestFolder) throws -> String {
        var tiny = TinyGPT2()
        (tiny.layers, tiny.headWidth) = (1, 16)
        try tiny.write(to: folder("model"))
        return folder("model")
    }

    @Test(arguments: ["bf16", "f16", "q8_0", "q4_0"])
    func foldersRun(_ format: String) async throws {
        let folder = try TestFolder(), model = try model(in: folder), out = folder(format)
        let run = ["--prompt", "Once upon a time", "--top", "5"]
        let json = try await document(["quantize", model, out, "--dtype", format])
        let tensors = json["tensors"]?.arrayValue ?? []
        #expect(json["path"]?.stringValue == out && json["bytes"]?.intValue == tensors.compactMap { $0["bytes"]?.intValue }.reduce(0, +))
        #expect(tensors.count { $0["type"]?.stringValue == format } >= 5)
        #expect(try FileManager.default.contentsOfDirectory(atPath: out).sorted() == ["config.json", "model.gguf", "tokenizer.json", "tokenizer_config.json"])
        // It runs as the model read in that format does.
        let found = try await document(["run", out, "--processing", "none"] + run)
        let expected = try await document(["run", model, "--dtype", format, "--processing", "none"] + run)
        let ids = { (json: JSON) in json["rows"]?.arrayValue?[0]["next"]?.arrayValue?.compactMap { $0["id"]?.intValue } }
        #expect(ids(found)?.count == 5 && ids(found) == ids(expected))
        let loss = try #require(found["rows"]?.arrayValue?[0]["loss"]?.doubleValue), other = try #require(expected["rows"]?.arrayValue?[0]["loss"]?.doubleValue)
        // Position embeddings are rounded in one and not in the other.
        #expect(abs(loss - other) < 1e-2)
        let shown = try await text(["quantize", model, folder("again"), "--dtype", format])
        #expect(shown.contains("#") == false && shown.contains(format) && shown.contains("Written to \(folder("again")):"))
        #expect(try folder.bytes("again/model.gguf") == folder.bytes("\(format)/model.gguf"))
    }

    @Test func files() async throws {
        let folder = try TestFolder(), source = Models.goldens + "/gguf/gpt2-untied.gguf", out = folder("out.gguf")
        let json = try await document(["quantize", source, out, "--dtype", "q8_0"])
        let before = try GGUFFile(path: source), after = try GGUFFile(path: out)
        #expect(json["tensors"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == before.tensors.map(\.name) && after.tensors.map(\.shape) == before.tensors.map(\.shape))
        #expect(try await document(["run", out, "--tokens", "1,2,3"])["rows"]?.arrayValue?.count == 1)
    }

    @Test func refusals() async throws {
        let folder = try TestFolder(), model = try model(in: folder), gguf = Models.goldens + "/gguf"
        func expect(_ part: String, _ arguments: [String]) async throws {
            let line = try await failure(["quantize"] + arguments)
            #expect(line.contains(part), "\(arguments): \(line)")
        }
        let before = try folder.contents
        try await expect("another kind of place", [model, folder("x.gguf"), "--dtype", "q8_0"])
        try await expect("another kind of place", [gguf + "/gemma.gguf", folder("x"), "--dtype", "q8_0"])
        try await expect("quantised already", [gguf + "/llama-quantised.gguf", folder("x.gguf"), "--dtype", "f16"])
        try await expect("this kind of model is not written", [Models.goldens + "/bert", folder("x"), "--dtype", "q8_0"])
        try await expect("nowhere", [folder("nowhere"), folder("x"), "--dtype", "q8_0"])
        try await expect("nowhere.gguf", [folder("nowhere.gguf"), folder("x.gguf"), "--dtype", "q8_0"])
        #expect(try folder.contents == before, "nothing is left behind")
        for (arguments, message) in [([model, folder("x"), "--dtype", "f32"], "--dtype takes bf16, f16, q8_0, q4_0, not 'f32'"),
                                     ([model, folder("x"), "--dtype", "q4_K"], "not 'q4_K'"), ([model, folder("x")], "--dtype"),
                                     ([model, model, "--dtype", "q8_0"], "written over itself"), ([model], "<out>")] {
            let finished = try await tlens(["quantize"] + arguments)
            #expect(finished.code == 64 && finished.out.isEmpty && finished.err.contains(message), "\(arguments): \(finished.err)")
        }
    }
}
