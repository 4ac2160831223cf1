// Parameters that are trained alike: chosen by name, with a weight decay and a share of the learning rate of their own.

import LensFiles
import LensHooks

/// Some of a model's parameters, by patterns of their TransformerLens names, and how they differ from the rest.
public struct ParameterGroup: Sendable, Hashable {
    /// Names in which `*` stands for anything: `"*.b_*"`, `"*W_E"`, `"blocks.0.*"`.
    public var names: [String]
    /// nil: the run's.
    public var weightDecay: Double?
    /// The learning rate is multiplied by this.
    public var learningRateScale: Double

    public init(_ names: [String], weightDecay: Double? = nil, learningRateScale: Double = 1) {
        self.names = names
        self.weightDecay = weightDecay
        self.learningRateScale = learningRateScale
    }

    /// Whether it is of this group.
    public func contains(_ name: String) -> Bool { names.contains { globMatches($0, name) } }

    /// The biases and norms, without decay: the usual exception.
    public static let withoutDecay = ParameterGroup(["*.b_*", "*.b", "*.w", "*ln*"], weightDecay: 0)

    /// - Throws: `LensError(.usage)`.
    func validate(among parameters: [String]) throws {
        guard weightDecay.map({ $0 >= 0 && $0.isFinite }) ?? true, learningRateScale >= 0, learningRateScale.isFinite else {
            throw LensError(.usage, "a group's weight decay or learning rate out of range", at: names.joined(separator: ", "), expected: "numbers from 0")
        }
        try checkPatterns(names, among: parameters)
    }
}

/// - Throws: `LensError(.name)` for a pattern that matches nothing.
func checkPatterns(_ patterns: [String], among names: [String]) throws {
    for pattern in patterns where !names.contains(where: { globMatches(pattern, $0) }) {
        throw LensError(.name, "no parameter of this name", at: pattern, advice: nearestName(to: pattern, among: names).map { "did you mean \($0)?" })
    }
}
