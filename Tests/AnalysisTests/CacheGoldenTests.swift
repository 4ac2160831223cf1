// The cache's methods against TransformerLens 3.9.0: every method and option, on three kinds of model, raw and processed, of
// a batch and of one row without its batch axis.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct CacheGoldenTests {
    private static let kinds = ["raw", "processed", "one-row"]
    private static let methods: Set<String> = [
        "accumulated_resid", "decompose_resid", "stack_head_results", "stack_neuron_results", "get_full_resid_decomposition",
        "get_neuron_results", "stack_activation", "logit_attrs", "apply_ln_to_stack", "head_results",
    ]

    private func cache(_ model: Transformer, _ kind: String, _ tokens: IntTensor) throws -> ActivationCache {
        let rows = kind == "one-row" ? try IntTensor(rows: [tokens.row(0)]) : tokens
        return try model.run(.tokens(rows), .init(cache: .all, removeBatchDim: kind == "one-row")).cache
    }

    @Test(arguments: AnalysisGoldens.names, kinds)
    func methods(_ name: String, _ kind: String) throws {
        let file = try AnalysisGoldens.cases(name, kind), model = try AnalysisGoldens.model(name, kind)
        let cache = try cache(model, kind, file.tokens)
        var seen: Set<String> = []
        for one in file.cases where Self.methods.contains(one.method) {
            let (stack, labels) = try call(one, cache, model, file)
            expectClose(stack, one.expected, "\(name), \(kind): \(one)")
            if let expected = one.labels { #expect(labels == expected, "\(name), \(kind): \(one)") }
            seen.insert(one.method)
        }
        #expect(seen == (kind == "one-row" ? Self.methods.subtracting(["head_results"]) : Self.methods))
    }

    private func call(_ one: CaseFile.Case, _ cache: ActivationCache, _ model: Transformer, _ file: CaseFile) throws -> (Tensor, [String]?) {
        let layer = one.int("layer"), positions = one.slice("pos_slice"), applyLn = one.flag("apply_ln"), mlpInput = one.flag("mlp_input")
        let directions = try one.string("project_output_onto").map(file.tensor)
        switch one.method {
        case "accumulated_resid":
            return try cache.accumulatedResid(in: model, layer: layer, inclMid: one.flag("incl_mid"), applyLn: applyLn, posSlice: positions, mlpInput: mlpInput)
        case "decompose_resid":
            return try cache.decomposeResid(in: model, layer: layer, mlpInput: mlpInput, mode: one.string("mode").flatMap(SublayerMode.init) ?? .all, applyLn: applyLn,
                                            posSlice: positions, inclEmbeds: one.arguments["incl_embeds"] != false)
        case "stack_head_results":
            return try cache.stackHeadResults(in: model, layer: layer, inclRemainder: one.flag("incl_remainder"), posSlice: positions, applyLn: applyLn)
        case "stack_neuron_results":
            return try cache.stackNeuronResults(in: model, layer: layer, posSlice: positions, neuronSlice: one.slice("neuron_slice"),
                                                inclRemainder: one.flag("incl_remainder"), applyLn: applyLn, projectOutputOnto: directions)
        case "get_full_resid_decomposition":
            return try cache.getFullResidDecomposition(in: model, layer: layer, mlpInput: mlpInput, expandNeurons: one.arguments["expand_neurons"] != false,
                                                       applyLn: applyLn, posSlice: positions, projectOutputOnto: directions)
        case "get_neuron_results":
            return (try cache.getNeuronResults(in: model, layer: layer ?? 0, neuronSlice: one.slice("neuron_slice"), posSlice: positions,
                                               projectOutputOnto: directions), nil)
        case "stack_activation":
            return (try cache.stackActivation(one.string("name") ?? "", layer: layer ?? -1, type: one.string("type")), nil)
        case "head_results":
            var cache = cache
            try cache.computeHeadResults(in: model)
            return (try cache["result", layer ?? 0], nil)
        default: return (try stackCall(one, cache, model, positions), nil)
        }
    }

    /// Methods that take a stack.
    private func stackCall(_ one: CaseFile.Case, _ cache: ActivationCache, _ model: Transformer, _ positions: AxisSlice) throws -> Tensor {
        let stack = try cache.decomposeResid(in: model, posSlice: positions).stack
        if one.method == "apply_ln_to_stack" {
            return try cache.applyLnToStack(stack, in: model, layer: one.int("layer"), mlpInput: one.flag("mlp_input"), posSlice: positions,
                                            batchSlice: one.slice("batch_slice"), hasBatchDim: cache.hasBatchDim, recomputeLn: one.flag("recompute_ln"))
        }
        let tokens = try one.tokens("tokens")
        return try cache.logitAttrs(stack, in: model, tokens: #require(tokens), incorrectTokens: one.tokens("incorrect_tokens"),
                                    posSlice: positions, batchSlice: one.slice("batch_slice"), hasBatchDim: cache.hasBatchDim)
    }

    /// TransformerLens' own processed state dicts, parameter by parameter: each flag by itself, and the default ones together.
    @Test(arguments: AnalysisGoldens.names)
    func processedStateDicts(_ name: String) throws {
        let file = try SafetensorsFile(path: "\(AnalysisGoldens.folder)/\(name)/processed_states.safetensors"), raw = try AnalysisGoldens.raw(name)
        let keys = Set(file.names.map { String($0.prefix { $0 != "/" }) })
        #expect(keys.count == (name == "gpt2" ? 7 : name == "llama" ? 4 : 5))
        for key in keys.sorted() {
            let processing = WeightProcessing.Step(rawValue: key).map { WeightProcessing.only($0) }
                ?? WeightProcessing(refactorFactoredAttnMatrices: key == "refactored" ? true : nil)
            let processed = try raw.processWeights(processing).parameters
            let usesSVD = key.hasPrefix("refactor")
            for parameter in raw.parameters.names where processed.names.contains(parameter) {
                let changed = "\(key)/\(parameter)"
                let expected = file.names.contains(changed) ? try Tensor(stored: changed, in: file) : try raw.parameters[parameter]
                var found = try processed[parameter]
                if usesSVD, parameter.contains(".attn."), !parameter.hasSuffix("b_O") { found = try signed(found, like: expected, axis: parameter.hasSuffix("W_O") ? 1 : -1) }
                expectClose(found, expected, "\(name), \(changed)")
            }
        }
    }

    /// With each singular vector's sign as in `reference`; vectors are the places of `axis` in each head.
    private func signed(_ x: Tensor, like reference: Tensor, axis: Int) throws -> Tensor {
        let axis = axis < 0 ? x.rank + axis : axis
        let front = try x.movingAxis(axis, to: 1).contiguous(), wanted = try reference.movingAxis(axis, to: 1).contiguous()
        var result = front
        for head in 0..<front.shape[0] {
            for vector in 0..<front.shape[1] {
                let dot = try (front.at(.at(head), .at(vector)) * wanted.at(.at(head), .at(vector))).array.reduce(0, +)
                if dot < 0 { try result.set(.at(head), .at(vector), to: front.at(.at(head), .at(vector)) * Tensor(-1)) }
            }
        }
        return try result.movingAxis(1, to: axis).contiguous()
    }
}
