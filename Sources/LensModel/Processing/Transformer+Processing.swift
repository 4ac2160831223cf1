// Rewriting a model's weights: the steps in TransformerLens' order, block by block, so that only one block is unpacked at a
// time.

import LensFiles
import LensTensor

extension Transformer {
    /// The model with its weights rewritten; this one stays as it is.
    ///
    /// Steps that were done before find nothing left to do: processing a processed model changes nothing but roundings.
    /// - Throws: `LensError(.usage)` for a step asked for by name that is not exact for this model.
    public func processWeights(_ processing: WeightProcessing = .default) throws -> Transformer {
        try Transformer.processed(self, processing)
    }

    /// As `processWeights`; weights that nobody else holds are let go one by one as they are rewritten.
    /// - Parameter format: what all weights are kept in afterwards; nil: float32 where they are rewritten, else as they were.
    package static func processed(_ model: consuming Transformer, _ processing: WeightProcessing, keeping format: WeightFormat? = nil) throws -> Transformer {
        let config = model.config
        var record = model.processing
        let weights = WorkingWeights(model.parameters, config, keeping: format ?? .float32)
        _ = consume model
        let steps = try exactSteps(processing, weights, &record)
        func kept(_ parameters: Parameters) throws -> Parameters { try format.map { try parameters.keeping($0) } ?? parameters }
        guard !steps.isEmpty else { return try Transformer(config: config, parameters: kept(weights.finish()), processing: record) }

        for step in steps { try step.implementation.prepare(weights) }
        try weights.adoptConfig()
        for layer in 0..<config.nLayers {
            if Task.isCancelled { throw LensError(.cancelled, "processing the weights was cancelled", at: "before layer \(layer)") }
            for step in steps { try step.implementation.rewrite(block: "blocks.\(layer)", weights) }
            try weights.close()
        }
        for step in steps { try step.implementation.rewriteEnds(weights) }
        try weights.close()
        for step in steps { step.implementation.conclude(&weights.config) }
        try weights.adoptConfig()
        // Unpacked weights are larger than what a run's buffers are kept for.
        BufferPool.shared.empty()
        record.done = WeightProcessing.Step.allCases.filter { record.done.contains($0) || steps.contains($0) }
        return try Transformer(config: weights.config, parameters: kept(weights.finish()), processing: record)
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
