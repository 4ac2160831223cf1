// How far a model in another format is: numbers worked out another way here, exact zeros where nothing was rounded, and how the
// formats rank. The real model's figures are in docs/quantization.md.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct FormatErrorTests {
    /// Rows that fill blocks of 32.
    private static let model = Result { () throws -> Transformer in
        let config = try ModelConfig(nLayers: 3, dModel: 64, nCtx: 40, dHead: 16, nHeads: 4, dMlp: 96, actFn: .geluNew, dVocab: 97, normalizationType: "LN")
        return try Transformer.random(config, seed: 3)
    }
    private static let rows = [[3, 5, 60, 7, 12, 9], [1], [44, 2, 96]]

    private func error(of model: Transformer, against exact: Transformer, most: Int? = nil) throws -> FormatError {
        var left = Self.rows[...]
        return try Evals.formatError(of: model, against: exact, most: most) { left.popFirst() }
    }

    private func relative(_ a: Tensor, _ b: Tensor) -> Double {
        let pairs = zip(a.array, b.array).map { (Double($0), Double($1)) }
        return (pairs.reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / pairs.reduce(0) { $0 + $1.1 * $1.1 }).squareRoot()
    }

    @Test func aModelAgainstItself() throws {
        let model = try Self.model.get(), found = try error(of: model, against: model)
        #expect(found.divergence == 0 && found.agreement == 1 && found.positions == 10)
        #expect(found.matrices.count { $0.relativeError == 0 } == found.matrices.count && found.streams.count { $0.relativeError == 0 } == 4)
        #expect(found.streams.map(\.name) == ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "blocks.2.hook_resid_post"])
        #expect(found.matrices.map(\.name).prefix(4) == ["embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_Q", "blocks.0.attn.W_K"])
        #expect(found.matrices.count == 3 + 3 * 6 && found.matrices.last?.name == "unembed.W_U")
    }

    @Test(arguments: [WeightFormat.bfloat16, .float16, .q8_0, .q4_0], [ActivationFormat.float32, .int8])
    func numbersWorkedOutAnotherWay(format: WeightFormat, activations: ActivationFormat) throws {
        guard format.isQuantized || activations == .float32 else { return }
        let exact = try Self.model.get(), model = try exact.keeping(format).multiplying(activations), found = try error(of: model, against: exact)
        for matrix in found.matrices {
            #expect(abs(matrix.relativeError - relative(try model.parameters[matrix.name], try exact.parameters[matrix.name])) < 1e-12)
            #expect(matrix.format == (matrix.name == "pos_embed.W_pos" && format.isQuantized ? .float32 : format))
            #expect(matrix.activations == (matrix.name.hasSuffix("_E") || matrix.name.hasSuffix("_pos") ? .float32 : activations))
        }
        // One row by itself, all its streams and the divergence from log-probabilities.
        let one = try error(of: model, against: exact, most: 1), tokens = Transformer.Input.tokens(try IntTensor(rows: [Self.rows[0]]))
        let a = try model.run(tokens, .init(cache: .all)), b = try exact.run(tokens, .init(cache: .all))
        for stream in one.streams { #expect(abs(stream.relativeError - relative(try a.cache[stream.name], try b.cache[stream.name])) < 1e-12) }
        let p = try #require(b.logits).logSoftmax().array.map(Double.init), q = try #require(a.logits).logSoftmax().array.map(Double.init)
        let divergence = zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) } / 6
        #expect(one.positions == 6 && abs(one.divergence - divergence) < 1e-6 + 1e-5 * divergence)
        #expect(one.divergence > -1e-12 && (0...1).contains(one.agreement))
    }

    /// Fewer bits lose more, in every matrix and every stream; rounded activations cost something beside.
    @Test func theFormatsRank() throws {
        let exact = try Self.model.get()
        let models = try [exact.keeping(.float16), exact.keeping(.bfloat16), exact.keeping(.q8_0), exact.keeping(.q8_0).multiplying(.int8), exact.keeping(.q4_0)]
        let errors = try models.map { try error(of: $0, against: exact) }
        for (less, more) in zip(errors, errors.dropFirst()) {
            #expect(less.divergence < more.divergence)
            #expect(zip(less.streams, more.streams).count { $0.relativeError <= $1.relativeError } == 4)
            #expect(zip(less.matrices, more.matrices).count { $0.name != "pos_embed.W_pos" && $0.relativeError > $1.relativeError } == 0)
        }
        // Half a step of the format, evenly spread, is what a weight loses: about 0.4 % in eight bits, 8 % in four.
        for matrix in errors[2].matrices where matrix.format == .q8_0 { #expect((0.002..<0.008).contains(matrix.relativeError), "\(matrix)") }
        for matrix in errors[4].matrices where matrix.format == .q4_0 { #expect((0.04..<0.13).contains(matrix.relativeError), "\(matrix)") }
    }

    @Test func whatCannotBeCompared() throws {
        let model = try Self.model.get()
        let other = try Transformer.random(ModelConfig(nLayers: 2, dModel: 64, nCtx: 40, dHead: 16, nHeads: 4, dMlp: 96, actFn: .geluNew, dVocab: 97), seed: 3)
        expectError(.usage, "different models") { try error(of: model, against: other) }
        expectError(.usage, "rewritten differently") { try error(of: model, against: model.processWeights()) }
        expectError(.usage, "nothing to compare") { try Evals.formatError(of: model, against: model) { nil } }
        var empty = [[Int]](repeating: [], count: 2)[...]
        expectError(.usage, "nothing to compare") { try Evals.formatError(of: model, against: model) { empty.popFirst() } }
    }

    @Test func noLayersAtAll() throws {
        let config = try ModelConfig(nLayers: 0, dModel: 32, nCtx: 8, dHead: 16, nHeads: 2, dMlp: 64, actFn: .relu, dVocab: 20)
        let exact = try Transformer.random(config, seed: 5)
        var rows = [[1, 2, 3]][...]
        let found = try Evals.formatError(of: exact.keeping(.q4_0), against: exact) { rows.popFirst() }
        #expect(found.streams.isEmpty && found.divergence > 0)
        #expect(found.matrices.map(\.name) == ["embed.W_E", "pos_embed.W_pos", "unembed.W_U"])
    }
}
