// Derivatives by differences in Double, and what the backward kernels are tried against.

/// The derivative of `function` at `x` from four points around it: wrong by about 1e-12 of a smooth function of size 1.
public func slope(at x: Double, step: Double = 1e-3, of function: (Double) -> Double) -> Double {
    (8 * (function(x + step) - function(x - step)) - (function(x + 2 * step) - function(x - 2 * step))) / (12 * step)
}

/// The gradient of a function of many numbers, one after another.
public func differences(of function: ([Double]) -> Double, at x: [Double], step: Double = 1e-3) -> [Double] {
    x.indices.map { index in
        slope(at: x[index], step: step) { value in
            var moved = x
            moved[index] = value
            return function(moved)
        }
    }
}

/// One row through a norm, in Double: `out`, `normalized` and the scale, which may be given.
public func referenceNorm(_ x: [Double], eps: Double, centred: Bool, scale given: Double? = nil, weight: [Double]? = nil,
                          bias: [Double]? = nil) -> (out: [Double], normalized: [Double], scale: Double) {
    let n = Double(x.count), mean = centred ? x.reduce(0, +) / n : 0
    let scale = given ?? (x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n + eps).squareRoot()
    let normalized = x.map { ($0 - mean) / scale }
    let out = normalized.indices.map { normalized[$0] * (weight?[$0] ?? 1) + (bias?[$0] ?? 0) }
    return (out, normalized, scale)
}

/// log-softmax of a row, in Double.
public func referenceLogSoftmax(_ x: [Double]) -> [Double] {
    let largest = x.max() ?? 0, sum = x.reduce(0) { $0 + expOf($1 - largest) }
    return x.map { $0 - largest - logOf(sum) }
}

/// The sum of products.
public func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for i in 0..<a.count { sum += a[i] * b[i] }
    return sum
}
