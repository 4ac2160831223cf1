// docs/parity.md: how far every golden's numbers are from the programs they came from. `make parity` writes it (LENS_PARITY_TABLE
// in the environment); without that, the test asks that the table has a row for each golden there is.

import Foundation
import LensFiles
import LensTestSupport
import Testing
import TransformerLens

@Suite struct ParityTableTests {
    private static let path = "\(TestFolders.goldens)/../../../docs/parity.md"

    /// Up, to one digit: stable where the last bits are not.
    private func rounded(_ error: Double) -> String {
        if error.isNaN { return "no head" }
        guard error > 0, error.isFinite else { return error == 0 ? "0" : "\(error)" }
        let power = pow(10, floor(log10(error)))
        return String(format: "%.0e", (error / power - 1e-9).rounded(.up) * power)
    }

    /// The largest error of the golden's first pass, relative to each tensor's largest number: of logits, of activations.
    private func errors(_ golden: Golden, _ model: Transformer) throws -> (logits: Double, activations: Double) {
        let run = try golden.run("base"), names = run.tensors.keys.filter { $0.contains("hook_") }
        let outputs = run.tensors.keys.filter { $0.hasSuffix("logits") }
        var options = run.options
        options.cache = .names(names.sorted())
        options.returnType = outputs.isEmpty ? .none : .logits
        let output = try model.run(.tokens(#require(run.tokens)), options)
        func error(_ name: String, _ actual: Tensor?) throws -> Double {
            expectClose(actual, try golden.tensor(run, name), "\(golden.name): \(name)")
        }
        let logits = try outputs.map { try error($0, output.logits) }.max() ?? .nan
        return (logits, try names.map { try error($0, output.cache[$0]) }.max() ?? 0)
    }

    /// The largest error of the gradients at the golden's sites, as `GradientGoldenTests` measures it.
    private func gradientError(_ golden: Golden, _ model: Transformer) throws -> Double {
        let known = Set(model.config.hookPoints.map(\.name))
        let table = try GradientGolden(golden.name).table("base", "sites"), scale = table.map(\.summary.largest).max() ?? 0
        let found = try GradientGoldenTests.gradients(model, golden.run("base"), sites: table.map(\.name)).activations
        return try table.filter { known.contains($0.name) }.map { site, expected in
            let actual = try found[site]
            return try GradientSummary(actual).distance(to: expected, count: actual.count, scale: scale)
        }.max() ?? 0
    }

    private func row(_ name: String) throws -> (family: String, text: String) {
        let golden = try Golden(name), folder = golden.folder, model = try Models.named(name), (logits, activations) = try errors(golden, model)
        let gradients = try rounded(gradientError(golden, model))
        let json = try JSON.parse(file: folder + "/golden.json", limit: 16 << 20)
        func program(_ key: String, _ label: String) -> String { "\(label) \(json["made_with"]?[key]?.stringValue ?? "?")" }
        let family = name.hasPrefix("native-") ? nil : try ModelFolder(path: folder).architecture?.family
        let isTwo = try golden.run("base").tensors["hf_logits"] != nil
        // Qwen 1 is not in transformers: its second opinion is the golden maker's own module.
        let hugging = family == "qwen" ? "qwen1.py" : program("transformers", "transformers"), lens = program("transformer_lens", "TransformerLens")
        let against = family == nil ? lens : isTwo ? "\(lens), \(hugging)" : hugging
        return (family ?? "~", "| \(family ?? "TransformerLens' own") | `\(name)` | \(rounded(logits)) | \(rounded(activations)) | \(gradients) | \(against) |")
    }

    @Test func everyGoldenHasARow() throws {
        if environmentVariable("LENS_PARITY_TABLE") != nil { try write() }
        let text = try String(contentsOfFile: Self.path, encoding: .utf8)
        for name in GoldenTests.supported { #expect(text.contains("| `\(name)` |"), "\(name): run make parity") }
    }

    private func write() throws {
        let rows = try GoldenTests.supported.map { (name: $0, row: try row($0)) }.sorted { ($0.row.family, $0.name) < ($1.row.family, $1.name) }
        let head = """
            # Parity

            Tiny random models of every family, through this package and through the programs named: the largest difference of the first pass, relative to each \
            tensor's largest number, rounded up to one digit. Activations are all that the other program lets be seen; the tests' bound is 2e-5, element by element. \
            Gradients are those of one scalar at every site that autograd reaches there; the tests' bound is 1e-4. \
            What each golden is: [the goldens' README](../Tests/ModelTests/Goldens/README.md). `make parity` writes this page.

            | family | golden | logits | activations | gradients | against |
            |---|---|---|---|---|---|

            """
        try FileManager.default.createDirectory(atPath: (Self.path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try (head + rows.map(\.row.text).joined(separator: "\n") + "\n").write(toFile: Self.path, atomically: true, encoding: .utf8)
    }
}
