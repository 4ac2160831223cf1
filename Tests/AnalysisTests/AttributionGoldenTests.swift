// Attribution patching, EAP and EAP-IG against PyTorch's gradients through TransformerLens 3.9.0 (Goldens/make_attribution_goldens.py).

import LensTestSupport
import Testing
import TransformerLens

@Suite struct AttributionGoldenTests {
    private static let tolerance = 1e-4

    @Test(arguments: ExperimentGolden.names) func agree(_ name: String) throws {
        let json = try JSON.parse(file: "\(ExperimentGolden.folder)/attribution.json", limit: 1 << 20)
        let tensors = try SafetensorsFile(path: "\(ExperimentGolden.folder)/attribution.safetensors")
        func golden(_ key: String) throws -> Tensor { try Tensor(stored: "\(name)/\(key)", in: tensors) }
        let experiment = try ExperimentGolden(name), model = try experiment.model("plain"), steps = try #require(json["steps"]?.intValue)
        let pair = try PromptPair(clean: experiment.clean, corrupted: experiment.corrupted)
        let metric = GradientMetric.logitDifference(answers: experiment.answers, wrong: experiment.wrong)
        for (key, point) in [("eap.clean", GradientPoint.clean), ("eap.corrupted", .corrupted), ("eap-ig", .integrated(steps: steps))] {
            let found = try Patching.edgeAttribution(model, pair, metric: metric, gradientAt: point), expected = try golden(key)
            let names = json["models"]?[name]
            #expect(names?["writers"]?.arrayValue?.compactMap(\.stringValue) == found.graph.sources.map(\.name))
            #expect(names?["readers"]?.arrayValue?.compactMap(\.stringValue) == found.graph.targets.map(found.graph.name))
            #expect(found.scores.shape == expected.shape)
            #expect(zip(found.scores.array, expected.array).allSatisfy { $0.isNaN == $1.isNaN })
            func numbers(_ tensor: Tensor) throws -> Tensor { try Tensor(tensor.array.map { $0.isNaN ? 0 : $0 }, shape: tensor.shape) }
            expectClose(try numbers(found.scores), try numbers(expected), "\(name) \(key)", tolerance: Self.tolerance)
        }
        let activations = ["resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v"]
        for (key, point) in [("clean", GradientPoint.clean), ("corrupted", .corrupted)] {
            let found = try Patching.attributionPatch(model, pair, metric: metric, activations: activations, gradientAt: point)
            for one in found { expectClose(try one.mean, try golden("\(one.activationName).\(key)"), "\(name) \(one.activationName) \(key)", tolerance: Self.tolerance) }
        }
    }
}
