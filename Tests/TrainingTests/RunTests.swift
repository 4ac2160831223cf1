// Runs in folders: they go on from checkpoints to the same bits, whatever happened to the last one.

import Foundation
import LensAnalysis
import LensFiles
import LensModel
import LensTensor
import Testing

@Suite struct RunTests {
    private static func settings(steps: Int = 12) -> TrainingSettings {
        var settings = TrainingSettings()
        settings.optimizer = Optimizer.Settings(.adamW(), learningRate: 0.01, weightDecay: 0.1, groups: [.init(["*.b_*"], weightDecay: 0)], clipNorm: 1)
        settings.schedule = LearningRateSchedule(.cosine(), warmupSteps: 2)
        settings.batchSize = 5
        settings.accumulate = 2
        settings.steps = steps
        settings.evaluateEvery = 4
        settings.saveEvery = 3
        settings.keep = 2
        return settings
    }

    private static func run(_ folder: String, _ settings: TrainingSettings = RunTests.settings(), seed: UInt64 = 4) throws -> TrainingRun {
        let task = try ModularArithmetic(.subtract, modulus: 5, trainFraction: 0.8, seed: seed)
        return try TrainingRun(folder: folder, model: tinyModel(vocabulary: 6, output: 5, context: 3), data: task.data, settings: settings)
    }

    /// An uninterrupted run, once.
    private static let whole = Result { () -> TrainingPlace in
        let place = try TrainingPlace()
        var run = try RunTests.run(place.path)
        #expect(try run.run() == .finished)
        return place
    }

    private static func expectWhole(_ place: TrainingPlace, _ comment: String) throws {
        let whole = try whole.get()
        for name in ["model.safetensors", "config.json", "metrics.jsonl", "checkpoints/step-000000012.safetensors"] {
            #expect(try place.bytes(name) == whole.bytes(name), "\(name), \(comment)")
        }
    }

    @Test func aFolderHoldsTheRun() throws {
        let place = try Self.whole.get()
        #expect(place.checkpoints == ["step-000000009.safetensors", "step-000000012.safetensors"])
        let lines = String(decoding: try place.bytes("metrics.jsonl"), as: UTF8.self).split(separator: "\n").map(String.init)
        let parsed = try lines.map { try JSON.parse($0) }
        #expect(parsed.map { $0["step"]?.intValue } == (1...12).map { $0 })
        #expect(parsed.allSatisfy { $0["loss"]?.doubleValue != nil && $0["lr"]?.doubleValue != nil && $0["grad_norm"]?.doubleValue != nil })
        #expect(parsed.filter { $0["eval_loss"] != nil }.map { $0["step"]?.intValue } == [4, 8, 12])
        let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: place("config.json")))
        let loaded = try Transformer(config: config, savedParameters: SafetensorsFile(path: place("model.safetensors")))
        var again = try Self.run(place.path)
        #expect(again.resumedAt == 12)
        #expect(try bits(loaded) == bits(again.trainer.model))
        #expect(try again.run() == .finished, "a finished run is finished")
    }

    /// Stopped at every step in turn: the checkpoint has it, and the rest is the same.
    @Test(arguments: [1, 2, 5, 11])
    func goesOnAfterCancellation(step: Int) throws {
        let place = try TrainingPlace(), cancellation = Cancellation()
        var first = try Self.run(place.path)
        let outcome = try first.run(cancellation: cancellation) { if $0.report.step == step { cancellation.cancel() } }
        #expect(outcome == .cancelled(step: step))
        var second = try Self.run(place.path)
        #expect(second.resumedAt == step && second.refusedCheckpoints.isEmpty)
        #expect(try second.run() == .finished)
        try Self.expectWhole(place, "stopped after \(step)")
    }

    /// Metrics of steps after the checkpoint, a torn line, a torn temporary file: what a killed process leaves.
    @Test func goesOnAfterAKill() throws {
        let place = try TrainingPlace()
        struct Killed: Error {}
        var first = try Self.run(place.path)
        #expect(throws: Killed.self) { try first.run { if $0.report.step == 8 { throw Killed() } } }
        let handle = try #require(FileHandle(forWritingAtPath: place("metrics.jsonl")))
        handle.seekToEndOfFile()
        handle.write(Data("{\"step\": 9, \"lo".utf8))
        try handle.close()
        try Data("half".utf8).write(to: URL(fileURLWithPath: place("checkpoints/.lens-1234.partial")))
        var second = try Self.run(place.path)
        #expect(second.resumedAt == 6)
        #expect(try second.run() == .finished)
        try Self.expectWhole(place, "killed after 8")
        #expect(place.checkpoints.allSatisfy { $0.hasPrefix("step-") })
    }

    /// The newest checkpoint damaged in every way: refused with its name, the one before used.
    @Test(arguments: ["cut", "empty", "bit in data", "bit in header", "wrong name", "garbage"])
    func refusesADamagedCheckpoint(damage: String) throws {
        let place = try TrainingPlace(), cancellation = Cancellation()
        var first = try Self.run(place.path)
        _ = try first.run(cancellation: cancellation) { if $0.report.step == 7 { cancellation.cancel() } }
        #expect(place.checkpoints == ["step-000000006.safetensors", "step-000000007.safetensors"])
        let name = "checkpoints/step-000000007.safetensors"
        var bytes = try place.bytes(name)
        switch damage {
        case "cut": bytes.removeLast(100)
        case "empty": bytes = Data()
        case "bit in data": bytes[bytes.count - 1000] ^= 4
        case "bit in header":
            let place = try #require(bytes.range(of: Data("\"step\":\"7\"".utf8)) ?? bytes.range(of: Data("\"step\": \"7\"".utf8)))
            bytes[place.upperBound - 2] = UInt8(ascii: "8")
        case "wrong name": bytes = try place.bytes("checkpoints/step-000000006.safetensors")
        default: bytes = Data((0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        }
        try bytes.write(to: URL(fileURLWithPath: place(name)))
        var second = try Self.run(place.path)
        #expect(second.resumedAt == 6 && second.refusedCheckpoints.count == 1)
        #expect(second.refusedCheckpoints.first?.contains("step-000000007") == true, "\(second.refusedCheckpoints)")
        #expect(try second.run() == .finished)
        try Self.expectWhole(place, damage)
    }

    @Test func refusesWhenNoneIsGood() throws {
        let place = try TrainingPlace()
        var first = try Self.run(place.path, Self.settings(steps: 3))
        _ = try first.run()
        for name in place.checkpoints { try Data("x".utf8).write(to: URL(fileURLWithPath: place("checkpoints/\(name)"))) }
        #expect { try Self.run(place.path, Self.settings(steps: 3)) } throws: { error in
            (error as? LensError)?.kind == .format && "\(error)".contains("none of the checkpoints is good")
        }
    }

    @Test func refusesAnotherRun() throws {
        let place = try TrainingPlace()
        var first = try Self.run(place.path, Self.settings(steps: 3))
        _ = try first.run()
        var other = Self.settings(steps: 3)
        other.optimizer.learningRate = 0.02
        #expect { try Self.run(place.path, other) } throws: { "\($0)".contains("other settings") }
        #expect { try Self.run(place.path, Self.settings(steps: 3), seed: 9) } throws: { "\($0)".contains("other data") }
        // Longer, and looked at more often, is the same run going on (here with a schedule that knows its end, so not its bits).
        var longer = Self.settings(steps: 5)
        longer.evaluateEvery = 1
        #expect(try Self.run(place.path, longer).resumedAt == 3)
    }

    @Test func refusesDataThatDoesNotFit() throws {
        let place = try TrainingPlace(), task = try ModularArithmetic(.add, modulus: 9, trainFraction: 0.5)
        #expect { try TrainingRun(folder: place.path, model: tinyModel(vocabulary: 6, context: 3), data: task.data, settings: Self.settings()) } throws: { "\($0)".contains("d_vocab") }
        #expect { try TrainingRun(folder: place.path, model: tinyModel(vocabulary: 10, context: 2), data: task.data, settings: Self.settings()) } throws: { "\($0)".contains("n_ctx") }
    }

    @Test func settingsRoundTrip() throws {
        let settings = Self.settings()
        #expect(try TrainingSettings(json: settings.json, at: "test") == settings)
        var sgd = TrainingSettings()
        sgd.optimizer = Optimizer.Settings(.sgd(momentum: 0.9, nesterov: true), learningRate: 0.5, clipValue: 2)
        sgd.schedule = LearningRateSchedule(.step(size: 7, gamma: 0.5), warmupSteps: 3)
        sgd.batchSize = nil
        sgd.frozen = ["*.b_*"]
        #expect(try TrainingSettings(json: sgd.json, at: "test") == sgd)
        #expect(try TrainingSettings(json: ["num_epochs": 3, "batch_size": 4], at: "test", rowCount: 10).steps == 8)
        for wrong: JSON in [["lr": "fast"], ["learning_rate": 1], ["optimizer_name": "Lion"], ["betas": [0.9]], ["batch_size": 0], ["lr_schedule": "zigzag"],
                            ["num_epochs": 3], ["max_steps": 0], ["groups": [["weight_decay": 0]]], ["warmup_steps": -1]] {
            #expect(throws: LensError.self, "\(wrong)") { try TrainingSettings(json: wrong, at: "test") }
        }
    }
}
