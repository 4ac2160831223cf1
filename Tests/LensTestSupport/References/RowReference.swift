// Norms, softmax, cross-entropy and rotary embeddings in Double.
import Foundation

func expOf(_ x: Double) -> Double { exp(x) }
func logOf(_ x: Double) -> Double { log(x) }
func tanhOf(_ x: Double) -> Double { tanh(x) }
func erfcOf(_ x: Double) -> Double { erfc(x) }

/// One row normalised, before weight and bias, and its scale. `centred`: LayerNorm; otherwise RMSNorm.
/// The tolerances follow from the sums' errors, relative to the row's largest element: n roundings at worst in the
/// mean and the mean square.
public func referenceNorm(_ x: [Float], eps: Float, centred: Bool) -> (normalized: [Expected], scale: Expected) {
    let n = Double(x.count), wide = x.map(Double.init)
    let mean = centred && !x.isEmpty ? wide.reduce(0, +) / n : 0
    let rest = wide.map { $0 - mean }
    let square = x.isEmpty ? 0 : rest.map { $0 * $0 }.reduce(0, +) / n
    let scale = (square + Double(eps)).squareRoot()
    let largest = wide.map(sizeOf).max() ?? 0
    let steps = n / 16 + 8 // roundings along one lane and its reduction
    let meanError = centred ? steps * roundoff * largest + roundoff * sizeOf(mean) : 0
    let scaleError = steps * roundoff * scale + 2 * meanError + 2 * roundoff * scale
    let relative: Double = scaleError / scale + 4 * roundoff
    let normalized = rest.map { (c: Double) -> Expected in
        let value = c / scale
        let error: Double = (meanError + roundoff * sizeOf(c)) / scale + sizeOf(value) * relative
        return Expected(value, within: error.isFinite ? error : 0)
    }
    return (normalized, Expected(scale, within: scaleError.isFinite ? scaleError + 0x1p-149 : 0))
}

/// Softmax of one row; everything masked (no NaN, nothing above -inf) gives zeros.
public func referenceSoftmax(_ x: [Float]) -> [Expected] {
    let wide = x.map(Double.init)
    let hasNaN = wide.contains { $0.isNaN }
    let largest = wide.filter { !$0.isNaN }.max() ?? -.infinity
    if largest == -.infinity && !hasNaN { return wide.map { _ in Expected(0, within: 0) } }
    let e = wide.map { exp($0 - largest) }
    let sum = e.reduce(0, +)
    let steps = Double(wide.count) / 16 + 16
    return zip(e, wide).map { (e: Double, x: Double) -> Expected in
        // x - max rounds relative to itself, which the exponential turns into a relative error of that size.
        let roundings: Double = 2 * sizeOf(x - largest) + steps
        return Expected(e / sum, within: sizeOf(e / sum) * roundoff * roundings + 0x1p-149)
    }
}

/// log softmax of one row, as IEEE arithmetic gives it.
public func referenceLogSoftmax(_ x: [Float]) -> [Expected] {
    let wide = x.map(Double.init)
    let largest = wide.filter { !$0.isNaN }.max() ?? -.infinity
    let sum = wide.map { exp($0 - largest) }.reduce(0, +)
    let steps: Double = Double(wide.count) / 16 + 16 + 4 * sizeOf(log(sum))
    return wide.map { (x: Double) -> Expected in
        let value: Double = x - largest - log(sum)
        return Expected(value, within: roundoff * (3 * sizeOf(x - largest) + steps))
    }
}

/// x: [heads, d_head] of one position, its rotary_dim / 2 cosines and sines.
public func referenceRotary(_ x: [Float], heads: Int, cos: [Float], sin: [Float], adjacent: Bool) -> [Expected] {
    let width = heads == 0 ? 0 : x.count / heads, half = cos.count
    var result = x.map { Expected(Double($0), within: 0) }
    for h in 0..<heads {
        for i in 0..<half {
            let first = h * width + (adjacent ? 2 * i : i), second = h * width + (adjacent ? 2 * i + 1 : i + half)
            let a = Double(x[first]), b = Double(x[second]), c = Double(cos[i]), s = Double(sin[i])
            let error = 3 * roundoff * (sizeOf(a) + sizeOf(b))
            result[first] = Expected(a * c - b * s, within: error)
            result[second] = Expected(b * c + a * s, within: error)
        }
    }
    return result
}
