// Many parameters replaced at once: what a step of training does.

import LensFiles
import LensTensor

extension Transformer {
    /// The model with some parameters replaced, by TransformerLens' names and in its shapes. The rest is shared, not copied.
    /// Tied embeddings stay tied: theirs is `unembed.W_U`.
    /// - Throws: `LensError(.weights)` for an unknown or mis-shaped one.
    public func with(_ tensors: [String: Tensor]) throws -> Transformer {
        for name in tensors.keys.sorted() where !parameters.has(name) {
            throw LensError(.weights, "unknown parameter", at: name, expected: "a parameter of this configuration")
        }
        return try Transformer(config: config, parameters: parameters.carried(to: config, with: tensors), processing: processing)
    }
}
