// What an analysis takes for a model: a `Transformer`, or something that holds one.

import LensModel

/// A model that analyses can look into: a `Transformer`, a `HookedTransformer`, a scope of one.
public protocol HasTransformer {
    /// The model on tokens.
    var model: Transformer { get }
}

extension Transformer: HasTransformer {
    public var model: Transformer { self }
}
