// What the training suites share: a folder of a test's own, and a tiny model to train.

import Foundation
import LensAnalysis
import LensFiles
import LensModel
import LensTensor

/// A fresh folder, removed with everything in it.
final class TrainingPlace: Sendable {
    let path = NSTemporaryDirectory() + "lens-training-" + UUID().uuidString

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: self(name))) }
    var checkpoints: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: self("checkpoints"))) ?? []).sorted() }
}

/// One layer, three heads of width 6.
func tinyModel(vocabulary: Int, output: Int? = nil, context: Int, seed: UInt64 = 1, norm: String? = "LN", layers: Int = 1) throws -> Transformer {
    let config = try ModelConfig(nLayers: layers, dModel: 18, nCtx: context, dHead: 6, nHeads: 3, dMlp: 20, actFn: .relu, dVocab: vocabulary, dVocabOut: output, normalizationType: norm)
    return try Transformer(config: config, initialization: Initialization(.gpt2, seed: seed))
}

/// Every parameter's bits.
func bits(_ model: Transformer) throws -> [String: [UInt32]] {
    Dictionary(uniqueKeysWithValues: try model.parameters.names.map { ($0, try model.parameters[$0].array.map(\.bitPattern)) })
}
