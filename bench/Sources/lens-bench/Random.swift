// Inputs for the kernels.

import TransformerLens

/// Numbers in -1 ..< 1, the same for a seed.
func randomTensor(_ shape: [Int], seed: UInt64) throws -> Tensor {
    var state = seed
    let values = (0..<shape.reduce(1, *)).map { _ -> Float in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
    }
    return try Tensor(values, shape: shape)
}
