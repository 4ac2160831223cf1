// What activations are when quantised weights multiply them: as they are, or rounded to eight bits on their way into a product.

/// What activations are in products with quantised weights. Raw values are the command line's names.
///
/// With `int8` every row of a product's input is rounded in groups of the rows that share a scale in the weights (32; 16 for q2_K,
/// q3_K and q6_K; fewer where a head ends): to integers from -127 to 127 times the group's largest magnitude over 127, as ggml's
/// Q8_0 is. What is rounded is the product's own input: activations that hooks see and edit, and all else that a model computes,
/// stay float32. Each element of a product is then off by at most Σ over groups of max |x| / 254 · Σ |W|. Sums of integers are
/// exact and the rest has one order, so the bits are the same for every shape, number of threads and instruction set.
///
/// Gradients go straight through the rounding (Bengio et al., 2013): those of the product with the activations as they are.
public enum ActivationFormat: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// As they are.
    case float32 = "f32"
    /// Rounded to eight bits where weights are quantised.
    case int8

    public var description: String { rawValue }
}

extension PackedMatrix {
    /// The same weights, sharing their storage, for products that take activations so. Weights that are not quantised take
    /// float32 ones whatever is asked for.
    public func multiplying(_ activations: ActivationFormat) -> PackedMatrix {
        let activations = format.isQuantized ? activations : .float32
        return activations == self.activations ? self : PackedMatrix(sharing: self, graph, activations)
    }
}
