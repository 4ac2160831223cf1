// Steering vectors: what directions are, that steering adds them where it should, and files that other tools read.

@testable import LensAnalysis
import LensTestSupport
import Testing
import TransformerLens

@Suite struct SteeringTests {
    private let model: Transformer

    init() throws { model = try ModelFolder(path: TestFolders.goldens + "/llama-grouped").load() }

    private let up = [[3, 1, 4], [1, 5, 9, 2], [6, 5]], down = [[2, 7], [1, 8, 2, 8], [4, 5, 9]]

    private func state(_ tokens: [Int], _ layer: Int) throws -> Tensor {
        try model.run(.tokens(IntTensor(rows: [tokens])), .init(cache: .names(["resid_post\(layer)"]))).cache["resid_post\(layer)"].at(.at(0))
    }

    @Test func meanDifferences() throws {
        let vector = try SteeringVector.from(model, positive: up, negative: down)
        #expect(vector.layers == Array(0..<model.config.nLayers) && vector.dModel == model.config.dModel)
        for layer in vector.layers {
            var expected = [Double](repeating: 0, count: model.config.dModel)
            for (sign, side) in [(1.0, up), (-1.0, down)] {
                for prompt in side {
                    for (d, value) in try state(prompt, layer).at(.at(-1)).array.enumerated() { expected[d] += sign * Double(value) / Double(side.count) }
                }
            }
            #expect(zip(vector.directions[layer]?.array ?? [], expected).allSatisfy { abs(Double($0) - $1) < 1e-5 }, "layer \(layer)")
        }
        let pooled = try SteeringVector.from(model, positive: [up[0]], negative: [down[0]], pooling: .mean, layers: [-1], normalise: true)
        #expect(pooled.layers == [model.config.nLayers - 1])
        let direction = try #require(pooled.directions[model.config.nLayers - 1]).array
        #expect(abs(direction.reduce(0) { $0 + Double($1) * Double($1) } - 1) < 1e-5)
        func mean(_ tokens: [Int], _ d: Int) throws -> Double {
            let rows = try state(tokens, model.config.nLayers - 1)
            return try (0..<tokens.count).reduce(0.0) { $0 + Double(try rows.at(.at($1), .at(d)).item()) } / Double(tokens.count)
        }
        let raw = try direction.indices.map { try mean(up[0], $0) - mean(down[0], $0) }, length = raw.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(zip(direction, raw).allSatisfy { abs(Double($0) - $1 / length) < 1e-4 })
    }

    /// The component is the direction of largest variance of the differences, found by power iteration here.
    @Test func principalComponents() throws {
        let vector = try SteeringVector.from(model, positive: up, negative: down, method: .pca)
        for layer in vector.layers {
            let differences = try zip(up, down).map { zip(try state($0, layer).at(.at(-1)).array, try state($1, layer).at(.at(-1)).array).map { Double($0) - Double($1) } }
            var v = differences[0]
            for _ in 0..<2000 {
                var next = [Double](repeating: 0, count: v.count)
                for row in differences {
                    let dot = zip(row, v).reduce(0) { $0 + $1.0 * $1.1 }
                    for d in v.indices { next[d] += dot * row[d] }
                }
                let length = next.reduce(0) { $0 + $1 * $1 }.squareRoot()
                v = next.map { $0 / length }
            }
            let found = try #require(vector.directions[layer]).array.map(Double.init)
            #expect(abs(abs(zip(found, v).reduce(0) { $0 + $1.0 * $1.1 }) - 1) < 1e-4, "layer \(layer)")
            let mean = differences[0].indices.map { d in differences.reduce(0) { $0 + $1[d] } }
            #expect(zip(found, mean).reduce(0) { $0 + $1.0 * $1.1 } > 0, "towards the positive side")
        }
        #expect(SteeringVector.firstComponent([[3, 4]]) == [0.6, 0.8])
    }

    /// Steering is adding the direction by hand, at the positions asked for.
    @Test func hooksAdd() throws {
        let vector = try SteeringVector.from(model, positive: up, negative: down, layers: [0])
        let direction = try #require(vector.directions[0])
        for positions in [HookPosition.everyNewToken, .all] {
            let hooks = try vector.hooks(for: model.config, strength: 2, at: positions)
            let byHand = Hook.edit("blocks.0.hook_resid_post") { stream, at in
                if positions == .all || at.step > 0 { stream = try stream + direction * 2 }
            }
            let steered = try model.generate(.tokens([[1, 2, 3]]), .init(maxNewTokens: 6, sampling: .greedy, hooks: hooks, outputs: .logits))
            let expected = try model.generate(.tokens([[1, 2, 3]]), .init(maxNewTokens: 6, sampling: .greedy, hooks: [byHand], outputs: .logits))
            #expect(bitDifference(steered.logits, expected.logits) == nil)
            let plain = try model.generate(.tokens([[1, 2, 3]]), .init(maxNewTokens: 6, sampling: .greedy, outputs: .logits))
            #expect(bitDifference(steered.logits, plain.logits) != nil)
        }
    }

    @Test func files() throws {
        let vector = try SteeringVector.from(model, positive: up, negative: down, layers: [1]), place = try TemporaryPlace()
        for name in ["v.safetensors", "v.gguf"] {
            try vector.save(to: place(name), modelHint: "llama")
            let again = try SteeringVector(contentsOf: place(name))
            #expect(again.layers == vector.layers)
            for layer in vector.layers { #expect(bitDifference(again.directions[layer], vector.directions[layer]) == nil) }
        }
        // What Python's gguf writes is read, and written the same, byte for byte.
        let golden = TestFolders.goldens + "/../../AnalysisTests/Goldens/control_vector.gguf"
        let other = try SteeringVector(contentsOf: golden)
        #expect(other.layers == [1, 2, 4])
        for layer in other.layers {
            let expected: [Float] = (0..<7).map { index in Float((index - 3) * layer) / 8 }
            #expect(other.directions[layer]?.array == expected)
        }
        try other.save(to: place("again.gguf"), modelHint: "llama")
        #expect(try DataFile(path: place("again.gguf")).readAll(limit: 1 << 20) == DataFile(path: golden).readAll(limit: 1 << 20))
    }

    @Test func whatItRefuses() throws {
        func refuses(_ part: String, _ body: () throws -> Void) {
            do {
                try body()
                Issue.record("nothing was thrown: \(part)")
            } catch { #expect(error is LensError && "\(error)".contains(part), "\(error)") }
        }
        let place = try TemporaryPlace(), zero = try SteeringVector(directions: [0: Tensor(zeros: [4])])
        refuses("no place for layer 0") { try zero.save(to: place("v.gguf")) }
        refuses("unknown kind") { try zero.save(to: place("v.bin")) }
        refuses("another width") { _ = try zero.hooks(for: model.config) }
        let vector = try SteeringVector.from(model, positive: up, negative: down, layers: [1])
        refuses("no direction for this layer") { _ = try vector.hooks(for: model.config, layers: [0]) }
        refuses("no such layer") { _ = try vector.hooks(for: model.config, layers: [9]) }
        refuses("no such layer") { _ = try SteeringVector.from(model, positive: up, negative: down, layers: [-9]) }
        refuses("in pairs") { _ = try SteeringVector.from(model, positive: up, negative: [down[0]], method: .pca) }
        refuses("at least one on each side") { _ = try SteeringVector.from(model, positive: [], negative: down) }
        refuses("do not differ") { _ = try SteeringVector.from(model, positive: up, negative: up) }
        refuses("without directions") { _ = try SteeringVector(directions: [:]) }
        refuses("directions of a steering vector") { _ = try SteeringVector(directions: [1: Tensor(zeros: [3]), 2: Tensor(zeros: [4])]) }
        refuses("not a steering vector") { _ = try SteeringVector(contentsOf: TestFolders.goldens + "/gpt2-tiny/model.safetensors") }
    }
}
