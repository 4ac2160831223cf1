// What asking for gradients must not change, and what is kept for them: bits of the run, order of hooks, memory of recomputed
// blocks.

import Foundation
import LensHooks
import LensTensor
import LensTestSupport
import Testing
import TransformerLens

@Suite struct GradientLawTests {
    private static let models = ["gpt2-tiny", "llama-grouped", "gemma2", "qwen2-moe", "gpt-oss", "bert", "t5", "openai-gpt", "olmo2", "native-shortformer"]

    private static func pick(_ output: Transformer.Output) throws -> Tensor {
        let tensor = try #require(output.logits ?? output.residual)
        return try (tensor * GradientGolden.weights(tensor.shape)).sum()
    }

    private func base(_ name: String) throws -> (model: Transformer, input: Transformer.Input, options: Transformer.Options) {
        let golden = try Golden(name), run = try golden.run("base")
        return (try Models.named(name), .tokens(try #require(run.tokens)), run.options)
    }

    /// Every site, those that exist on demand too, and every parameter.
    @Test(arguments: models)
    func askingChangesNoBit(_ name: String) throws {
        var (model, input, options) = try base(name)
        options.cache = .all
        let plain = try model.run(input, options)
        options.gradients = .matching { _ in true }
        let asked = try model.runWithGradients(input, options, parameters: .all, of: Self.pick)
        expectSameBits(asked.output.logits, plain.logits, "\(name): logits")
        expectSameBits(asked.output.cache, plain.cache, name)
        #expect(asked.output.cache.entries.allSatisfy { !$0.activation.isTracked } && !asked.metric.isTracked)
        let sites = model.config.hookPoints.filter(\.site.isContinuous).map(\.name)
        #expect(asked.activations.names == sites)
        // One by one, or all at once: the same gradient.
        for site in [sites[sites.count / 3], sites[sites.count / 2], sites[2 * sites.count / 3]] {
            var one = options
            one.cache = .none
            one.gradients = .names([site])
            let found = try model.runWithGradients(input, one, of: Self.pick)
            #expect(found.activations.names == [site])
            let alone = try found.activations[site], together = try asked.activations[site]
            #expect(try GradientSummary(alone).distance(to: GradientSummary(together), count: alone.count, scale: 1) < 1e-5, "\(name): \(site)")
        }
    }

    /// A metric of the last logits: the same gradients whether or not the other positions were computed in the last block.
    @Test(arguments: models.filter { $0 != "bert" })
    func lastLogitsAlone(_ name: String) throws {
        var (model, input, options) = try base(name)
        func pickLast(_ output: Transformer.Output) throws -> Tensor {
            let last = try #require(output.logits).at(.all, .from(-1)).contiguous()
            return try (last * GradientGolden.weights(last.shape)).sum()
        }
        options.gradients = "resid_pre"
        let whole = try model.runWithGradients(input, options, parameters: .all, of: pickLast)
        options.onlyLastLogits = true
        for recomputes in [false, true] {
            options.recomputesBlocks = recomputes
            let last = try model.runWithGradients(input, options, parameters: .all, of: pickLast)
            expectSameBits(last.metric, whole.metric, name)
            #expect(last.activations.names == whole.activations.names)
            let pairs = try whole.activations.names.map { ($0, try last.activations[$0], try whole.activations[$0]) }
                + whole.parameters.map { ($0.key, try #require(last.parameters[$0.key]), $0.value) }
            for (what, a, b) in pairs {
                let largest = b.array.map { Double(abs($0)) }.max() ?? 0
                expectClose(a.array, b.array.map(Double.init), relative: 0, absolute: 1e-5 * largest, "\(name): \(what)")
            }
        }
    }

    @Test(arguments: models)
    func recomputedBlocksGiveTheSameBits(_ name: String) throws {
        var (model, input, options) = try base(name)
        options.gradients = model.config.kind == .encoderDecoder ? ["encoder.0.hook_resid_pre"] : ["blocks.0.hook_resid_pre"]
        let kept = try model.runWithGradients(input, options, parameters: .all, of: Self.pick)
        options.recomputesBlocks = true
        let recomputed = try model.runWithGradients(input, options, parameters: .all, of: Self.pick)
        expectSameBits(recomputed.output.logits, kept.output.logits, name)
        expectSameBits(recomputed.activations, kept.activations, name)
        #expect(Set(recomputed.parameters.keys) == Set(kept.parameters.keys))
        for (parameter, gradient) in kept.parameters { expectSameBits(recomputed.parameters[parameter], gradient, "\(name): \(parameter)") }
    }

    @Test func recomputedBlocksHoldLess() throws {
        var (model, input, options) = try base("old-solu-7l")
        func held() throws -> Int {
            let meter = StorageMeter()
            return try StorageMeter.$current.withValue(meter) {
                var bytes = 0
                _ = try model.runWithGradients(input, options, parameters: .all) { output in
                    bytes = meter.heldBytes
                    return try Self.pick(output)
                }
                return bytes
            }
        }
        let kept = try held()
        options.recomputesBlocks = true
        let recomputed = try held()
        #expect(recomputed > 0 && recomputed * 3 < kept, "\(recomputed) and \(kept) bytes")
        // Two sites late in the model: nothing before them is kept.
        options.recomputesBlocks = false
        let meter = StorageMeter()
        try StorageMeter.$current.withValue(meter) {
            options.gradients = ["blocks.6.hook_mlp_out", "blocks.6.hook_resid_post"]
            _ = try model.runWithGradients(input, options) { output in
                #expect(meter.heldBytes * 5 < kept, "\(meter.heldBytes) of \(kept) bytes")
                return try Self.pick(output)
            }
        }
    }

    @Test func hooksRunInReverseOrderOfFiring() throws {
        var (model, input, options) = try base("llama-grouped")
        var fired: [String] = [], gone: [String] = []
        let names = model.config.hookPoints.filter { !$0.site.row.isOnDemand }.map(\.name)
        options.hooks = [.read(.all) { _, at in fired.append(at.name) }, .gradient(.all) { gradient, at in
            gone.append(at.name)
            #expect(at.positions == 0..<11 && at.layer == HookPoint(name: at.name)?.layer)
        }]
        _ = try model.runWithGradients(input, options, of: Self.pick)
        #expect(fired == names && gone == fired.reversed())
        // A plain run has no reverse pass.
        gone = []
        _ = try model.run(input, options)
        #expect(gone.isEmpty)
    }

    @Test func hooksReadAndReplace() throws {
        var (model, input, options) = try base("gpt2-tiny")
        let site = "blocks.1.hook_mlp_out", below = "blocks.1.mlp.hook_post", beside = "blocks.1.hook_resid_mid"
        options.gradients = .names([site, below, beside])
        let plain = try model.runWithGradients(input, options, of: Self.pick).activations
        var seen: [Tensor] = []
        options.hooks = [.gradient(.names([site])) { gradient, _ in
            seen.append(gradient)
            gradient = try gradient * 2
        }, .gradient(.names([site])) { gradient, _ in
            seen.append(gradient)
            gradient[.all, 3] = 0
        }]
        let replaced = try model.runWithGradients(input, options, of: Self.pick).activations
        expectSameBits(seen[0], try plain[site], "read")
        expectSameBits(seen[1], try plain[site] * 2, "read after a replacement")
        expectSameBits(try replaced[site], seen[1].array.isEmpty ? nil : { var t = seen[1]; t[.all, 3] = 0; return t }(), "what the cache holds")
        var expected = try plain[below] * 2
        expected[.all, 3] = 0
        expectClose(try replaced[below], expected, "further back", tolerance: 1e-6)
        // The stream passes the MLP by; its own part is what it was.
        let through = try plain[beside] - plain[site], half = try replaced[beside] - plain[site]
        #expect(try through.at(.all, .at(3)).array.contains { $0 != 0 })
        #expect(zip(try half.at(.all, .at(3)).array, Array(repeating: Float(0), count: 2 * model.config.dModel)).allSatisfy { abs($0 - $1) < 1e-6 })
        expectError(.shape, site) {
            options.hooks = [.gradient(.names([site])) { gradient, _ in gradient = Tensor(zeros: [1]) }]
            do { _ = try model.runWithGradients(input, options, of: Self.pick) } catch let error as LensError { throw LensError(.shape, "\(error) \(site)") }
        }
    }

    @Test func stoppedGradients() throws {
        var (model, input, options) = try base("gpt2-tiny")
        let plain = try model.run(input, options)
        options.gradients = ["blocks.*.hook_resid_pre", "blocks.*.attn.hook_pattern", "blocks.*.attn.hook_q", "blocks.*.ln1.hook_scale"]
        let free = try model.runWithGradients(input, options, of: Self.pick)
        options.hooks = [.stopGradient(["blocks.*.attn.hook_pattern", "blocks.*.hook_scale", "ln_final.hook_scale"])]
        let frozen = try model.runWithGradients(input, options, of: Self.pick)
        expectSameBits(frozen.output.logits, plain.logits, "frozen")
        #expect(try frozen.activations["q", 1].array.allSatisfy { $0 == 0 } && free.activations["q", 1].array.contains { $0 != 0 })
        #expect(try frozen.activations["pattern", 1].array.contains { $0 != 0 })
        #expect(try frozen.activations["resid_pre", 0].array != free.activations["resid_pre", 0].array)
        options.hooks = [.stopGradient("blocks.1.hook_resid_pre")]
        let cut = try model.runWithGradients(input, options, of: Self.pick)
        #expect(try cut.activations["resid_pre", 0].array.allSatisfy { $0 == 0 })
        expectSameBits(try cut.activations["resid_pre", 1], try free.activations["resid_pre", 1], "above the cut")
    }

    /// With every non-linearity frozen the model is linear in what it writes: gradient times input is the difference made.
    @Test func editsArePartOfTheGraph() throws {
        var (model, input, options) = try base("gpt2-tiny")
        let direction = try GradientGolden.weights([2, model.config.dModel]).tracked()
        options.hooks = [.edit("blocks.1.hook_resid_post", at: .absolute(4)) { rows, _ in rows = try rows * 0.5 + direction }]
        let output = try model.run(input, options)
        let gradient = try #require(gradients(of: Self.pick(output), to: [direction]).first)
        options.gradients = ["blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"]
        let found = try model.runWithGradients(input, options, of: Self.pick)
        expectClose(gradient, try found.activations["resid_post", 1].at(.all, .at(4)), "what was put in", tolerance: 1e-6)
        expectClose(try found.activations["mlp_out", 1].at(.all, .at(4)), try gradient * 0.5, "what it replaced", tolerance: 1e-6)
        expectClose(try found.activations["mlp_out", 1].at(.all, .at(5)), try found.activations["resid_post", 1].at(.all, .at(5)), "elsewhere", tolerance: 1e-6)
    }

    @Test func inputsHaveGradients() throws {
        var (model, input, options) = try base("llama-grouped")
        options.cache = ["blocks.1.hook_resid_pre", "hook_embed"]
        options.gradients = options.cache
        let whole = try model.runWithGradients(input, options, of: Self.pick)
        let stream = try whole.output.cache["blocks.1.hook_resid_pre"].tracked()
        let later = try model.run(.residual(stream), .init(startAtLayer: 1))
        expectSameBits(try gradients(of: Self.pick(later), to: [stream])[0], try whole.activations["blocks.1.hook_resid_pre"], "a residual stream")
        let embeddings = try whole.output.cache["hook_embed"].tracked()
        expectSameBits(try gradients(of: Self.pick(model.run(.embeddings(embeddings))), to: [embeddings])[0], try whole.activations["hook_embed"], "embeddings")
        let split = try embeddings.detached().at(.all, .upTo(4)).contiguous().tracked()
        guard case .tokens(let tokens) = input else { return }
        let rest = try IntTensor(rows: tokens.rows.map { Array($0.dropFirst(4)) })
        expectClose(try gradients(of: Self.pick(model.run(.embeddings(split, then: rest))), to: [split])[0],
                    try whole.activations["hook_embed"].at(.all, .upTo(4)), "embeddings before tokens", tolerance: 1e-5)
        options.stopAtLayer = 1
        options.gradients = ["hook_embed"]
        #expect(try model.runWithGradients(input, options, of: Self.pick).activations["hook_embed"].array.contains { $0 != 0 })
    }

    @Test func losses() throws {
        var (model, input, options) = try base("gpt2-tiny")
        guard case .tokens(let tokens) = input else { return }
        let mask = try IntTensor(rows: tokens.rows.enumerated().map { row, ids in ids.indices.map { row == 0 || $0 > 3 ? 1 : 0 } })
        options.attentionMask = mask
        options.gradients = ["blocks.0.hook_resid_pre", "unembed.hook_out"]
        options.returnType = .both
        let found = try model.runWithGradients(input, options) { try #require($0.loss) }
        let pos = tokens.shape[1]
        let composed = try model.runWithGradients(input, options) { output in
            let logProbabilities = try #require(output.logits).logSoftmax()
            var sum = Tensor(0), count: Float = 0
            for row in 0..<2 {
                for place in 0..<pos - 1 where mask.rows[row][place] == 1 && mask.rows[row][place + 1] == 1 {
                    sum = try sum - logProbabilities.at(.at(row), .at(place), .at(tokens.rows[row][place + 1]))
                    count += 1
                }
            }
            return try sum / Tensor(count)
        }
        for name in found.activations.names { expectClose(try found.activations[name], try composed.activations[name], name, tolerance: 1e-5) }
        options.lossPerToken = true
        let perToken = try model.runWithGradients(input, options) { try #require($0.loss).at(.at(1), .at(6)) }
        let one = try model.runWithGradients(input, options) { output in
            try #require(output.logits).logSoftmax().at(.at(1), .at(6), .at(tokens.rows[1][7])) * Tensor(-1)
        }
        for name in one.activations.names { expectClose(try perToken.activations[name], try one.activations[name], name, tolerance: 1e-5) }
    }

    @Test func whatIsReturned() throws {
        var (model, input, options) = try base("llama-multiquery")
        guard case .tokens(let tokens) = input else { return }
        let one = Transformer.Input.tokens(try IntTensor(rows: [tokens.rows[0]]))
        options.gradients = ["resid_pre", "pattern"]
        options.cache = ["resid_pre0"]
        let whole = try model.runWithGradients(one, options, parameters: ["blocks.1.attn._W_K", "unembed.*"], of: Self.pick)
        #expect(Set(whole.parameters.keys) == ["blocks.1.attn._W_K", "unembed.W_U"])
        #expect(whole.parameters["blocks.1.attn._W_K"]?.shape == [1, model.config.dModel, model.config.dHead])
        let names = whole.cache.names
        #expect(names.first == "blocks.0.hook_resid_pre" && names.contains("blocks.1.attn.hook_pattern_grad"))
        expectSameBits(try whole.cache["pattern_grad", -1], try whole.activations["pattern", 1], "by a short name")
        options.posSlice = .at(-1)
        options.removeBatchDim = true
        let sliced = try model.runWithGradients(one, options, of: Self.pick)
        expectSameBits(try sliced.activations["resid_pre1"], try whole.activations["resid_pre1"].at(.at(0), .from(-1)).contiguous(), "a slice")
        #expect(try sliced.activations["pattern1"].shape == [4, 1, tokens.shape[1]])
        try withTemporaryFolder { folder in
            try saveRun(tokens: tokens, logits: whole.output.logits, cache: whole.cache, to: folder + "/run.safetensors")
            expectSameBits(try ActivationCache(contentsOf: folder + "/run.safetensors")["resid_pre0_grad"], try whole.activations["resid_pre0"], "read back")
        }
    }

    @Test func refusals() throws {
        var (model, input, options) = try base("gpt2-tiny")
        options.gradients = ["resid_pre"]
        expectError(.usage, "depends on nothing") { _ = try model.runWithGradients(input, options) { Tensor(try #require($0.logits).array[0]) } }
        expectError(.shape, "one number") { _ = try model.runWithGradients(input, options) { try #require($0.logits) } }
        expectError(.name, "blocks.0.attn.W_Q") { _ = try model.runWithGradients(input, options, parameters: ["blocks.0.attn.W_Qs"], of: Self.pick) }
        options.gradients = ["resid_pro"]
        expectError(.name, "resid_pre") { _ = try model.runWithGradients(input, options, of: Self.pick) }
        options.gradients = ["blocks.0.hook_q_input"]
        options.hooks = [.edit("blocks.0.ln1.hook_normalized") { $0 = try $0 * 2; _ = $1 }]
        expectError(.usage, "blocks.0.hook_q_input") { _ = try model.runWithGradients(input, options, of: Self.pick) }
        let llama = try base("llama-grouped")
        expectError(.usage, "b_Q") { _ = try llama.model.runWithGradients(llama.input, parameters: ["blocks.0.attn.b_Q"], of: Self.pick) }
    }

    /// Activations have gradients whatever weights are kept as; weights only where they are numbers.
    @Test func weightsInOtherFormats() throws {
        let (model, input, _) = try base("llama-grouped")
        var options = Transformer.Options()
        options.gradients = ["hook_embed", "blocks.*.hook_resid_post"]
        let exact = try model.runWithGradients(input, options, of: Self.pick)
        let rounded = try model.keeping(.bfloat16)
        let found = try rounded.runWithGradients(input, options, of: Self.pick)
        for name in exact.activations.names {
            let (own, other) = (try found.activations[name], try exact.activations[name])
            #expect(try GradientSummary(own).distance(to: GradientSummary(other), count: own.count) < 0.3, "\(name)")
        }
        expectError(.usage, "bf16") { _ = try rounded.runWithGradients(input, options, parameters: "blocks.0.attn.W_O", of: Self.pick) }
        #expect(try rounded.runWithGradients(input, options, parameters: "*.ln1.w", of: Self.pick).parameters.count == 2)
    }
}
