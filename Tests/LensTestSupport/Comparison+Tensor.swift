// Comparing tensors: within a tolerance of the reference's largest finite magnitude, or bit for bit. NaN is looked for
// first and never equals anything; infinities must stand exactly where the reference has them.

import Foundation
import LensTensor

/// The tolerance of the goldens, relative to a tensor's largest finite magnitude.
public let goldenTolerance = 2e-5

/// How a tensor differs from its reference.
public struct Difference: Sendable {
    /// The largest finite error over the largest finite magnitude of the reference.
    public var largest = 0.0
    /// What is wrong: the first element that does not fit. nil if all do.
    public var problem: String?
}

/// Compares element by element.
public func difference(_ actual: Tensor, _ expected: Tensor, tolerance: Double = goldenTolerance) -> Difference {
    var result = Difference()
    guard actual.shape == expected.shape else {
        result.problem = "shape \(actual.shape), expected \(expected.shape)"
        return result
    }
    let found = actual.array, wanted = expected.array
    let magnitude = Double(wanted.filter(\.isFinite).map(abs).max() ?? 0)
    var firstWrong: Int?
    var wrong = 0
    for index in wanted.indices {
        let x = found[index], y = wanted[index]
        var fits: Bool
        if x.isNaN || y.isNaN {
            fits = false
        } else if x.isInfinite || y.isInfinite {
            fits = x == y
        } else {
            let error = abs(Double(x) - Double(y))
            fits = error <= tolerance * magnitude
            if error > 0 { result.largest = max(result.largest, magnitude > 0 ? error / magnitude : .infinity) }
        }
        if !fits {
            wrong += 1
            firstWrong = firstWrong ?? index
        }
    }
    if let firstWrong {
        result.problem = "\(wrong) of \(wanted.count) elements are wrong, first \(place(firstWrong, in: expected.shape)): \(found[firstWrong]), "
            + "expected \(wanted[firstWrong]); largest error \(result.largest) of the largest magnitude \(magnitude)"
    }
    return result
}

/// Compares bit for bit. - Returns: what is wrong, nil if nothing is.
public func bitDifference(_ actual: Tensor?, _ expected: Tensor?) -> String? {
    guard let actual, let expected else { return actual == nil && expected == nil ? nil : "one of the two is absent" }
    guard actual.shape == expected.shape else { return "shape \(actual.shape), expected \(expected.shape)" }
    let found = actual.array, wanted = expected.array
    if memcmp(found, wanted, found.count * MemoryLayout<Float>.stride) == 0 { return nil }
    let wrong = wanted.indices.filter { found[$0].bitPattern != wanted[$0].bitPattern }
    guard let first = wrong.first else { return nil }
    return "\(wrong.count) of \(wanted.count) elements have other bits, first \(place(first, in: expected.shape)): \(found[first]), expected \(wanted[first])"
}

/// The indices of the element at `offset` in row-major order.
private func place(_ offset: Int, in shape: [Int]) -> [Int] {
    var rest = offset
    return shape.reversed().map { size in
        defer { rest /= size }
        return rest % size
    }.reversed()
}
