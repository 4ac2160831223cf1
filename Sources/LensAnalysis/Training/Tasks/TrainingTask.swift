// The built-in tasks by name, with their options as text: what a command line gives.

import LensFiles

/// A built-in task: `add`, `multiply`, …, `repeated`, `brackets`, `ioi`.
public struct TrainingTask: Sendable {
    public let name: String
    public let data: any TrainingData
    /// What tokens mean, where they are words.
    public let words: [String]?

    public static let names = ModularArithmetic.Operation.allCases.map(\.rawValue) + ["repeated", "brackets", "ioi"]

    /// The options a task takes, with what they are unless given.
    public static func options(of name: String) -> [(name: String, fallback: String)] {
        if ModularArithmetic.Operation(rawValue: name) != nil { return [("modulus", "113"), ("train_fraction", "0.3")] }
        switch name {
        case "repeated": return [("vocabulary", "64"), ("length", "16"), ("held_out", "256")]
        case "brackets": return [("length", "16"), ("held_out", "256")]
        case "ioi": return [("all", "false"), ("held_out", "256")]
        default: return []
        }
    }

    /// - Throws: `LensError(.name)` for an unknown task or option; `LensError(.usage)` for a value out of range.
    public init(_ name: String, options given: [String: String] = [:], seed: UInt64 = 0) throws {
        guard Self.names.contains(name) else {
            throw LensError(.name, "no such task", at: name, expected: Self.names.joined(separator: ", "),
                            advice: nearestName(to: name, among: Self.names).map { "did you mean \($0)?" })
        }
        let known = Self.options(of: name)
        for key in given.keys.sorted() where !known.contains(where: { $0.name == key }) {
            throw LensError(.name, "no such option of \(name)", at: key, expected: known.map(\.name).joined(separator: ", "))
        }
        func value<T: LosslessStringConvertible>(_ key: String, _: T.Type) throws -> T {
            let text = given[key] ?? known.first { $0.name == key }?.fallback ?? ""
            guard let value = T(text) else { throw LensError(.usage, "option of \(name)", at: key, expected: "\(T.self)", found: text) }
            return value
        }
        self.name = name
        var words: [String]?
        if let operation = ModularArithmetic.Operation(rawValue: name) {
            data = try ModularArithmetic(operation, modulus: value("modulus", Int.self), trainFraction: value("train_fraction", Double.self), seed: seed).data
        } else if name == "repeated" {
            data = try GeneratedData.repeatedTokens(vocabulary: value("vocabulary", Int.self), length: value("length", Int.self), heldOut: value("held_out", Int.self), seed: seed)
        } else if name == "brackets" {
            data = try GeneratedData.balancedBrackets(length: value("length", Int.self), heldOut: value("held_out", Int.self), seed: seed)
        } else {
            let task = try IndirectObjectTask(asksEverything: value("all", Bool.self), heldOut: value("held_out", Int.self), seed: seed)
            data = task.data
            words = task.words
        }
        self.words = words
    }
}
