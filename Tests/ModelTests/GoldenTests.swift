// Every number of every golden folder: logits against Hugging Face, activations against TransformerLens, runs with edits,
// padding, layer bounds and generation.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct GoldenTests {
    /// Every folder that holds a golden: nothing to list, nothing to forget.
    static let supported = TestFolders.goldenNames

    @Test func thereAreGoldens() { #expect(Self.supported.count > 60) }

    @Test(arguments: supported)
    func everyRunAgrees(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name)
        var largest = (error: 0.0, at: "")
        for run in golden.runs where !run.name.hasPrefix("generate.") && !run.name.hasPrefix("masked.") {
            let found = try check(run, of: golden, model)
            if found.error > largest.error { largest = found }
        }
        if environmentVariable("LENS_TEST_VERBOSE") != nil { print("golden \(name): largest error \(largest.error) at \(largest.at)") }
    }

    /// Runs what a golden run ran, and compares everything it kept. - Returns: the largest relative error.
    private func check(_ run: GoldenRun, of golden: Golden, _ model: Transformer) throws -> (error: Double, at: String) {
        let activations = run.tensors.keys.filter { $0.contains("hook_") }
        var options = run.options
        options.cache = .names(activations.sorted())
        options.hooks = run.edits.map { edit in .edit(.names([edit.site])) { tensor, _ in try edit.apply(to: &tensor) } }
        let wantsLoss = run.tensors["loss"] != nil
        options.returnType = wantsLoss ? .both : .logits
        let input: Transformer.Input
        if let name = run.input {
            input = .residual(try golden.tensor(golden.run("base"), name))
        } else {
            input = .tokens(try #require(run.tokens))
        }
        let output = try model.run(input, options)
        var largest = (error: 0.0, at: "")
        for name in run.tensors.keys.sorted() {
            let expected = try golden.tensor(run, name)
            let actual: Tensor?
            switch name {
            case "logits", "hf_logits": actual = output.logits
            case "residual": actual = output.residual
            case "loss": actual = output.loss
            case "loss_per_token":
                options.lossPerToken = true
                actual = try model.run(input, options).loss
            default: actual = try output.cache[name]
            }
            let error = expectClose(actual, expected, "\(golden.name): \(run.name)/\(name)")
            if error > largest.error { largest = (error, "\(run.name)/\(name)") }
        }
        return largest
    }

    @Test(arguments: supported)
    func sitesFireOnceInOrder(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name)
        for run in golden.runs where run.edits.isEmpty && !run.fired.isEmpty && run.tokens != nil {
            var options = run.options
            var fired: [String] = []
            var shapes: [String: [Int]] = [:]
            options.hooks = [.read(.names(run.firedOnce)) { tensor, at in
                fired.append(at.name)
                shapes[at.name] = tensor.shape
            }]
            options.cache = .names(run.firedOnce)
            let cache = try model.run(.tokens(#require(run.tokens)), options).cache
            #expect(fired == run.firedOnce, "\(name): \(run.name)")
            #expect(cache.names == run.firedOnce, "\(name): \(run.name)")
            let batch = try #require(run.tokens).shape[0], pos = try #require(run.tokens).shape[1]
            let encoderPos = run.encoderInput?.tokens.shape[1]
            for name in run.firedOnce {
                let point = try #require(HookPoint(name: name))
                let expected = model.config.axes(of: point.site).map { axis in
                    switch axis {
                    case .batch: batch
                    case .pos, .keyPos: point.stack == .encoder || !point.site.isInBlock && point.site.index < HookSite.decoderFinalScale.index ? encoderPos ?? pos : pos
                    case .encoderPos: encoderPos ?? -1
                    case .routed: shapes[name]?.first ?? -1
                    default: model.config.size(of: axis) ?? -1
                    }
                }
                #expect(shapes[name] == expected, "\(name): the site's row")
                #expect(try cache[name].shape == expected, "\(name): the site's row")
                if let golden = run.tensors[name] { #expect(golden == expected, "\(name): the golden") }
            }
        }
    }

    @Test(arguments: supported)
    func allIsWhatTransformerLensCachesWithFlagsOff(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name), base = try golden.run("base")
        var options = base.options
        options.cache = .all
        let cache = try model.run(.tokens(#require(base.tokens)), options).cache
        #expect(cache.names == base.firedOnce)
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"])
    func generationAgrees(_ name: String) throws {
        let golden = try Golden(name), model = try Models.named(name)
        let runs = golden.runs.filter { $0.name.hasPrefix("generate.") }
        #expect(runs.count == 3)
        for run in runs {
            let tokens = try #require(run.tokens), mask = try #require(run.attentionMask)
            let prompts = zip(tokens.rows, mask.rows).map { row, real in zip(row, real).filter { $1 == 1 }.map(\.0) }
            var steps: [Tensor] = []
            let hook = Hook.read("unembed.hook_out") { logits, _ in steps.append(try logits.at(.all, .at(-1))) }
            let options = GenerationOptions(maxNewTokens: run.maxNewTokens, sampling: .greedy, eosTokens: Set([run.eosToken].compactMap(\.self)),
                                            hooks: [hook])
            let new = try model.generate(prompts, options)
            for (row, sequence) in run.sequences.enumerated() {
                var expected = Array(sequence.dropFirst(tokens.shape[1]))
                if let end = expected.firstIndex(where: { $0 == run.eosToken }) { expected.removeLast(expected.count - end - 1) }
                #expect(new[row] == expected, "\(name): \(run.name), row \(row)")
            }
            let expected = try golden.tensor(run, "step_logits")
            #expect(steps.count == expected.shape[1])
            // A row that has ended goes on with a token that nobody reads.
            for (step, logits) in steps.enumerated() {
                for row in new.indices where step < new[row].count {
                    expectClose(try logits.at(.at(row)), try expected.at(.at(row), .at(step)), "\(name): \(run.name), row \(row), step \(step)")
                }
            }
        }
    }

    @Test(arguments: ["gpt2-tiny", "llama-grouped"])
    func stateDictIsTheSameModel(_ name: String) throws {
        let golden = try Golden(name), base = try golden.run("base")
        let model = try Models.fromStateDict(golden.folder)
        let output = try model.run(.tokens(#require(base.tokens)), .init(cache: .all))
        expectClose(output.logits, try golden.tensor(base, "logits"), "\(name): logits")
        for activation in base.activations { expectClose(try output.cache[activation], try golden.tensor(base, activation), activation) }
        let folderModel = try Models.named(name)
        expectSameBits(output.logits, try folderModel.run(.tokens(#require(base.tokens))).logits, "\(name): from the state dict or the folder")
    }

    @Test(arguments: supported.filter { $0.hasPrefix("native-") } + ["gpt2-tiny", "llama-grouped"])
    func parametersAreTheStateDicts(_ name: String) throws {
        let golden = try Golden(name), model = try Models.fromStateDict(golden.folder)
        let file = try SafetensorsFile(path: golden.folder + "/state_dict.safetensors")
        let buffers = ["mask", "IGNORE", "rotary_sin", "rotary_cos"]
        let names = file.names.filter { name in !buffers.contains { name.hasSuffix(".attn.\($0)") } }
        #expect(Set(model.parameters.names) == Set(names))
        for name in names { expectSameBits(try model.parameters[name], try Tensor(stored: name, in: file), name) }
    }

    @Test(arguments: supported.filter { $0.hasPrefix("native-") })
    func derivedFieldsAreTransformerLens(_ name: String) throws {
        let golden = try Golden(name), given = try #require(golden.given)
        #expect(try ModelConfig(hookedTransformerConfig: given) == Models.named(name).config)
    }

    /// The families that a golden is made for: every one there is.
    @Test func everyFamilyHasAGolden() throws {
        let families = try TestFolders.familyNames
            .compactMap { try ModelFolder(path: "\(TestFolders.goldens)/\($0)").architecture?.family }
        #expect(Set(families) == Set(Architecture.all.map(\.family)))
    }

    /// Every parameter of a family's model has one rule, and every rule a parameter.
    @Test(arguments: TestFolders.familyNames)
    func everyParameterHasOneSource(_ name: String) throws {
        let folder = try ModelFolder(path: "\(TestFolders.goldens)/\(name)")
        let filled = folder.filledParameters
        #expect(filled.count == Set(filled).count)
        // Left out: biases that the family does not have, and a table that is another's.
        let config = folder.config
        let biases = config.parameterSpecs.filter { $0.isOptional && ($0.name.split(separator: ".").last ?? "").drop { $0 == "_" }.hasPrefix("b") }.map(\.name)
        let absent = Set(biases + (config.tiesEmbeddings ? ["embed.W_E", "embed.embed.W_E"] : []))
        #expect(Set(filled).subtracting(absent) == Set(config.parameterSpecs.map(\.name)).subtracting(absent))
    }
}
