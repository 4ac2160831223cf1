// Matrix products and their epilogues in Double, with the error a float32 chain may make.

/// The activations of transformer layers, in Double.
public enum ReferenceActivation: Int, CaseIterable, Sendable {
    case none, relu, gelu, geluNew, geluFast, silu, tanh, exp, sigmoid
}

extension ReferenceActivation {
    public func callAsFunction(_ x: Double) -> Double {
        switch self {
        case .none: x
        case .relu: x < 0 ? 0 : x
        case .gelu: 0.5 * x * erfcOf(-x * 0.5.squareRoot())
        case .geluNew: x / (1 + expOf(-2 * 0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)))
        case .geluFast: x / (1 + expOf(-2 * 0.7978845608 * x * (1 + 0.044715 * x * x)))
        case .silu: x / (1 + expOf(-x))
        case .tanh: tanhOf(x)
        case .exp: expOf(x)
        case .sigmoid: 1 / (1 + expOf(-x))
        }
    }

    /// A bound of the derivative's size: how much an error before the activation grows.
    public func slope(near x: Double) -> Double { self == .exp ? expOf(x) * 1.01 : 1.2 }

    /// Absolute error of the float32 kernel for a float x: 2 ulp of the larger of x and the result.
    public func tolerance(at x: Double) -> Double {
        switch self {
        case .none, .relu: 0
        case .gelu, .geluNew, .geluFast, .silu: 2 * ulp(max(abs(x), abs(self(x))))
        case .tanh: 2 * ulp(self(x))
        case .exp: 1.5 * ulp(self(x))
        // Below -88.7 e^-x is infinite and the result 0, where the exact one is denormal.
        case .sigmoid: 3 * ulp(self(x)) + 0x1p-126
        }
    }
}

/// x[m, k] · w[k, n] in Double. The tolerance is the bound of any order of summation: (k + 2) roundings of Σ|x w|.
public func referenceProduct(_ x: [Float], _ w: [Float], m: Int, k: Int, n: Int) -> [Expected] {
    var result = [Expected](repeating: Expected(0, within: 0), count: m * n)
    let wide = w.map(Double.init)
    var sums = [Double](repeating: 0, count: n), magnitudes = sums
    for i in 0..<m {
        for j in 0..<n { sums[j] = 0; magnitudes[j] = 0 }
        for l in 0..<k {
            let factor = Double(x[i * k + l])
            for j in 0..<n {
                let product = factor * wide[l * n + j]
                sums[j] += product
                magnitudes[j] += abs(product)
            }
        }
        for j in 0..<n {
            // A reference with NaN or infinity has no meaningful magnitude; expectClose compares those exactly.
            let bound = magnitudes[j].isFinite ? Double(k + 2) * roundoff * magnitudes[j] : 0
            result[i * n + j] = Expected(sums[j], within: bound + 0x1p-149)
        }
    }
    return result
}

/// What may ride on a product, as arrays of m rows of n columns.
public struct ReferenceEpilogue: Sendable {
    public var bias: [Float]?
    public var activation = ReferenceActivation.none
    public var gate: [Float]?
    public var residual: [Float]?

    public init(bias: [Float]? = nil, activation: ReferenceActivation = .none, gate: [Float]? = nil,
                residual: [Float]? = nil) {
        self.bias = bias
        self.activation = activation
        self.gate = gate
        self.residual = residual
    }

    /// x·W + bias, each element of `product` with its column's bias.
    public func linear(_ product: [Expected], n: Int) -> [Expected] {
        guard let bias else { return product }
        return product.enumerated().map { i, e in
            let value = e.value + Double(bias[i % n])
            return Expected(value, within: e.tolerance + 2 * roundoff * sizeOf(value))
        }
    }

    /// The whole epilogue of `linear`.
    public func callAsFunction(_ linear: [Expected]) -> [Expected] {
        linear.enumerated().map { i, e in
            var value: Double, tolerance: Double
            if let gate {
                let opened = activation(Double(gate[i]))
                value = opened * e.value
                tolerance = e.tolerance * sizeOf(opened)
                    + sizeOf(e.value) * (activation.tolerance(at: Double(gate[i])) + roundoff * sizeOf(opened))
            } else {
                value = activation(e.value)
                tolerance = e.tolerance * activation.slope(near: e.value) + activation.tolerance(at: e.value)
            }
            tolerance += roundoff * sizeOf(value)
            if let residual {
                value += Double(residual[i])
                tolerance += 2 * roundoff * sizeOf(value)
            }
            return Expected(value, within: tolerance + 0x1p-149)
        }
    }
}

/// |x|, or 0 where x is not finite (its error is judged exactly, not by a tolerance).
func sizeOf(_ x: Double) -> Double { x.isFinite ? abs(x) : 0 }
