// `tlens eval --against`, and `--activations int8` as commands take and tell it.

import Foundation
import Testing
import TinyModels
import TransformerLens

@Suite struct FormatErrorCommandTests {
    /// A model whose matrices fill blocks.
    private func model(in folder: TestFolder) throws -> String {
        var tiny = TinyGPT2()
        (tiny.layers, tiny.headWidth) = (2, 16)
        try tiny.write(to: folder("model"))
        return folder("model")
    }

    @Test func against() async throws {
        let folder = try TestFolder(), model = try model(in: folder)
        let json = try await document(["eval", model, "--dtype", "q8_0", "--against", model])
        let error = try #require(json["format_error"])
        #expect(json["scores"]?.arrayValue?.compactMap { $0["measure"]?.stringValue } == ["KL divergence", "agreement"])
        let divergence = try #require(error["divergence"]?.doubleValue)
        #expect(divergence > 0 && divergence < 0.05 && error["positions"]?.intValue ?? 0 > 20)
        #expect(error["streams"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"])
        let matrices = error["matrices"]?.arrayValue ?? []
        #expect(matrices.count == 3 + 2 * 6 && matrices.count { $0["format"]?.stringValue == "q8_0" && $0["activations"]?.stringValue == "f32" } == 14)
        #expect(matrices.allSatisfy { $0["relative_error"]?.doubleValue.map { $0 >= 0 && $0 < 0.01 } == true })
        // Rounded activations cost something beside, and are named.
        let rounded = try await document(["eval", model, "--dtype", "q8_0", "--activations", "int8", "--against", model])
        #expect(rounded["format_error"]?["divergence"]?.doubleValue != divergence)
        #expect(rounded["format_error"]?["matrices"]?.arrayValue?.count { $0["activations"]?.stringValue == "int8" } == 13)
        // On a text, beside its loss.
        try folder.write("text", "Mary gave John a drink at the store. ")
        let onText = try await document(["eval", model, "--dtype", "q4_0", "--against", model, "--text-file", folder("text"), "--length", "8", "--rows", "1"])
        #expect(onText["scores"]?.arrayValue?.count == 4 && onText["format_error"]?["positions"]?.intValue == 8)
        let shown = try await text(["eval", model, "--dtype", "q4_0", "--against", model])
        #expect(shown.contains("KL divergence") && shown.contains("resid_post") && shown.contains("W_out") && shown.contains("unembed.W_U") && shown.contains(" %"))
        // A file written by quantize, which is not rewritten, against the model it came from.
        _ = try await document(["quantize", model, folder("q8"), "--dtype", "q8_0"])
        let written = try await document(["eval", folder("q8"), "--against", model])
        #expect(written["format_error"]?["divergence"]?.doubleValue.map { $0 > 0 && $0 < 0.05 } == true)
    }

    @Test func roundedActivations() async throws {
        let folder = try TestFolder(), model = try model(in: folder), kept = ["--dtype", "q8_0", "--activations", "int8"]
        let info = try await document(["info", model] + kept)
        #expect(info["weights"]?.arrayValue?.count { $0["activations"]?.stringValue == "int8" && $0["format"]?.stringValue == "q8_0" } == 13)
        #expect(try await text(["info", model] + kept).contains("q8_0, int8 activations"))
        #expect(try await text(["info", model, "--dtype", "q8_0"]).contains("int8") == false)
        #expect(try await document(["bench", model, "--repeats", "1"] + kept)["activations"]?.stringValue == "int8")
        let run = ["run", model, "--tokens", "1,2,3,4", "--top", "3"]
        let rounded = try await document(run + kept), plain = try await document(run + ["--dtype", "q8_0"])
        let losses = [rounded, plain].compactMap { $0["rows"]?.arrayValue?[0]["loss"]?.doubleValue }
        #expect(losses.count == 2 && losses[0] != losses[1] && abs(losses[0] - losses[1]) < 0.02)
        // The option is there on every set; products have the same bits, what else a model computes nearly the same.
        for set in ["portable", "avx2", "avx512"] {
            let finished = try await tlens(run + kept + ["--json"], environment: ["LENS_ISA": set])
            if finished.code == 1, finished.err.contains("LENS_ISA") { continue } // not every machine has them
            #expect(finished.code == 0, "\(set): \(finished.err)")
            let loss = try #require(try JSON.parse(Array(finished.out.utf8), at: "stdout")["rows"]?.arrayValue?[0]["loss"]?.doubleValue)
            #expect(abs(loss - losses[0]) < 1e-4, "\(set)")
        }
        #expect(try await failure(["run", model, "--tokens", "1,2", "--activations", "int8"]).contains("int8 activations are for quantised weights"))
        let usage = try await tlens(["run", model, "--tokens", "1,2", "--activations", "int4"])
        #expect(usage.code == 64 && usage.err.contains("int4"))
    }

    @Test func refusals() async throws {
        let folder = try TestFolder(), model = try model(in: folder)
        #expect(try await failure(["eval", model, "--against", Models.gpt2]).contains("different models"))
        #expect(try await failure(["eval", model, "--against", "nowhere-\(UUID().uuidString)"]).contains("nowhere-"))
    }
}
