// Probes and trained interventions find what was planted.

import Foundation
@testable import LensAnalysis
import LensFiles
import LensHooks
import LensModel
import LensTensor
import Testing

@Suite struct ProbeTests {
    /// Rows with a class planted along known directions, and noise.
    private static func planted(rows: Int, width: Int, classes: Int, noise: Double, seed: UInt64) throws -> ProbeData {
        var random = RandomStream(seed: seed, "planted")
        let directions = (0..<classes).map { _ in (0..<width).map { _ in random.normal() } }
        var values: [Float] = [], labels: [Int] = []
        for _ in 0..<rows {
            let label = random.int(below: classes)
            labels.append(label)
            values += (0..<width).map { Float(5 + directions[label][$0] + noise * random.normal() * ($0 == 0 ? 20 : 1)) }
        }
        return try ProbeData(Tensor(values, shape: [rows, width]), labels: labels)
    }

    @Test func findWhatIsPlanted() throws {
        let data = try Self.planted(rows: 400, width: 12, classes: 3, noise: 0.7, seed: 1)
        for kind in [ProbeData.Kind.logistic(), .ridge()] {
            let result = try data.probe(kind, seed: 2)
            #expect(result.trainAccuracy > 0.95 && result.testAccuracy > 0.93, "\(kind): \(result.trainAccuracy), \(result.testAccuracy)")
        }
        // Nothing planted: what is fitted does not generalise.
        var random = RandomStream(seed: 5, "labels")
        let random3 = try ProbeData(data.x, labels: data.labels.map { _ in random.int(below: 3) })
        #expect(try random3.probe(seed: 2).testAccuracy < 0.55)
    }

    /// The least squares of a small system, by hand: y = 2 x₀ − x₁ + 3.
    @Test func leastSquaresIsExact() throws {
        let x = try Tensor([0, 0, 1, 0, 0, 1, 2, 1, -1, 3], shape: [5, 2]), y = try Tensor([3, 5, 2, 6, -2], shape: [5, 1])
        let probe = try LinearProbe.leastSquares(x, targets: y, l2: 0)
        for (a, b) in zip(probe.weights.array + probe.bias.array, [2, -1, 3] as [Float]) { #expect(abs(a - b) < 1e-5) }
        #expect(try abs(probe.explainedVariance(x, targets: y) - 1) < 1e-6)
        #expect(throws: LensError.self, "two equal columns") { try LinearProbe.leastSquares(Tensor([1, 1, 2, 2, 3, 3], shape: [3, 2]), targets: Tensor([1, 2, 4], shape: [3, 1]), l2: 0) }
        let shrunk = try LinearProbe.leastSquares(x, targets: y, l2: 1e6)
        #expect(shrunk.weights.array.allSatisfy { abs($0) < 1e-3 } && abs(shrunk.bias.array[0] - 2.8) < 1e-2)
    }

    /// At the logistic minimum the gradient vanishes: mean (p − y) x + l2 w = 0 in standardised features.
    @Test func logisticConverges() throws {
        let data = try Self.planted(rows: 120, width: 4, classes: 2, noise: 2, seed: 3), rows = 120, l2 = 0.05
        let probe = try LinearProbe.logistic(data.x, labels: data.labels, l2: l2), scores = try probe.scores(data.x).array, x = data.x.array
        for i in 0..<4 {
            let column = (0..<rows).map { Double(x[$0 * 4 + i]) }, mean = column.reduce(0, +) / Double(rows)
            let deviation = (column.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rows)).squareRoot()
            for c in 0..<2 {
                var slope = l2 * Double(probe.weights.array[i * 2 + c]) * deviation
                for row in 0..<rows {
                    let p = 1 / (1 + exp(Double(scores[row * 2 + 1 - c] - scores[row * 2 + c])))
                    slope += (p - (data.labels[row] == c ? 1 : 0)) * (column[row] - mean) / deviation / Double(rows)
                }
                #expect(abs(slope) < 1e-4, "feature \(i), class \(c): \(slope)")
            }
        }
    }

    /// Which token stands at a position, read off the residual stream there.
    @Test func readsAModel() throws {
        let model = try tinyModel(vocabulary: 8, context: 6, layers: 2)
        var random = RandomStream(seed: 1, "tokens")
        let tokens = try IntTensor(rows: (0..<40).map { _ in (0..<5).map { _ in random.int(below: 8) } })
        let labels = try IntTensor(tokens.array.enumerated().map { $0 % 5 == 0 ? -1 : ($1 < 4 ? 0 : 1) }, shape: tokens.shape)
        let data = try ProbeData(model, at: "blocks.1.hook_resid_pre", tokens: tokens, labels: labels, batchSize: 7)
        #expect(data.x.shape == [160, 18])
        #expect(try data.probe(.ridge()).testAccuracy > 0.9)
        #expect(throws: LensError.self) { try ProbeData(model, at: "blocks.1.attn.hook_pattern", tokens: tokens, labels: labels) }
        #expect(throws: LensError.self) { try ProbeData(model, at: "hook_nothing", tokens: tokens, labels: labels) }
    }
}

@Suite struct TrainedInterventionTests {
    /// A model with no layers says what the stream's largest coordinates are: token t is written along axis t, and W_U reads it.
    private static func transparent() throws -> Transformer {
        let config = try ModelConfig(nLayers: 1, dModel: 8, nCtx: 4, dHead: 4, nHeads: 1, actFn: nil, dVocab: 8, normalizationType: nil)
        var parameters = try Initialization(seed: 1).parameters(for: config)
        let identity = try Tensor((0..<64).map { $0 % 9 == 0 ? 4 : 0 }, shape: [8, 8])
        parameters["embed.W_E"] = identity
        parameters["unembed.W_U"] = identity
        parameters["pos_embed.W_pos"] = Tensor(zeros: [4, 8])
        for name in ["W_Q", "W_K", "W_V", "W_O"] { parameters["blocks.0.attn.\(name)"] = try parameters["blocks.0.attn.\(name)"]?.scaled(by: 0) }
        return try Transformer(config: config, parameters: parameters)
    }

    /// A direction that makes the model say 5 whatever it read is along what W_U reads 5 from.
    @Test func aDirectionIsFound() throws {
        let model = try Self.transparent(), before = try bits(model)
        let batch = try TrainingBatch(IntTensor([0, 1, 2, 3, 4, 6], shape: [6, 1]), answers: Array(repeating: 5, count: 6))
        let found = try TrainedDirection.train(model, at: "blocks.0.hook_resid_post", batches: [batch], settings: .init(.adam(), learningRate: 0.2), steps: 120)
        #expect(found.losses[120] < 0.05 && found.losses[0] > 5, "\(found.losses[0]) to \(found.losses[120])")
        let vector = found.vector.array
        #expect(vector.indices.allSatisfy { $0 == 5 || vector[$0] < vector[5] } && vector[5] > 1)
        let logits = try #require(try model.run(.tokens(IntTensor([2], shape: [1, 1])), .init(hooks: [found.hook()])).logits)
        #expect(try logits.argmax().array == [5])
        #expect(try bits(model) == before, "the model is frozen")
    }

    /// The variable "which of the tokens 0 … 3" lives in a plane turned away from the axes; alignment finds it and leaves the
    /// rest, which says something else, alone.
    @Test func aRotationFindsThePlantedSubspace() throws {
        // Token 4·u + v: u is written along two hidden directions, v along two others; the model says u.
        let width = 6
        var turn = RandomStream(seed: 4, "rotation")
        let hidden = try DistributedAlignment.orthonormal(Tensor((0..<36).map { _ in Float(turn.normal()) }, shape: [6, 6])).array
        func along(_ direction: Int, _ i: Int) -> Float { hidden[direction * width + i] }
        let corners: [(Float, Float)] = [(1, 0), (0, 1), (-1, 0), (0, -1)]
        let config = try ModelConfig(nLayers: 1, dModel: width, nCtx: 2, dHead: 2, nHeads: 1, actFn: nil, dVocab: 16, dVocabOut: 4, normalizationType: nil)
        var parameters = try Initialization(seed: 1).parameters(for: config)
        parameters["embed.W_E"] = try Tensor((0..<16).flatMap { (token: Int) -> [Float] in
            (0..<width).map { (i: Int) -> Float in
                let u = corners[token / 4], v = corners[token % 4]
                let first: Float = u.0 * along(0, i) + u.1 * along(1, i), second: Float = v.0 * along(2, i) + v.1 * along(3, i)
                return 2 * first + 3 * second
            }
        }, shape: [16, width])
        parameters["unembed.W_U"] = try Tensor((0..<width).flatMap { (i: Int) -> [Float] in
            corners.map { corner -> Float in 3 * (corner.0 * along(0, i) + corner.1 * along(1, i)) }
        }, shape: [width, 4])
        parameters["pos_embed.W_pos"] = Tensor(zeros: [2, width])
        parameters["blocks.0.attn.W_O"] = Tensor(zeros: [1, 2, width])
        let model = try Transformer(config: config, parameters: parameters)
        var random = RandomStream(seed: 9, "pairs")
        let pairs = (0..<96).map { _ -> Interchange in
            let base = random.int(below: 16), source = random.int(below: 16)
            return Interchange(base: [base], source: [source], answer: source / 4)
        }
        let found = try DistributedAlignment.train(model, at: "blocks.0.hook_resid_post", dimensions: 2, pairs: Array(pairs[..<64]), steps: 300, settings: .init(.adam(), learningRate: 0.05), seed: 2)
        #expect(try found.accuracy(model, Array(pairs[64...])) == 1, "loss \(found.losses.last ?? .nan)")
        // Of the plane's directions, all lies in the subspace found.
        let rows = found.directions.array
        for direction in 0..<2 {
            let inside = (0..<2).reduce(Float(0)) { (sum: Float, row: Int) -> Float in
                let overlap = (0..<width).reduce(Float(0)) { $0 + rows[row * width + $1] * along(direction, $1) }
                return sum + overlap * overlap
            }
            #expect(inside > 0.9, "direction \(direction): \(inside)")
        }
        for a in 0..<2 { for b in 0...a {
            let product = (0..<width).reduce(Float(0)) { $0 + rows[a * width + $1] * rows[b * width + $1] }
            #expect(abs(product - (a == b ? 1 : 0)) < 1e-5, "orthonormal")
        } }
        // One dimension is too few for four corners.
        let short = try DistributedAlignment.train(model, at: "blocks.0.hook_resid_post", dimensions: 1, pairs: Array(pairs[..<64]), steps: 60, seed: 2)
        #expect(try short.accuracy(model, Array(pairs[64...])) < 0.95)
    }

    @Test func refusals() throws {
        let model = try Self.transparent(), pair = Interchange(base: [1], source: [2], answer: 3)
        #expect(throws: LensError.self) { try DistributedAlignment.train(model, at: "blocks.0.hook_resid_post", dimensions: 9, pairs: [pair]) }
        #expect(throws: LensError.self) { try DistributedAlignment.train(model, at: "blocks.0.hook_resid_post", dimensions: 1, pairs: []) }
        #expect(throws: LensError.self) { try DistributedAlignment.train(model, at: "blocks.4.hook_resid_post", dimensions: 1, pairs: [pair]) }
        #expect(throws: LensError.self) { try DistributedAlignment.train(model, at: "blocks.0.hook_resid_post", dimensions: 1, pairs: [Interchange(base: [1, 2], source: [2], answer: 3)]) }
        #expect(throws: LensError.self) { try TrainedDirection.train(model, at: "blocks.0.hook_resid_post", batches: []) }
    }
}
