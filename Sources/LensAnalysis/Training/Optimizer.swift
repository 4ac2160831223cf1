// The optimizer: parameters, what is remembered for each between steps, and the step from gradients to new parameters.

import LensFiles
import LensTensor

/// Parameters under an optimizer. A value: a copy goes its own way.
public struct Optimizer: Sendable {
    /// Everything that says how parameters change.
    public struct Settings: Sendable, Hashable {
        public var rule: OptimizerRule
        public var learningRate: Double
        public var weightDecay: Double
        /// The first group that contains a parameter counts.
        public var groups: [ParameterGroup]
        /// Gradients are scaled down together where the norm of them all is above this (torch's `clip_grad_norm_`).
        public var clipNorm: Double?
        /// Elements of gradients are held within ± this, before their norm is taken (torch's `clip_grad_value_`).
        public var clipValue: Double?

        public init(_ rule: OptimizerRule = .adamW(), learningRate: Double = 1e-3, weightDecay: Double = 0, groups: [ParameterGroup] = [],
                    clipNorm: Double? = nil, clipValue: Double? = nil) {
            self.rule = rule
            self.learningRate = learningRate
            self.weightDecay = weightDecay
            self.groups = groups
            self.clipNorm = clipNorm
            self.clipValue = clipValue
        }

        /// - Throws: `LensError(.usage)` or `(.name)` for what cannot be.
        public func validate(among parameters: [String]) throws {
            try rule.validate()
            for (name, value) in [("learning rate", learningRate), ("weight decay", weightDecay)] where !(value >= 0 && value.isFinite) {
                throw LensError(.usage, "\(name) out of range", expected: "a number from 0", found: "\(value)")
            }
            for (name, value) in [("the gradients' largest norm", clipNorm), ("the gradients' largest value", clipValue)] {
                if let value, !(value > 0) { throw LensError(.usage, "\(name) out of range", expected: "a number above 0", found: "\(value)") }
            }
            for group in groups { try group.validate(among: parameters) }
        }
    }

    /// A parameter and its state.
    struct Entry: Sendable {
        let name: String
        var value: Tensor
        /// As `OptimizerRule.stateNames` says.
        var state: [Tensor]
        let weightDecay: Double
        let learningRateScale: Double
    }

    public let settings: Settings
    /// Updates made.
    public private(set) var stepCount = 0
    /// In order of their names.
    private(set) var entries: [Entry]

    /// - Parameter parameters: those to be trained, by name.
    /// - Throws: as `Settings.validate`.
    public init(_ settings: Settings, parameters: [String: Tensor]) throws {
        try settings.validate(among: Array(parameters.keys))
        self.settings = settings
        entries = try parameters.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { name, value in
            let group = settings.groups.first { $0.contains(name) }
            return Entry(name: name, value: try value.detached().contiguous(), state: settings.rule.stateNames.map { _ in Tensor(zeros: value.shape) },
                         weightDecay: group?.weightDecay ?? settings.weightDecay, learningRateScale: group?.learningRateScale ?? 1)
        }
    }

    /// The parameters now.
    public var parameters: [String: Tensor] { Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0.value) }) }

    /// One step.
    /// - Parameters:
    ///   - gradients: one for each parameter, of its shape.
    ///   - factor: of the learning rate.
    ///   - scale: of the gradients: 1 / the number of batches they are summed over.
    /// - Returns: the norm of all gradients, scaled and held within `clipValue`, before `clipNorm`.
    /// - Throws: `LensError(.usage)` if a gradient is missing or the norm is not finite; nothing has changed then.
    @discardableResult
    public mutating func step(_ gradients: [String: Tensor], learningRateFactor factor: Double = 1, scale: Double = 1) throws -> Double {
        var scale = scale
        var ordered = try entries.map { entry in
            guard let gradient = gradients[entry.name], gradient.shape == entry.value.shape else {
                throw LensError(.usage, "no gradient of a parameter's shape", at: entry.name, expected: "\(entry.value.shape)", found: gradients[entry.name].map { "\($0.shape)" } ?? "nothing")
            }
            return gradient
        }
        if let limit = settings.clipValue {
            let limit = Float(limit)
            ordered = try ordered.map { try $0.scaled(by: Float(scale)).clamped(to: -limit...limit) }
            scale = 1
        }
        let norm = try ordered.reduce(0.0) { try $0 + $1.squareSum() }.squareRoot() * scale
        guard norm.isFinite else {
            throw LensError(.usage, "the gradients are not finite", at: "update \(stepCount + 1)", found: "norm \(norm)",
                            advice: "lower the learning rate, clip gradients, or look at the data")
        }
        if let limit = settings.clipNorm { scale *= min(1, limit / (norm + 1e-6)) }
        for index in entries.indices { try update(index, ordered[index], settings.learningRate * factor, Float(scale)) }
        stepCount += 1
        return norm
    }

    private mutating func update(_ index: Int, _ gradient: Tensor, _ rate: Double, _ scale: Float) throws {
        let rate = rate * entries[index].learningRateScale, decay = entries[index].weightDecay
        switch settings.rule {
        case .adam(let beta1, let beta2, let eps), .adamW(let beta1, let beta2, let eps):
            let isDecoupled = if case .adamW = settings.rule { true } else { false }
            let step = AdamStep(learningRate: rate, beta1: beta1, beta2: beta2, eps: eps, weightDecay: decay, isDecoupled: isDecoupled, step: stepCount + 1, gradientScale: scale)
            // Out of the array while they change, so that each is updated where it is.
            var (average, squares) = (entries[index].state[0], entries[index].state[1])
            entries[index].state = []
            defer { entries[index].state = [average, squares] }
            try entries[index].value.update(step, gradient: gradient, average: &average, squareAverage: &squares)
        case .sgd(let momentum, let dampening, let nesterov):
            let step = SGDStep(learningRate: rate, momentum: momentum, dampening: dampening, nesterov: nesterov, weightDecay: decay, step: stepCount + 1, gradientScale: scale)
            var velocity = entries[index].state.first
            entries[index].state = []
            defer { entries[index].state = velocity.map { [$0] } ?? [] }
            try entries[index].value.update(step, gradient: gradient, velocity: &velocity)
        }
    }

    /// Puts `body` of a parameter in its place: onto what it may be.
    mutating func project(_ name: String, _ body: (Tensor) throws -> Tensor) throws {
        for index in entries.indices where entries[index].name == name { entries[index].value = try body(entries[index].value) }
    }

    // MARK: Saving

    /// Parameters and state as tensors by name: `parameters.NAME`, `optimizer.STATE.NAME`.
    var saved: [(name: String, tensor: Tensor)] {
        entries.flatMap { entry in
            [("parameters.\(entry.name)", entry.value)] + zip(settings.rule.stateNames, entry.state).map { ("optimizer.\($0).\(entry.name)", $1) }
        }
    }

    /// Takes over what `saved` gave.
    /// - Throws: `LensError(.weights)` for a missing or mis-shaped tensor.
    mutating func restore(stepCount: Int, _ tensor: (String) throws -> Tensor) throws {
        func restored(_ name: String, _ shape: [Int]) throws -> Tensor {
            let found = try tensor(name)
            guard found.shape == shape else { throw LensError(.weights, "tensor of the wrong shape", at: name, expected: "\(shape)", found: "\(found.shape)") }
            return found
        }
        var restoredEntries = entries
        for index in entries.indices {
            let entry = entries[index]
            restoredEntries[index].value = try restored("parameters.\(entry.name)", entry.value.shape)
            restoredEntries[index].state = try settings.rule.stateNames.map { try restored("optimizer.\($0).\(entry.name)", entry.value.shape) }
        }
        entries = restoredEntries
        self.stepCount = stepCount
    }
}
