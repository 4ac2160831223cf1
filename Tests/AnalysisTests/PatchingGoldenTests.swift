// Every sweep against TransformerLens 3.9.0, on the three shapes of model.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct PatchingGoldenTests {
    typealias Sweep = (Transformer, IntTensor, ActivationCache, @escaping Patching.Metric) throws -> Tensor

    /// TransformerLens' names, `get_act_patch_` left out.
    var sweeps: [(name: String, run: Sweep)] { [
        ("resid_pre", Patching.getActPatchResidPre), ("resid_mid", Patching.getActPatchResidMid),
        ("attn_out", Patching.getActPatchAttnOut), ("mlp_out", Patching.getActPatchMlpOut),
        ("attn_head_out_by_pos", Patching.getActPatchAttnHeadOutByPos), ("attn_head_q_by_pos", Patching.getActPatchAttnHeadQByPos),
        ("attn_head_k_by_pos", Patching.getActPatchAttnHeadKByPos), ("attn_head_v_by_pos", Patching.getActPatchAttnHeadVByPos),
        ("attn_head_pattern_by_pos", Patching.getActPatchAttnHeadPatternByPos),
        ("attn_head_pattern_dest_src_pos", Patching.getActPatchAttnHeadPatternDestSrcPos),
        ("attn_head_out_all_pos", Patching.getActPatchAttnHeadOutAllPos), ("attn_head_q_all_pos", Patching.getActPatchAttnHeadQAllPos),
        ("attn_head_k_all_pos", Patching.getActPatchAttnHeadKAllPos), ("attn_head_v_all_pos", Patching.getActPatchAttnHeadVAllPos),
        ("attn_head_pattern_all_pos", Patching.getActPatchAttnHeadPatternAllPos),
        ("attn_head_all_pos_every", Patching.getActPatchAttnHeadAllPosEvery),
        ("attn_head_by_pos_every", Patching.getActPatchAttnHeadByPosEvery), ("block_every", Patching.getActPatchBlockEvery),
    ] }

    private func cache(_ model: Transformer, _ tokens: IntTensor) throws -> ActivationCache {
        try model.run(.tokens(tokens), .init(cache: .all, returnType: .none)).cache
    }

    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func everySweepAgrees(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing), cache = try cache(model, golden.clean)
        #expect(sweeps.count == 18)
        // What a metric changes by is small beside the metric: compared with the spread of the unpatched ones.
        for (sweep, run) in sweeps where golden.has("\(processing)/patch/\(sweep)") {
            let found = try run(model, golden.corrupted, cache, golden.metric)
            expectClose(found, try golden.tensor("\(processing)/patch/\(sweep)"), "\(name) \(processing) \(sweep)")
        }
        let baseline = try golden.metric(#require(model.run(.tokens(golden.corrupted)).logits))
        expectClose(Tensor(baseline), try golden.tensor("\(processing)/baseline"), "\(name) baseline")
    }

    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func noisingAndSettersOfOnesOwn(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing)
        let noised = try Patching.getActPatchAttnHeadOutByPos(model, golden.clean, cache(model, golden.corrupted), golden.metric)
        expectClose(noised, try golden.tensor("\(processing)/noise/attn_head_out_by_pos"), "\(name) noising")
        let setter = PatchSetter.custom { corrupted, index, clean in
            let place: [TensorIndex] = [.all, .at(index[1]), .at(index[2])]
            try corrupted.set(place[0], place[1], place[2], to: clean.at(place[0], place[1], place[2]) * 0.5 + 0.25)
        }
        let found = try Patching.genericActivationPatch(model, tokens: golden.corrupted, cache: cache(model, golden.clean),
                                                        metrics: [.scalar(golden.metric)], setter: setter, activationName: "post",
                                                        indices: [[1, 2, 3], [0, 4, 7], [1, 0, 19]])
        expectClose(found[0].values, try golden.tensor("\(processing)/custom/post"), "\(name) custom setter")
    }

    @Test(arguments: ExperimentGolden.processings)
    func keysAndValuesOfEachQueryHead(_ processing: String) throws {
        let golden = try ExperimentGolden("llama-grouped"), model = try golden.model(processing).ungroupingQueryAttention()
        #expect(model.config.kvHeads == 6)
        let cache = try cache(model, golden.clean)
        for (part, run) in [("k", Patching.getActPatchAttnHeadKByPos), ("v", Patching.getActPatchAttnHeadVByPos)] {
            let found = try run(model, golden.corrupted, cache, golden.metric)
            #expect(found.shape == [model.config.nLayers, 5, 6])
            expectClose(try found.reshaped([-1]), try golden.tensor("\(processing)/ungrouped/\(part)"), "\(part)")
        }
    }

    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func exactPathsAgree(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing), cache = try cache(model, golden.clean)
        for input in HeadInput.allCases {
            let found = try Patching.getActPatchDirectPathAllSources(model, golden.corrupted, cache, component: input, golden.metric)
            expectClose(found, try golden.tensor("\(processing)/path/\(input.rawValue)"), "\(name) \(processing) \(input)")
        }
    }

    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func pathsToTheFinalNormAgree(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model(processing), cache = try cache(model, golden.clean)
        let heads = try Patching.getPathPatchHeadsTo([.final], model, golden.corrupted, cache, golden.metric)
        expectClose(heads, try golden.tensor("\(processing)/final/heads"), "\(name) heads")
        for (key, sender) in [("mlps", { PathSender.mlpOut(layer: $0) }), ("resids", { PathSender.resid(layer: $0) })] {
            let paths = (0..<model.config.nLayers).map { Path(from: [sender($0)], to: [.final]) }
            let found = try Patching.pathPatch(model, tokens: golden.corrupted, cache: cache, metrics: [.scalar(golden.metric)], paths: paths)
            expectClose(found[0].values, try golden.tensor("\(processing)/final/\(key)"), "\(name) \(key)")
        }
    }

    /// 3.9's linear approximation is right where norms are folded; there ours is the same.
    @Test(arguments: ExperimentGolden.names) func frozenNormsAgree(_ name: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model("processed"), cache = try cache(model, golden.clean)
        for input in HeadInput.allCases where golden.has("processed/direct/\(input.rawValue)") {
            let found = try Patching.getActPatchDirectPathAllSources(model, golden.corrupted, cache, component: input, method: .frozenNorm, golden.metric)
            expectClose(found, try golden.tensor("processed/direct/\(input.rawValue)"), "\(name) \(input)")
        }
    }
}
