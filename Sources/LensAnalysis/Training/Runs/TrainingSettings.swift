// Everything about a run but the model and the data, as one value that JSON says: names of HookedTransformerTrainConfig where it
// has one.

import LensFiles
import LensModel

/// How to train.
public struct TrainingSettings: Sendable, Hashable {
    public var optimizer = Optimizer.Settings(.adam())
    /// Patterns of parameters that stay as they are.
    public var frozen: [String] = []
    public var schedule = LearningRateSchedule()
    /// Rows of a batch; nil: all rows there are, in every batch.
    public var batchSize: Int? = 32
    /// Batches whose gradients make one step.
    public var accumulate = 1
    /// Steps of the whole run.
    public var steps = 1000
    /// Steps from one measurement on held-out rows to the next; 0: none.
    public var evaluateEvery = 100
    /// Rows of a batch there; nil: all in one.
    public var evaluationBatch: Int? = 256
    /// Steps from one line of metrics to the next.
    public var logEvery = 1
    /// Steps from one checkpoint to the next; 0: only at the end.
    public var saveEvery = 500
    /// Checkpoints kept.
    public var keep = 3

    public init() {}

    /// - Throws: `LensError(.usage)` for a value out of range.
    public func validate() throws {
        for (name, value, least) in [("batch size", batchSize ?? 1, 1), ("accumulate", accumulate, 1), ("steps", steps, 1), ("eval_every", evaluateEvery, 0),
                                     ("eval_batch_size", evaluationBatch ?? 1, 1), ("log_every", logEvery, 1), ("save_every", saveEvery, 0), ("keep", keep, 1)] {
            guard value >= least else { throw LensError(.usage, "\(name) out of range", expected: "at least \(least)", found: "\(value)") }
        }
        try optimizer.rule.validate()
        try schedule.validate()
    }

    /// Whether a run with `other` goes on as one with these would: all but how long, how often it is looked at and what is kept.
    func continues(_ other: JSON) -> Bool { json.objectValue.map(Self.essentials) == other.objectValue.map(Self.essentials) }

    private static func essentials(_ fields: JSONObject) -> JSONObject {
        var fields = fields
        for name in ["max_steps", "eval_every", "eval_batch_size", "log_every", "save_every", "keep"] { fields[name] = nil }
        return fields
    }
}

extension TrainingSettings {
    /// Reads settings as JSON; what is not there is as in `defaults`.
    /// - Parameters:
    ///   - rowCount: of the data, for `num_epochs`.
    /// - Throws: `LensError(.config)` for an unknown field or a value that is none; `LensError(.usage)` for one out of range.
    public init(json: JSON, at location: String, defaults: TrainingSettings = TrainingSettings(), rowCount: Int? = nil) throws {
        self = defaults
        let reader = try ConfigReader(json, at: location)
        optimizer = try Self.optimizer(reader, defaults.optimizer)
        frozen = try reader.strings("frozen") ?? defaults.frozen
        schedule = try Self.schedule(reader, defaults.schedule)
        batchSize = reader.isNull("batch_size") ? nil : try reader.int("batch_size", default: defaults.batchSize ?? 32)
        accumulate = try reader.int("accumulate", default: defaults.accumulate)
        evaluateEvery = try reader.int("eval_every", default: defaults.evaluateEvery)
        evaluationBatch = reader.isNull("eval_batch_size") ? nil : try reader.int("eval_batch_size", default: defaults.evaluationBatch ?? 256)
        logEvery = try reader.int("log_every", default: defaults.logEvery)
        saveEvery = try reader.int("save_every", default: defaults.saveEvery)
        keep = try reader.int("keep", default: defaults.keep)
        let epochs = try reader.value("num_epochs")?.asInt(at: "\(location): num_epochs")
        steps = try reader.int("max_steps", default: epochs.map { try Self.steps($0, rowCount, batchSize, accumulate) } ?? defaults.steps)
        try reader.finish()
        try validate()
    }

    /// Steps that `epochs` make.
    static func steps(_ epochs: Int, _ rowCount: Int?, _ batchSize: Int?, _ accumulate: Int) throws -> Int {
        guard let rowCount else { throw LensError(.usage, "epochs of data without end", expected: "max_steps", found: "num_epochs \(epochs)") }
        let rows = epochs.multipliedReportingOverflow(by: rowCount), size = (batchSize ?? rowCount).multipliedReportingOverflow(by: max(1, accumulate))
        guard epochs > 0, !rows.overflow, !size.overflow, size.partialValue > 0 else { throw LensError(.usage, "epochs out of range", found: "\(epochs)") }
        return max(1, (rows.partialValue - 1) / size.partialValue + 1)
    }

    private static func optimizer(_ reader: ConfigReader, _ defaults: Optimizer.Settings) throws -> Optimizer.Settings {
        let betas = try reader.value("betas") == nil ? [0.9, 0.999] : reader.doubles("betas"), eps = try reader.double("eps", default: 1e-8)
        let momentum = try reader.double("momentum", default: 0), dampening = try reader.double("dampening", default: 0), nesterov = try reader.bool("nesterov", default: false)
        guard betas.count == 2 else { throw reader.invalid("betas", expected: "two numbers") }
        var settings = defaults
        switch try reader.string("optimizer_name", default: defaults.rule.name) {
        case "Adam": settings.rule = .adam(beta1: betas[0], beta2: betas[1], eps: eps)
        case "AdamW": settings.rule = .adamW(beta1: betas[0], beta2: betas[1], eps: eps)
        case "SGD": settings.rule = .sgd(momentum: momentum, dampening: dampening, nesterov: nesterov)
        default: throw reader.invalid("optimizer_name", expected: "Adam, AdamW or SGD")
        }
        settings.learningRate = try reader.double("lr", default: defaults.learningRate)
        settings.weightDecay = try reader.double("weight_decay", default: defaults.weightDecay)
        settings.clipNorm = try reader.value("max_grad_norm") == nil ? defaults.clipNorm : reader.double("max_grad_norm")
        settings.clipValue = try reader.value("max_grad_value") == nil ? defaults.clipValue : reader.double("max_grad_value")
        if let groups = reader.value("groups") {
            settings.groups = try groups.asArray(at: "\(reader.location): groups").map { group in
                let group = try ConfigReader(group, at: "\(reader.location): groups")
                guard let names = try group.strings("names") else { throw group.invalid("names", expected: "a list of patterns") }
                let decay = try group.value("weight_decay") == nil ? nil : group.double("weight_decay")
                let result = ParameterGroup(names, weightDecay: decay, learningRateScale: try group.double("lr_scale", default: 1))
                try group.finish()
                return result
            }
        }
        return settings
    }

    private static func schedule(_ reader: ConfigReader, _ defaults: LearningRateSchedule) throws -> LearningRateSchedule {
        let floor = try reader.double("lr_floor", default: 0), size = try reader.int("lr_step_size", default: 1000), gamma = try reader.double("lr_gamma", default: 0.1)
        var schedule = defaults
        schedule.warmupSteps = try reader.int("warmup_steps", default: defaults.warmupSteps)
        switch try reader.string("lr_schedule", default: defaults.shape.name) {
        case "constant": schedule.shape = .constant
        case "linear": schedule.shape = .linear(floor: floor)
        case "cosine": schedule.shape = .cosine(floor: floor)
        case "step": schedule.shape = .step(size: size, gamma: gamma)
        default: throw reader.invalid("lr_schedule", expected: "constant, linear, cosine or step")
        }
        return schedule
    }

    /// The settings as `init(json:)` reads them.
    public var json: JSON {
        var fields = JSONObject([("optimizer_name", .string(optimizer.rule.name)), ("lr", .double(optimizer.learningRate)), ("weight_decay", .double(optimizer.weightDecay))])
        switch optimizer.rule {
        case .adam(let beta1, let beta2, let eps), .adamW(let beta1, let beta2, let eps):
            fields["betas"] = [.double(beta1), .double(beta2)]
            fields["eps"] = .double(eps)
        case .sgd(let momentum, let dampening, let nesterov):
            for (name, value) in [("momentum", JSON.double(momentum)), ("dampening", .double(dampening)), ("nesterov", .bool(nesterov))] { fields[name] = value }
        }
        if let norm = optimizer.clipNorm { fields["max_grad_norm"] = .double(norm) }
        if let value = optimizer.clipValue { fields["max_grad_value"] = .double(value) }
        fields["groups"] = .array(optimizer.groups.map { group in
            var fields = JSONObject([("names", .array(group.names.map(JSON.string))), ("lr_scale", .double(group.learningRateScale))])
            if let decay = group.weightDecay { fields["weight_decay"] = .double(decay) }
            return .object(fields)
        })
        fields["frozen"] = .array(frozen.map(JSON.string))
        fields["lr_schedule"] = .string(schedule.shape.name)
        switch schedule.shape {
        case .linear(let floor), .cosine(let floor): fields["lr_floor"] = .double(floor)
        case .step(let size, let gamma): (fields["lr_step_size"], fields["lr_gamma"]) = (.int(size), .double(gamma))
        case .constant: break
        }
        fields["warmup_steps"] = .int(schedule.warmupSteps)
        for (name, value) in [("batch_size", batchSize), ("accumulate", accumulate), ("max_steps", steps), ("eval_every", evaluateEvery), ("eval_batch_size", evaluationBatch),
                              ("log_every", logEvery), ("save_every", saveEvery), ("keep", keep)] {
            fields[name] = value.map(JSON.int) ?? .null
        }
        return .object(fields)
    }
}
