// Rewriting a model's weights: the steps in TransformerLens' order, block by block.

import LensFiles
import LensTensor

extension Transformer {
    /// The model with its weights rewritten; this one stays as it is.
    ///
    /// Steps that were done before find nothing left to do: processing a processed model changes nothing but roundings.
    /// - Throws: `LensError(.usage)` for a step asked for by name that is not exact for this model.
    public func processWeights(_ processing: WeightProcessing = .default) throws -> Transformer {
        let processed = try Transformer.processed(WorkingWeights(parameters, config, keeping: nil), processing, self.processing)
        return parameters.activations == .float32 || !processed.parameters.isQuantized ? processed : try processed.multiplying(parameters.activations)
    }

    /// A model that is read from a file, its weights rewritten: each is read as it is when its turn comes, and rounded or
    /// quantised once.
    /// - Parameter format: what all weights are kept in; nil: float32 where they are rewritten, else as the file has them.
    package static func processed(_ stored: StoredParameters, _ processing: WeightProcessing, keeping format: WeightFormat?) throws -> Transformer {
        try processed(WorkingWeights(stored, keeping: format), processing, ProcessingRecord())
    }

    private static func processed(_ weights: WorkingWeights, _ processing: WeightProcessing, _ record: ProcessingRecord) throws -> Transformer {
        var record = record
        let steps = try exactSteps(processing, weights, &record)
        guard !steps.isEmpty else { return try Transformer(config: weights.config, parameters: weights.finish(), processing: record) }

        for step in steps { try step.implementation.prepare(weights) }
        weights.adoptConfig()
        // The ends first: while an embedding matrix is there twice, little else is.
        for step in steps { try step.implementation.rewriteEnds(weights) }
        try weights.close()
        for layer in 0..<weights.config.nLayers {
            if Task.isCancelled { throw LensError(.cancelled, "processing the weights was cancelled", at: "before layer \(layer)") }
            for step in steps { try step.implementation.rewrite(block: "blocks.\(layer)", weights) }
            try weights.close()
        }
        for step in steps { step.implementation.conclude(&weights.config) }
        weights.adoptConfig()
        // Unpacked weights are larger than what a run's buffers are kept for.
        BufferPool.shared.empty()
        record.done = WeightProcessing.Step.allCases.filter { record.done.contains($0) || steps.contains($0) }
        return try Transformer(config: weights.config, parameters: weights.finish(), processing: record)
    }

    /// The steps wanted that are exact for the model.
    private static func exactSteps(_ processing: WeightProcessing, _ weights: WorkingWeights,
                                   _ record: inout ProcessingRecord) throws -> [WeightProcessing.Step] {
        try WeightProcessing.Step.allCases.filter { step in
            let wish = processing.wish(step)
            guard wish != .never else { return false }
            // What is in blocks would lose again if it was quantised anew.
            let general = weights.wasQuantized ? "its weights are quantised" : weights.config.processingObstacle
            guard let reason = try general ?? step.implementation.obstacle(weights) else { return true }
            guard wish != .always else {
                throw LensError(.usage, "\(step.rawValue) would change what this model computes", at: weights.config.modelName,
                                found: reason, advice: "leave the step out, or use the default processing, which does")
            }
            if !record.skipped.contains(where: { $0.step == step }) { record.skipped.append(.init(step: step, reason: reason)) }
            return false
        }
    }
}
