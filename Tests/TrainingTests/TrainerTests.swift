// Steps of training: they learn, freeze what they are told to, accumulate, and give the same bits again.

import Foundation
import LensAnalysis
import LensFiles
import LensModel
import LensTensor
import Testing

@Suite struct TrainerTests {
    @Test func learnsModularAddition() throws {
        let task = try ModularArithmetic(.add, modulus: 7, trainFraction: 0.7, seed: 3)
        var trainer = try Trainer(tinyModel(vocabulary: 8, output: 7, context: 3), .init(.adamW(), learningRate: 0.01, weightDecay: 0.1))
        let batch = try task.data.batch(0, size: nil)
        let first = try trainer.step([batch])
        for _ in 0..<80 { try trainer.step([batch]) }
        let after = try trainer.evaluate([batch])
        #expect(first.loss > 1.8 && after.loss < 0.1 && after.accuracy == 1, "\(first.loss), \(after)")
        #expect(first.gradientNorm > 0 && first.step == 1 && trainer.stepCount == 81)
    }

    /// The first step of plain gradient descent is the gradient by finite differences of the loss.
    @Test func aStepFollowsTheGradient() throws {
        let model = try tinyModel(vocabulary: 6, context: 5), tokens = try IntTensor([1, 4, 2, 0, 5, 3, 3, 1, 2, 4], shape: [2, 5])
        let batch = try TrainingBatch(nextTokensOf: tokens)
        var trainer = try Trainer(model, .init(.sgd(), learningRate: 0.5))
        let start = try trainer.evaluate([batch]).loss
        try trainer.step([batch])
        for name in ["blocks.0.attn.W_Q", "blocks.0.mlp.b_in", "embed.W_E", "unembed.b_U", "blocks.0.ln1.w"] {
            let before = try model.parameters[name], moved = try (trainer.model.parameters[name] - before).scaled(by: -2)
            // Along the gradient itself: the slope is its squared length.
            let length = try moved.squareSum().squareRoot()
            #expect(length > 0, "\(name) moves")
            let h = 0.01 / length
            func loss(_ factor: Double) throws -> Double {
                let shifted = try model.with([name: before + moved.scaled(by: Float(factor * h))])
                return try Double(shifted.run(.tokens(tokens)).logits.map { try $0.meanCrossEntropy(targets: batch.targets.array).item() } ?? .nan)
            }
            let slope = try (loss(1) - loss(-1)) / (2 * h), expected = length * length
            #expect(abs(slope - expected) < 0.02 * expected + 1e-4, "\(name): \(slope), \(expected)")
        }
        #expect(start.isFinite)
    }

    @Test func frozenParametersKeepTheirBits() throws {
        let model = try tinyModel(vocabulary: 6, context: 5), before = try bits(model)
        var trainer = try Trainer(model, .init(.adamW(), learningRate: 0.01, weightDecay: 0.5), frozen: ["*.b_*", "embed.W_E", "blocks.0.attn.*"])
        let data = try GeneratedData.repeatedTokens(vocabulary: 5, length: 2)
        for index in 0..<3 { try trainer.step([data.batch(index, size: 4)]) }
        for (name, values) in try bits(trainer.model) {
            let isFrozen = name.contains(".b_") || name == "embed.W_E" || name.hasPrefix("blocks.0.attn.")
            #expect((values == before[name]) == isFrozen, "\(name)")
        }
    }

    /// Batches of two and two are the batch of four, but for rounding.
    @Test func accumulates() throws {
        let model = try tinyModel(vocabulary: 6, context: 5), data = try GeneratedData.repeatedTokens(vocabulary: 5, length: 2, seed: 5)
        let whole = try data.batch(0, size: 4)
        func part(_ rows: Range<Int>) throws -> TrainingBatch {
            try TrainingBatch(tokens: IntTensor(rows: rows.map(whole.tokens.row)), targets: IntTensor(rows: rows.map(whole.targets.row)))
        }
        var one = try Trainer(model, .init(.sgd(), learningRate: 0.1)), two = one
        let a = try one.step([whole]), b = try two.step([part(0..<2), part(2..<4)])
        #expect(abs(a.loss - b.loss) < 1e-5 && abs(a.gradientNorm - b.gradientNorm) < 1e-4 * a.gradientNorm)
        for name in model.parameters.names {
            let difference = try (one.model.parameters[name] - two.model.parameters[name]).squareSum().squareRoot()
            #expect(difference < 1e-5, "\(name)")
        }
    }

    /// Rows that nothing is asked of leave no trace: products go back through the others only.
    @Test func rowsThatDoNotCountAddNothing() throws {
        let model = try tinyModel(vocabulary: 6, context: 5, layers: 2), data = try GeneratedData.repeatedTokens(vocabulary: 5, length: 2, seed: 5)
        let all = try data.batch(0, size: 20), counted = [3, 17]
        let targets = all.targets.rows.enumerated().map { counted.contains($0) ? $1 : Array(repeating: TrainingBatch.ignored, count: $1.count) }
        let many = try TrainingBatch(tokens: all.tokens, targets: IntTensor(rows: targets))
        let few = try TrainingBatch(tokens: IntTensor(rows: counted.map(all.tokens.row)), targets: IntTensor(rows: counted.map(all.targets.row)))
        func gradients(_ batch: TrainingBatch) throws -> [String: Tensor] {
            try model.runWithGradients(.tokens(batch.tokens), parameters: .all) { try TrainingObjective.crossEntropy.loss($0, batch) }.parameters
        }
        let one = try gradients(many), two = try gradients(few)
        #expect(one.count == two.count && one.count > 20)
        for (name, gradient) in one {
            let other = try #require(two[name]), scale = try other.squareSum().squareRoot()
            #expect(try (gradient - other).squareSum().squareRoot() <= 1e-5 * scale + 1e-7, "\(name)")
        }
    }

    @Test func sameBitsOnAnyNumberOfThreads() throws {
        let data = try GeneratedData.balancedBrackets(length: 6, seed: 2)
        func run(_ threads: Int) throws -> [String: [UInt32]] {
            Kernels.threads = threads
            defer { Kernels.threads = 0 }
            var trainer = try Trainer(tinyModel(vocabulary: 6, output: 2, context: 8), .init(.adam(), learningRate: 0.01, clipNorm: 0.5))
            for index in 0..<4 { try trainer.step([data.batch(index, size: 16)]) }
            return try bits(trainer.model)
        }
        let one = try run(1)
        #expect(try run(2) == one)
        #expect(try run(1) == one)
    }

    /// A loss of any kind: here, that the logits of one token are small, through a hook's edit.
    @Test func takesAnyLoss() throws {
        let objective = TrainingObjective(options: { _ in Transformer.Options(hooks: [.edit("mlp_out") { x, _ in x = try x.scaled(by: 0.5) }]) },
                                          loss: { output, _ in
            guard let logits = output.logits else { throw LensError(.usage, "no logits") }
            let chosen = try logits.at(.all, .all, .at(2))
            return try (chosen * chosen).sum()
        })
        let batch = try TrainingBatch(nextTokensOf: IntTensor([1, 4, 2, 0], shape: [1, 4]))
        var trainer = try Trainer(tinyModel(vocabulary: 6, context: 5), .init(.adam(), learningRate: 0.02), objective: objective)
        let losses = try (0..<30).map { _ in try trainer.step([batch]).loss }
        #expect(losses[29] < 0.1 * losses[0], "\(losses)")
    }

    @Test func refusals() throws {
        let model = try tinyModel(vocabulary: 6, context: 5)
        #expect(throws: LensError.self) { try Trainer(model, .init(), frozen: ["*"]) }
        #expect(throws: LensError.self) { try Trainer(model, .init(), frozen: ["blocks.7.*"]) }
        #expect(throws: LensError.self) { try Trainer(model, .init(), schedule: .init(.step(size: 0))) }
        var trainer = try Trainer(model, .init())
        #expect(throws: LensError.self) { try trainer.step([]) }
        let cancelled = Cancellation(), batch = try TrainingBatch(nextTokensOf: IntTensor([1, 4, 2, 0], shape: [1, 4]))
        cancelled.cancel()
        #expect(throws: LensError.self) { try trainer.step([batch], cancellation: cancelled) }
        #expect(trainer.stepCount == 0)
        #expect(try bits(trainer.model) == bits(model), "a refused step changes nothing")
        let nothing = try TrainingBatch(tokens: IntTensor([1, 2], shape: [1, 2]), targets: IntTensor([-100, -100], shape: [1, 2]))
        #expect(throws: LensError.self) { try trainer.step([nothing]) }
        let outside = try TrainingBatch(tokens: IntTensor([1, 2], shape: [1, 2]), targets: IntTensor([1, 99], shape: [1, 2]))
        #expect(throws: LensError.self) { try trainer.step([outside]) }
    }

    /// A group's share of the learning rate: with none, nothing moves.
    @Test func groupsHaveTheirOwnRate() throws {
        let model = try tinyModel(vocabulary: 6, context: 5), before = try bits(model)
        var trainer = try Trainer(model, .init(.adam(), learningRate: 0.01, groups: [ParameterGroup(["embed.*", "unembed.*"], learningRateScale: 0)]))
        try trainer.step([TrainingBatch(nextTokensOf: IntTensor([1, 4, 2, 0], shape: [1, 4]))])
        let after = try bits(trainer.model)
        #expect(after["embed.W_E"] == before["embed.W_E"] && after["unembed.W_U"] == before["unembed.W_U"])
        #expect(after["blocks.0.mlp.W_in"] != before["blocks.0.mlp.W_in"])
    }
}
