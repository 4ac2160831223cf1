// The goldens of patching, head detection and evaluation (Goldens/make_experiment_goldens.py), and the models they are of.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

/// One model's golden.
struct ExperimentGolden: CustomStringConvertible {
    static let names = ["gpt2-tiny", "llama-grouped", "gpt-neox"]
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Goldens/experiments"

    let name: String
    let clean: IntTensor, corrupted: IntTensor
    let answers: [Int], wrong: [Int], sequence: [Int]
    let json: JSON
    private let tensors: SafetensorsFile

    init(_ name: String) throws {
        self.name = name
        let json = try JSON.parse(file: "\(Self.folder)/\(name).json", limit: 1 << 20)
        self.json = json
        func field(_ key: String) throws -> JSON { try #require(json[key]) }
        clean = try IntTensor(rows: field("clean").integerRows("clean"))
        corrupted = try IntTensor(rows: field("corrupted").integerRows("corrupted"))
        answers = try field("answers").integers("answers")
        wrong = try field("wrong").integers("wrong")
        sequence = try field("sequence").integers("sequence")
        tensors = try SafetensorsFile(path: "\(Self.folder)/\(name).safetensors")
    }

    var description: String { name }

    func tensor(_ key: String) throws -> Tensor { try Tensor(stored: key, in: tensors) }
    func has(_ key: String) -> Bool { tensors.names.contains(key) }

    /// Prefixes of the tensors' names: the weights as they are, and processed.
    static let processings = ["plain", "processed"]

    /// The model, its weights as `processing` says.
    func model(_ processing: String) throws -> Transformer {
        let model = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").load()
        return processing == "plain" ? model : try model.processWeights()
    }

    /// The mean difference of the answers' logits at the last position.
    var metric: (Tensor) throws -> Float {
        let metric = PatchingMetric.logitDifference(answers: answers, wrong: wrong)
        return { logits in
            let values = try metric.values(logits)
            return Float(values.reduce(0.0) { $0 + Double($1) } / Double(values.count))
        }
    }
}

/// Expects the same bits.
func expectSameBits(_ actual: Tensor, _ expected: Tensor, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    if let problem = bitDifference(actual, expected) { Issue.record("\(what): \(problem)", sourceLocation: sourceLocation) }
}
