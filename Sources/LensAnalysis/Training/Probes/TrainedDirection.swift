// A trained direction: a vector added to one activation of a frozen model, chosen by gradient descent so that a loss becomes
// small. What steering vectors are when nobody knows two prompts to subtract.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A vector added at a site.
public struct TrainedDirection: Sendable {
    /// Full name of the site.
    public let site: String
    /// `[width]`
    public let vector: Tensor
    /// Loss before each step, and after the last.
    public let losses: [Double]

    /// The edit that adds it (times `scale`), everywhere along batch and positions or at one position.
    public func hook(scale: Float = 1, position: Int? = nil) throws -> Hook { Self.adding(try vector.scaled(by: scale), site, position) }

    private static func adding(_ vector: Tensor, _ site: String, _ position: Int?) -> Hook {
        .edit(.names([site])) { x, _ in
            if let position {
                let old = try x.at(.all, .at(position))
                try x.set(.all, .at(position), to: old + vector)
            } else {
                x = try x + vector
            }
        }
    }

    /// Trains one on batches in turn; the model does not change.
    /// - Parameters:
    ///   - site: an activation whose last axis is `width`: a residual stream, `hook_mlp_out`, `z` (one for all heads).
    ///   - position: where it is added; nil: everywhere.
    ///   - l2: times the vector's squared norm is added to the loss.
    /// - Throws: `LensError(.name)` for an unknown site; what runs, objective and optimizer throw.
    public static func train(_ model: some HasTransformer, at site: String, width: Int? = nil, position: Int? = nil, batches: [TrainingBatch],
                             objective: TrainingObjective = .crossEntropy, settings: Optimizer.Settings = Optimizer.Settings(.adam(), learningRate: 0.05),
                             steps: Int = 100, l2: Double = 0) throws -> TrainedDirection {
        guard !batches.isEmpty else { throw LensError(.usage, "no batches to train on") }
        let model = model.model
        var optimizer = try Optimizer(settings, parameters: ["direction": Tensor(zeros: [width ?? model.config.dModel])]), losses: [Double] = []
        func loss(_ leaf: Tensor, _ batch: TrainingBatch) throws -> Tensor {
            var options = try objective.options(batch)
            options.attentionMask = options.attentionMask ?? batch.attentionMask
            options.hooks.append(adding(leaf, site, position))
            let loss = try objective.loss(model.run(.tokens(batch.tokens), options), batch)
            return l2 == 0 ? loss : try loss + (leaf * leaf).sum().scaled(by: Float(l2))
        }
        for step in 0..<steps {
            let leaf = (optimizer.parameters["direction"] ?? 0).tracked(), value = try loss(leaf, batches[step % batches.count])
            losses.append(Double(try value.item()))
            try optimizer.step(["direction": gradients(of: value, to: [leaf])[0]])
        }
        let vector = optimizer.parameters["direction"] ?? 0
        losses.append(Double(try loss(vector, batches[steps % batches.count]).item()))
        return TrainedDirection(site: site, vector: vector, losses: losses)
    }
}
