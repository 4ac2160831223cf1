// What tests of attribution share: a tiny random model with two prompts that differ, and derivatives by differences, in which no
// gradient is used.

import LensTestSupport
import Testing
import TransformerLens

/// A model, a pair of prompts and a metric.
struct AttributionCase {
    let model: Transformer
    let pair: PromptPair
    let metric: GradientMetric

    static let clean = [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]], corrupted = [[5, 23, 80, 51, 33], [61, 12, 44, 70, 3]]

    /// - Parameter mask: 0 for padding.
    init(_ name: String, mask: [[Int]]? = nil, rows: Int = 2) throws {
        let folder = "\(TestFolders.goldens)/\(name)"
        if name.hasPrefix("native-") {
            let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: folder + "/tl_config.json", limit: 1 << 20))
            model = try Transformer(config: config, savedParameters: SafetensorsFile(path: folder + "/state_dict.safetensors"))
        } else {
            model = try ModelFolder(path: folder).load()
        }
        let vocabulary = model.config.dVocab
        func tokens(_ given: [[Int]]) throws -> IntTensor { try IntTensor(rows: given.prefix(rows).map { $0.map { $0 % vocabulary } }) }
        pair = try PromptPair(clean: tokens(Self.clean), corrupted: tokens(Self.corrupted),
                              attentionMask: mask.map { try IntTensor(rows: $0) })
        let width = model.config.dVocabOut
        metric = .logitDifference(answers: [10 % width, 31 % width].prefix(rows).map { $0 }, wrong: [77 % width, 4].prefix(rows).map { $0 })
    }

    func run(_ tokens: IntTensor, cache: ActivationFilter = .none, hooks: [Hook] = []) throws -> (values: [Float], cache: ActivationCache, logits: Tensor) {
        var options = Transformer.Options(hooks: hooks, cache: cache)
        options.attentionMask = pair.attentionMask
        let output = try model.run(.tokens(tokens), options), logits = try #require(output.logits)
        return (try metric(logits).array, output.cache, logits)
    }

    /// The derivative of the metric along `direction` added to an activation, by central differences of two step sizes, extrapolated: a number
    /// for each example.
    /// - Parameters:
    ///   - hooks: of the run besides.
    ///   - region: the places of the activation that `direction` is for.
    func slope(_ tokens: IntTensor, at name: String, _ region: [TensorIndex], along direction: Tensor, hooks: [Hook] = []) throws -> [Double] {
        func value(_ size: Float) throws -> [Float] {
            let edit = Hook.edit(.names([name])) { activation, _ in
                try activation.assign(activation.view(region) + direction.scaled(by: size), at: region)
            }
            return try run(tokens, hooks: hooks + [edit]).values
        }
        func slopes(_ step: Float) throws -> [Double] { zip(try value(step), try value(-step)).map { (Double($0) - Double($1)) / Double(2 * step) } }
        return zip(try slopes(0.02), try slopes(0.04)).map { (4 * $0 - $1) / 3 }
    }

    /// Gradients at `names` for the sum of the metric, as they are.
    func gradients(_ tokens: IntTensor, _ names: [String], hooks: [Hook] = []) throws -> ActivationCache {
        var options = Transformer.Options(hooks: hooks)
        options.attentionMask = pair.attentionMask
        options.gradients = .names(names)
        return try model.runWithGradients(.tokens(tokens), options) { try metric(#require($0.logits)).summed(axis: 0) }.activations
    }
}

/// Expects numbers within `tolerance` of the largest reference.
func expectNear(_ actual: [Double], _ expected: [Double], _ tolerance: Double, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    guard actual.count == expected.count else {
        Issue.record("\(what): \(actual.count) numbers, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    let scale = max(expected.map(abs).max() ?? 0, 1e-9)
    for (index, (a, b)) in zip(actual, expected).enumerated() where !(abs(a - b) <= tolerance * scale) {
        Issue.record("\(what): \(index) is \(a), expected \(b) within \(tolerance) of \(scale)", sourceLocation: sourceLocation)
        return
    }
}
