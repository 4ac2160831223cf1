// Optimizers and schedules against torch's and transformers' own numbers (Goldens/make_optimizers.py).

import Foundation
import LensAnalysis
import LensFiles
import LensTensor
import Testing

/// What the script wrote.
private let goldens = Result { try JSON.parse(file: URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Goldens/optimizers.json").path) }

private func floats(_ json: JSON?) -> [Double] { json?.arrayValue?.compactMap(\.doubleValue) ?? [] }

@Suite struct OptimizerTests {
    private static let shapes = [[3, 5], [7]]

    private static func start(_ parameter: Int) throws -> Tensor {
        let shape = shapes[parameter]
        return try Tensor((0..<shape.reduce(1, *)).map { Float(($0 * 37 + parameter * 11) % 64 - 32) / 32 }, shape: shape)
    }

    private static func gradient(_ parameter: Int, _ step: Int) throws -> Tensor {
        let shape = shapes[parameter]
        return try Tensor((0..<shape.reduce(1, *)).map { Float(($0 * 29 + step * 53 + parameter * 17 + $0 * step * 7) % 128 - 64) / 64 }, shape: shape)
    }

    private static let cases: [(name: String, settings: Optimizer.Settings)] = [
        ("adam", .init(.adam(), learningRate: 0.01)),
        ("adam_decay", .init(.adam(beta1: 0.8, beta2: 0.95, eps: 1e-6), learningRate: 0.02, weightDecay: 0.1)),
        ("adam_low_beta", .init(.adam(beta1: 0.4, beta2: 0.9), learningRate: 0.01)),
        ("adamw", .init(.adamW(beta1: 0.9, beta2: 0.98), learningRate: 1e-3, weightDecay: 1)),
        ("adamw_groups", .init(.adamW(), learningRate: 0.02, weightDecay: 0.3, groups: [ParameterGroup(["*.b_*"], weightDecay: 0)])),
        ("sgd", .init(.sgd(), learningRate: 0.05)),
        ("sgd_decay", .init(.sgd(), learningRate: 0.05, weightDecay: 0.1)),
        ("sgd_momentum", .init(.sgd(momentum: 0.9, dampening: 0.25), learningRate: 0.05, weightDecay: 0.01)),
        ("sgd_nesterov", .init(.sgd(momentum: 0.9, nesterov: true), learningRate: 0.05, weightDecay: 0.01)),
        ("adamw_clip_norm", .init(.adamW(), learningRate: 0.02, weightDecay: 0.1, clipNorm: 0.7)),
        ("sgd_clip_value", .init(.sgd(momentum: 0.5), learningRate: 0.05, clipValue: 0.4)),
        ("adamw_accumulate", .init(.adamW(), learningRate: 0.02, weightDecay: 0.01)),
    ]

    /// Fifty steps; element by element, within a few units in the last place of what is added up on the way.
    @Test(arguments: cases.map(\.name))
    func equalsTorch(name: String) throws {
        let settings = try #require(Self.cases.first { $0.name == name }?.settings)
        let names = ["blocks.0.mlp.W_in", "blocks.0.mlp.b_in"], parts = name == "adamw_accumulate" ? 3 : 1
        var optimizer = try Optimizer(settings, parameters: [names[0]: Self.start(0), names[1]: Self.start(1)])
        for step in 0..<50 {
            var sums: [String: Tensor] = [:]
            for part in 0..<parts {
                for index in 0..<2 {
                    let gradient = try Self.gradient(index, step * parts + part)
                    sums[names[index]] = try sums[names[index]].map { try $0 + gradient } ?? gradient
                }
            }
            try optimizer.step(sums, scale: 1 / Double(parts))
        }
        for index in 0..<2 {
            let expected = floats(try goldens.get()["optimizers"]?[name]?.arrayValue?[index])
            let found = try #require(optimizer.parameters[names[index]]).array
            try #require(found.count == expected.count && !expected.isEmpty)
            for (a, b) in zip(found, expected) { #expect(abs(Double(a) - b) <= 5e-6 * max(1, abs(b)), "\(name): \(a), torch \(b)") }
        }
    }

    @Test(arguments: ["constant", "linear", "cosine", "step"])
    func schedules(name: String) throws {
        let schedule: LearningRateSchedule = switch name {
        case "constant": .init(.constant, warmupSteps: 7)
        case "linear": .init(.linear(), warmupSteps: 7)
        case "cosine": .init(.cosine(), warmupSteps: 7)
        default: .init(.step(size: 9, gamma: 0.3))
        }
        let expected = floats(try goldens.get()["schedules"]?[name])
        try #require(expected.count == 40)
        for (step, rate) in expected.enumerated() {
            let found = 0.5 * schedule.factor(step: step, of: 30)
            #expect(abs(found - rate) < 1e-12 || step > 30 && name == "cosine", "\(name), step \(step): \(found), \(rate)")
        }
    }

    @Test func aFloorIsTheLastRate() {
        for shape in [LearningRateSchedule.Shape.linear(floor: 0.1), .cosine(floor: 0.1)] {
            let schedule = LearningRateSchedule(shape, warmupSteps: 2)
            #expect(schedule.factor(step: 0, of: 12) == 0)
            #expect(schedule.factor(step: 2, of: 12) == 1)
            #expect(abs(schedule.factor(step: 12, of: 12) - 0.1) < 1e-15)
            #expect(abs(schedule.factor(step: 99, of: 12) - 0.1) < 1e-15, "after the end")
        }
    }

    @Test func refusals() throws {
        let x = ["w": Tensor(1)]
        #expect(throws: LensError.self) { try Optimizer(.init(.adam(beta1: 1)), parameters: x) }
        #expect(throws: LensError.self) { try Optimizer(.init(.sgd(nesterov: true)), parameters: x) }
        #expect(throws: LensError.self) { try Optimizer(.init(learningRate: -1), parameters: x) }
        #expect(throws: LensError.self) { try Optimizer(.init(clipNorm: 0), parameters: x) }
        #expect(throws: LensError.self) { try Optimizer(.init(groups: [ParameterGroup(["nothing*"])]), parameters: x) }
        var optimizer = try Optimizer(.init(), parameters: x)
        #expect(throws: LensError.self) { try optimizer.step([:]) }
        #expect(throws: LensError.self) { try optimizer.step(["w": Tensor(.nan)]) }
        #expect(throws: LensError.self) { try optimizer.step(["w": Tensor([1, 2], shape: [2])]) }
        #expect(optimizer.parameters["w"]?.array == [1] && optimizer.stepCount == 0, "a refused step changes nothing")
    }

    /// A copy of a parameter taken before a step keeps its numbers.
    @Test func parametersAreValues() throws {
        var optimizer = try Optimizer(.init(.sgd(), learningRate: 1), parameters: ["w": Tensor([1, 2], shape: [2])])
        let before = optimizer, kept = optimizer.parameters
        try optimizer.step(["w": Tensor([1, 1], shape: [2])])
        #expect(kept["w"]?.array == [1, 2] && before.parameters["w"]?.array == [1, 2])
        #expect(optimizer.parameters["w"]?.array == [0, 1])
    }
}
