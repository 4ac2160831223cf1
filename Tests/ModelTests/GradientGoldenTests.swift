// Gradients of every golden's model, at every site and of every parameter, against PyTorch's autograd.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct GradientGoldenTests {
    /// Of the tensor's largest magnitude.
    static let tolerance = 1e-4

    /// The scalar that the golden maker differentiates.
    /// - Parameter mask: of a padded batch, whose real tokens alone count.
    static func metric(_ output: Transformer.Output, _ heads: [String], mask: IntTensor? = nil) throws -> Tensor {
        let outputs = try [#require(output.logits ?? output.residual)] + heads.map { try output.cache[$0] }
        let real = try mask.map { try Tensor($0.array.map(Float.init), shape: $0.shape + [1]) }
        var sum: Tensor?
        for tensor in outputs {
            let weights = try GradientGolden.weights(tensor.shape), part = try (tensor * (real.map { try weights * $0 } ?? weights)).sum()
            sum = try sum.map { try $0 + part } ?? part
        }
        return try #require(sum)
    }

    static func gradients(_ model: Transformer, _ run: GoldenRun, sites: [String], parameters: ParameterFilter = .none) throws -> Gradients {
        let fired = Set(model.config.hookPoints.map(\.name))
        let heads = ["pooler.hook_pooler_out", "nsp_head.hook_nsp_out"].filter(fired.contains)
        var options = run.options
        options.cache = .names(heads)
        options.gradients = .names(sites.filter(fired.contains))
        return try model.runWithGradients(.tokens(#require(run.tokens)), options, parameters: parameters) {
            try metric($0, heads, mask: run.attentionMask)
        }
    }

    @Test func everyGoldenHasGradients() throws {
        for name in TestFolders.goldenNames { #expect(try GradientGolden(name).runs.contains("base"), "\(name)") }
    }

    /// Sites that TransformerLens has and a model here does not: what DistilBERT's lacks is zero there.
    private static let notHere = ["embed.hook_token_type_embed"]

    @Test(arguments: TestFolders.goldenNames)
    func everySite(_ name: String) throws {
        let golden = try Golden(name), gradient = try GradientGolden(name), model = try Models.named(name)
        let known = Set(model.config.hookPoints.map(\.name))
        var largest = (error: 0.0, at: "")
        for label in gradient.runs {
            let table = gradient.table(label, "sites"), scale = table.map(\.summary.largest).max() ?? 0
            let found = try Self.gradients(model, golden.run(label), sites: table.map(\.name))
            for (site, expected) in table where known.contains(site) || !Self.notHere.contains(site) {
                let actual = try found.activations[site], error = try GradientSummary(actual).distance(to: expected, count: actual.count, scale: scale)
                #expect(error <= Self.tolerance, "\(name): \(label)/\(site)")
                if !(error <= largest.error) { largest = (error, "\(label)/\(site)") }
            }
        }
        if environmentVariable("LENS_TEST_VERBOSE") != nil { print("gradients \(name): largest error \(largest.error) at \(largest.at)") }
    }

    /// Folders with parameters that the golden's TransformerLens model holds otherwise: it has no factor on what is written, a second
    /// kind of token, or biases beside its parameters.
    private static let otherwise = ["granite-moe", "roberta", "roberta-bare", "llama-bias"]

    /// Batches whose rows are padded are among the runs of two families: on the left, on the right.
    @Test func paddedBatchesAreAmongThem() throws {
        for name in ["gpt2-tiny", "llama-grouped"] {
            let runs = try GradientGolden(name).runs
            #expect(["pad.left", "pad.right"].allSatisfy(runs.contains), "\(name): \(runs)")
        }
    }

    @Test(arguments: TestFolders.goldenNames)
    func everyParameter(_ name: String) throws {
        let gradient = try GradientGolden(name)
        for run in gradient.runs where run == "base" || !gradient.table(run, "parameters").isEmpty { try everyParameter(name, gradient, of: run) }
    }

    private func everyParameter(_ name: String, _ gradient: GradientGolden, of run: String) throws {
        let golden = try Golden(name)
        // One folder's experts are kept in two bytes.
        let model = try Models.named(name).keeping(.float32), parameters = model.parameters
        let sites = gradient.table(run, "sites").map(\.name)
        let found = try Self.gradients(model, golden.run(run), sites: sites, parameters: .all).parameters
        #expect(Set(found.keys) == Set(parameters.kept.map(\.name).filter { !$0.hasSuffix(".act_fn.beta") && !$0.hasSuffix(".act_fn.eps") }))
        if !gradient.table("base", "file").isEmpty { return try everyTensorOfTheFile(name, gradient, model, found) }
        let tied = Dictionary(uniqueKeysWithValues: gradient.table(run, "tied").map { ($0.name, $0.summary) })
        let values = Dictionary(uniqueKeysWithValues: gradient.table("base", "values").map { ($0.name, $0.summary) })
        let table = Dictionary(uniqueKeysWithValues: gradient.table(run, "parameters").map { ($0.name, $0.summary) })
        let scale = table.values.map(\.largest).max() ?? 0
        for (parameter, actual) in found {
            let isTied = model.config.tiesEmbeddings && parameter == "unembed.W_U"
            // TransformerLens keeps keys and values apart from the queries' heads also where there are as many.
            let key = [parameter, parameter.replacingOccurrences(of: ".attn.", with: ".attn._")].first { table[$0] != nil } ?? parameter
            guard let expected = isTied ? tied[parameter] : table[key] else {
                #expect(GradientGoldenTests.notThere(parameter, name), "\(name): no gradient of \(parameter)")
                continue
            }
            let value = try parameters[parameter]
            if let own = values[key], try GradientSummary(value).distance(to: own, count: value.count) > 1e-5 {
                #expect(Self.otherwise.contains(name), "\(name): \(parameter) is held otherwise")
                continue
            }
            let error = try GradientSummary(actual).distance(to: expected, count: actual.count, scale: scale)
            #expect(error <= Self.tolerance, "\(name): \(run) \(parameter) \(error)")
        }
    }

    /// Parameters that the golden's TransformerLens model has no place for: biases put in by hand.
    static func notThere(_ parameter: String, _ name: String) -> Bool {
        name == "llama-bias" && (parameter.hasSuffix("mlp.b_in") || parameter.hasSuffix("mlp.b_gate"))
    }

    /// Of families that TransformerLens does not have: the gradient of each tensor of the file, in the direction of its signs, is
    /// that of the parameters in the direction of what the loader makes of the signs.
    private func everyTensorOfTheFile(_ name: String, _ gradient: GradientGolden, _ model: Transformer, _ found: [String: Tensor]) throws {
        let source = try openTensors(at: TestFolders.goldens + "/\(name)/model.safetensors")
        try withTemporaryFolder { folder in
            try FileManager.default.copyItem(atPath: "\(TestFolders.goldens)/\(name)/config.json", toPath: folder + "/config.json")
            func loaded(lit: String?) throws -> Parameters {
                let contents = try source.names.map { tensor in
                    let shape = try source.requireEntry(tensor).shape, count = shape.reduce(1, *)
                    return try TensorContent(tensor, .f32, shape: shape) { write in
                        try (0..<count).map { tensor == lit ? Float(GradientSummary.sign($0, 0)) : 0 }.withUnsafeBytes { try write($0) }
                    }
                }
                try SafetensorsWriter.write(contents, to: folder + "/model.safetensors")
                return try ModelFolder(path: folder).load().parameters
            }
            let dark = try loaded(lit: nil)
            for (tensor, expected) in gradient.table("base", "file") {
                guard source.entry(tensor) != nil else {
                    Issue.record("\(name): no tensor \(tensor) in the file")
                    continue
                }
                let lit = try loaded(lit: tensor)
                var sum = 0.0
                for (parameter, actual) in found {
                    let direction = try lit[parameter] - dark[parameter]
                    sum += zip(actual.array, direction.array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
                }
                let count = try source.requireEntry(tensor).elementCount
                let error = abs(sum - expected.firstSum) / expected.largest / Double(count).squareRoot()
                #expect(error <= Self.tolerance, "\(name): \(tensor) \(error)")
            }
        }
    }
}
