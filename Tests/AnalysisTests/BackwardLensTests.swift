// The backward lens against TransformerLens 3.9.0 (Goldens/make_backward_goldens.py); factors multiply to the parameters' gradients, for every
// matrix and several families; what is refused.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct BackwardLensTests {
    @Test func agreesWithTransformerLens() throws {
        let json = try JSON.parse(file: "\(ExperimentGolden.folder)/backward.json", limit: 1 << 20)
        let tensors = try SafetensorsFile(path: "\(ExperimentGolden.folder)/backward.safetensors")
        let tokens = try #require(json["tokens"]).integers("tokens"), target = try #require(json["target"]?.intValue), top = try #require(json["top"]?.intValue)
        let layers = try #require(json["layers"]).integers("layers")
        let model = try ModelFolder(path: "\(TestFolders.goldens)/gpt2-tiny").load()
        let found = try model.backwardLens(tokens, target: target, layers: layers, normalized: true, topK: top, keepsLogits: true)
        #expect(abs(found.metric - (json["loss"]?.doubleValue ?? .nan)) < 1e-5)
        #expect(found.gradients.map(\.layer) == layers.flatMap { [$0, $0] } && found.gradients.count == 4)
        for part in found.gradients {
            let prefix = "\(part.layer)/\(part.matrix == .wIn ? "in" : "out")"
            func golden(_ key: String) throws -> Tensor { try Tensor(stored: "\(prefix)/\(key)", in: tensors) }
            expectClose(part.forwardInputs, try golden("forward_inputs"), "\(prefix) inputs", tolerance: 2e-5)
            expectClose(part.outputGradients, try golden("output_gradients"), "\(prefix) gradients", tolerance: 1e-4)
            expectClose(try part.gradient(), try golden("gradient"), "\(prefix) gradient", tolerance: 1e-4)
            expectClose(part.norms, try golden("norms"), "\(prefix) norms", tolerance: 1e-4)
            expectClose(try #require(part.vocabulary.logits), try golden("logits"), "\(prefix) logits", tolerance: 1e-4)
            let normalized = try #require(part.normalized)
            expectClose(try #require(normalized.logits), try golden("normalized_logits"), "\(prefix) normalized", tolerance: 1e-4)
            expectClose(part.vocabulary.top, try golden("top"), "\(prefix) top", tolerance: 1e-4)
            expectClose(part.vocabulary.bottom, try golden("bottom"), "\(prefix) bottom", tolerance: 1e-4)
            #expect(part.vocabulary.topTokens.array.map(Float.init) == (try golden("top_tokens").array), "\(prefix) top tokens")
            #expect(part.vocabulary.bottomTokens.array.map(Float.init) == (try golden("bottom_tokens").array), "\(prefix) bottom tokens")
            #expect(part.vocabulary.ranksFromTop.map { Float($0) } == (try golden("target_largest").array))
            #expect(part.vocabulary.ranksFromBottom.map { Float($0) } == (try golden("target_smallest").array))
            #expect(normalized.ranksFromBottom.map { Float($0) } == (try golden("normalized_target_smallest").array))
        }
    }

    /// Inputs times output gradients are the parameters' own gradients.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2", "olmo2", "granite", "native-parallel", "native-solu", "gpt2-inverse-layer"])
    func factorsAreTheGradients(_ name: String) throws {
        let test = try AttributionCase(name, rows: 1), config = test.model.config
        var matrices: [BackwardLensMatrix] = [.wQ, .wK, .wV, .wIn]
        if config.mlp?.gate != nil { matrices.append(.wGate) }
        if config.outputNorm == nil, config.normPlacement == .onInput { matrices += [.wO, .wOut] }
        let found = try test.model.backwardLens(test.pair.clean.row(0), metric: test.metric, matrices: matrices)
        #expect(try found.gradients.count == matrices.count * config.nLayers && found.metric == Double(test.run(test.pair.clean).values[0]))
        let parameters = try test.model.runWithGradients(.tokens(test.pair.clean), parameters: .matching { !$0.hasPrefix("embed") }) {
            try test.metric(#require($0.logits)).summed(axis: 0)
        }.parameters
        for part in found.gradients {
            let parameter = "blocks.\(part.layer).\([.wQ, .wK, .wV, .wO].contains(part.matrix) ? "attn" : "mlp")."
            let grouped = config.kvHeads != config.nHeads && [.wK, .wV].contains(part.matrix)
            var expected = try #require(parameters[parameter + (grouped ? "_" : "") + part.matrix.rawValue] ?? parameters[parameter + part.matrix.rawValue])
            // [head, d_model, d_head] as one matrix.
            if expected.rank == 3 {
                expected = part.matrix == .wO ? try expected.reshaped([expected.shape[0] * expected.shape[1], expected.shape[2]])
                    : try expected.permuted(1, 0, 2).reshaped([expected.shape[1], expected.shape[0] * expected.shape[2]])
            }
            expectClose(try part.gradient(), expected, "\(name) \(part.layer) \(part.matrix.rawValue)", tolerance: 1e-4)
        }
        let json = try found.json { "t\($0)" }
        #expect(json["matrices"]?.arrayValue?.count == found.gradients.count)
    }

    @Test func refusals() throws {
        let gpt2 = try ModelFolder(path: "\(TestFolders.goldens)/gpt2-tiny").load()
        expectError(.usage, "no such layer") { try gpt2.backwardLens([1, 2], target: 3, layers: [3]) }
        expectError(.usage, "the layer has no such matrix") { try gpt2.backwardLens([1, 2], target: 3, matrices: [.wGate]) }
        expectError(.usage, "token out of range") { try gpt2.backwardLens([1, 2], target: 97) }
        expectError(.usage, "how many tokens to name") { try gpt2.backwardLens([1, 2], target: 3, topK: 98) }
        expectError(.usage) { try gpt2.backwardLens([], target: 3) }
        let gemma = try ModelFolder(path: "\(TestFolders.goldens)/gemma2").load()
        expectError(.usage, "not seen before a norm") { try gemma.backwardLens([1, 2], target: 3, matrices: [.wOut]) }
        let bert = try ModelFolder(path: "\(TestFolders.goldens)/bert-untied").load()
        expectError(.usage, "no backward lens") { try bert.backwardLens([1, 2], target: 3) }
    }
}
