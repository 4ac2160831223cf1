// What is looked for in a model that adds: Fourier bases and projections, on tables where it was planted.

import Foundation
import LensAnalysis
import LensFiles
import LensModel
import LensTensor
import Testing

@Suite struct GrokkingTests {
    /// Waves of given frequencies and strengths, and a constant.
    private static func table(_ p: Int, _ waves: [(frequency: Int, strength: Double)], width: Int) throws -> Tensor {
        try Tensor((0..<p).flatMap { (n: Int) -> [Float] in
            (0..<width).map { (column: Int) -> Float in
                var value = 0.7
                for wave in waves {
                    let angle = 2 * Double.pi * Double(wave.frequency * n) / Double(p)
                    value += wave.strength * cos(angle + Double(column))
                }
                return Float(value)
            }
        }, shape: [p, width])
    }

    @Test(arguments: [2, 3, 8, 11])
    func powersAddUp(p: Int) throws {
        let basis = try FourierBasis(modulus: p), width = 3
        let x = try Tensor((0..<p * width).map { Float(($0 * 37 + 11) % 17) - 8 }, shape: [p, width])
        let constant = try basis.projection(x, onto: [0]), total = try basis.power(x).reduce(0, +) + constant.squareSum()
        #expect(try abs(total - x.squareSum()) < 1e-4 * total, "Parseval")
        let whole = try basis.projection(x, onto: [0] + Array(basis.frequencies))
        for (a, b) in zip(whole.array, x.array) { #expect(abs(a - b) < 1e-5) }
        for row in 0..<p { for column in 0..<width {
            let mean = (0..<p).reduce(0.0) { $0 + Double(x.array[$1 * width + column]) } / Double(p)
            #expect(abs(Double(constant.array[row * width + column]) - mean) < 1e-5)
        } }
    }

    @Test func findsPlantedFrequencies() throws {
        let p = 29, task = try ModularArithmetic(.add, modulus: p, trainFraction: 0.4, seed: 1)
        let config = try ModelConfig(nLayers: 1, dModel: 16, nCtx: 3, dHead: 8, nHeads: 2, dMlp: 24, actFn: .relu, dVocab: p + 1, dVocabOut: p, normalizationType: nil)
        var parameters = try Initialization(seed: 2).parameters(for: config)
        let waves = try Self.table(p, [(3, 1), (7, 0.9), (12, 1.1), (5, 0.1)], width: 16)
        parameters["embed.W_E"] = try Tensor(waves.array + (0..<16).map { Float($0) }, shape: [p + 1, 16])
        let model = try Transformer(config: config, parameters: parameters), grokking = try Grokking(model, task: task)
        #expect(try grokking.keyFrequencies() == [3, 7, 12])
        let spectrum = try grokking.spectrum()
        #expect(Set(spectrum.prefix(3).map(\.frequency)) == [3, 7, 12] && spectrum[3].frequency == 5)
        #expect(abs(spectrum.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        // All that is there kept: the model as it is. All of it removed: every pair is alike.
        let all = try grokking.ablations([3, 5, 7, 12])
        #expect(abs(all.embeddingOnly.test - all.full.test) < 1e-4 && abs(all.embeddingOnly.train - all.full.train) < 1e-4)
        let trainer = try Trainer(model, .init())
        #expect(try abs(trainer.evaluate([task.data.batch(0, size: nil)]).loss - all.full.train) < 1e-4)
        #expect(try abs(trainer.evaluate(task.data.evaluation(size: nil)).loss - all.full.test) < 1e-4)
        let none = try grokking.ablations([])
        #expect(none.embeddingWithout == none.full && none.logitsWithout == none.full)
    }

    @Test func refusesOtherModels() throws {
        let task = try ModularArithmetic(.add, modulus: 7), model = try tinyModel(vocabulary: 8, output: 7, context: 3)
        #expect(throws: LensError.self) { try Grokking(tinyModel(vocabulary: 9, output: 7, context: 3), task: task) }
        #expect(throws: LensError.self) { try Grokking(model, task: ModularArithmetic(.multiply, modulus: 7)) }
        #expect(throws: Never.self) { try Grokking(model, task: task) }
    }
}
