// Decompositions sum to what they decompose, in every family there is, raw and processed, and from a file as from a run; what
// does not fit is refused.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct DecompositionTests {
    private func model(_ name: String) throws -> Transformer {
        let folder = "\(TestFolders.goldens)/\(name)"
        guard name.hasPrefix("native-") else { return try ModelFolder(path: folder).load() }
        let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: folder + "/tl_config.json", limit: 1 << 20))
        return try Transformer(config: config, savedParameters: SafetensorsFile(path: folder + "/state_dict.safetensors"))
    }

    private func tokens(_ model: Transformer) throws -> IntTensor {
        try IntTensor([3, 1, 4, 5, 9, 2, 6, 5].map { $0 % model.config.dVocab }, shape: [2, 4])
    }

    /// As exact as float32 sums of a few hundred terms are.
    private func expectSum(_ stack: Tensor, _ whole: Tensor, _ what: String) throws {
        expectClose(try stack.summed(axis: 0), whole, what, tolerance: 3e-5)
    }

    @Test(arguments: TestFolders.goldenNames)
    func everyDecompositionSums(_ name: String) throws {
        let raw = try model(name), tokens = try tokens(raw)
        for (kind, model) in [("raw", raw), ("processed", try raw.processWeights())] {
            let output = try model.run(.tokens(tokens), .init(cache: .all)), cache = output.cache, layers = model.config.nLayers
            for layer in Set([0, 1, layers]).filter({ $0 <= layers }) {
                let mlpInputs = layer < layers && model.config.mlp != nil ? [false, true] : [false]
                for mlpInput in mlpInputs {
                    let what = "\(name), \(kind), layer \(layer)\(mlpInput ? ", mlp" : "")"
                    let mid = mlpInput && !model.config.parallelAttnMLP
                    let whole = try cache[layer == layers ? "resid_post" : mid ? "resid_mid" : "resid_pre", layer == layers ? layer - 1 : layer]
                    try expectSum(cache.decomposeResid(in: model, layer: layer, mlpInput: mlpInput).stack, whole, what)
                    for expand in [true, false] {
                        let full = try cache.getFullResidDecomposition(in: model, layer: layer, mlpInput: mlpInput, expandNeurons: expand)
                        #expect(full.labels.count == full.stack.shape[0] && Set(full.labels).count == full.labels.count)
                        try expectSum(full.stack, whole, "\(what), full, neurons \(expand)")
                    }
                }
                let remainder = try cache.stackHeadResults(in: model, layer: layer, inclRemainder: true)
                try expectSum(remainder.stack, cache[layer == layers ? "resid_post" : "resid_pre", layer == layers ? layer - 1 : layer], "\(name), \(kind): heads")
            }
            guard model.config.finalNorm?.hasWeights != true, model.config.norm != nil else { continue }
            try logitsAreSums(model, cache, output.logits, name)
        }
    }

    /// Folded, the parts' attributions and b_U are the logits (before a cap).
    private func logitsAreSums(_ model: Transformer, _ cache: ActivationCache, _ logits: Tensor?, _ name: String) throws {
        let token = 2, full = try cache.getFullResidDecomposition(in: model, expandNeurons: false)
        let attrs = try cache.logitAttrs(full.stack, in: model, token: token)
        let expected = try cache["unembed.hook_out"].at(.all, .all, .at(token)) - model.parameters["unembed.b_U"].at(.at(token))
        try expectSum(attrs, expected, "\(name): logit")
        let direction = try model.tokenToResidualDirection(token)
        let projected = try cache.getFullResidDecomposition(in: model, applyLn: true, projectOutputOnto: direction)
        try expectSum(projected.stack, expected, "\(name): projected")
    }

    @Test func fromAFileAsFromARun() throws {
        let model = try AnalysisGoldens.model("gpt2", "processed"), tokens = try tokens(model)
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let path = NSTemporaryDirectory() + "lens-cache-\(UUID().uuidString).safetensors"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try saveRun(tokens: tokens, logits: nil, cache: cache, to: path)
        let saved = try ActivationCache(contentsOf: path)
        #expect(try saved.getFullResidDecomposition(in: model, applyLn: true).stack.array == cache.getFullResidDecomposition(in: model, applyLn: true).stack.array)
    }

    @Test func slicesOfBatchAndPosition() throws {
        let model = try AnalysisGoldens.raw("gpt2"), tokens = try tokens(model)
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let row = try cache.applySliceToBatchDim(1)
        #expect(!row.hasBatchDim && row.names == cache.names)
        #expect(try row["pattern", 0].shape == [3, 4, 4] && row["resid_pre", 1].array == cache["resid_pre", 1].at(1).array)
        #expect(try cache.applySliceToBatchDim([1]).hasBatchDim && cache.applySliceToBatchDim(.span(0, 1))["z", 0].shape == [1, 4, 3, 4])
        var one = try cache.applySliceToBatchDim([0])
        try one.removeBatchDim()
        #expect(try one["resid_pre", 0].shape == [4, 12])
        expectError(.usage, "removed already") { try one.removeBatchDim() }
        var two = cache
        expectError(.shape, "cannot remove the batch dimension") { try two.removeBatchDim() }
        expectError(.usage, "without a batch dimension") { try one.applySliceToBatchDim(0) }
        expectError(.shape, "out of range") { try cache.applySliceToBatchDim(2) }
        expectError(.shape, "out of range") { try cache.decomposeResid(in: model, posSlice: [0, 4]) }
    }

    @Test func slicesAreTransformerLens() throws {
        let x = try Tensor((0..<24).map(Float.init), shape: [2, 3, 4])
        #expect(try AxisSlice.at(-1).apply(x, axis: -1).shape == [2, 3] && AxisSlice.list([2, 0]).apply(x, axis: 1).array[0] == 8)
        #expect(try AxisSlice.span(1, 4, step: 2).indices(4) == [1, 3] && AxisSlice.span(-3, nil).indices(4) == [1, 2, 3])
        #expect(try AxisSlice.span(2, 99).indices(4) == [2, 3] && AxisSlice.span(3, 1).indices(4) == [] && AxisSlice.all.indices(2) == [0, 1])
        #expect(AxisSlice.at(3).keepingAxis == [3] && AxisSlice.range(1..<3) == .span(1, 3))
        #expect(try AxisSlice.span(0, 0).apply(x, axis: 1).shape == [2, 0, 4] && AxisSlice.list([]).apply(x, axis: 0).shape == [0, 3, 4])
        expectError(.shape, "step") { try AxisSlice.span(0, 2, step: 0).indices(3) }
    }

    @Test func refusals() throws {
        let model = try AnalysisGoldens.raw("gpt2"), cache = try model.run(.tokens(tokens(model)), .init(cache: ["resid_post"])).cache
        expectError(.name, "not in the cache") { try cache.decomposeResid(in: model) }
        expectError(.usage, "no such layer", "0...2") { try cache.accumulatedResid(in: model, layer: 3) }
        expectError(.usage, "no such layer") { try cache.accumulatedResid(in: model, layer: -2) }
        let all = try model.run(.tokens(tokens(model)), .init(cache: .all)).cache, stack = try all.decomposeResid(in: model).stack
        expectError(.usage, "no MLP reads the stream there") { try all.decomposeResid(in: model, layer: 2, mlpInput: true) }
        expectError(.shape, "must have the same shape", "[2]") {
            try all.logitAttrs(stack, in: model, tokens: IntTensor([1, 2]), incorrectTokens: IntTensor([1, 2, 3]))
        }
        expectError(.shape, "tokens do not fit the stack") { try all.logitAttrs(stack, in: model, tokens: IntTensor([1, 2, 3])) }
        expectError(.usage, "not an output of this model") { try all.logitAttrs(stack, in: model, token: 19) }
        expectError(.shape, "directions to project onto") { try all.stackNeuronResults(in: model, projectOutputOnto: Tensor(zeros: [11])) }
        expectError(.usage, "no neurons there") { try all.getNeuronResults(in: model, layer: 2) }
    }
}
