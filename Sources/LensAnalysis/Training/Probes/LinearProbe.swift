// Linear probes: is something readable off an activation by one matrix? Least squares (ridge) in closed form, and logistic
// regression to convergence; both on what a cache holds, part of it held out.

import LensFiles
import LensModel
import LensTensor

/// A linear map of activations: scores `x · weights + bias`.
public struct LinearProbe: Sendable {
    /// `[width, outputs]`
    public let weights: Tensor
    /// `[outputs]`
    public let bias: Tensor

    public init(weights: Tensor, bias: Tensor) {
        self.weights = weights
        self.bias = bias
    }

    /// Scores of rows `[…, width]`: `[…, outputs]`.
    /// - Throws: `LensError(.shape)`.
    public func scores(_ x: Tensor) throws -> Tensor { try x.matmul(weights) + bias }

    /// The output of the largest score of each row.
    public func predictions(_ x: Tensor) throws -> [Int] { try scores(x).argmax().array }

    /// The share of rows whose largest score is their label's.
    public func accuracy(_ x: Tensor, labels: [Int]) throws -> Double {
        let found = try predictions(x)
        guard found.count == labels.count, !labels.isEmpty else { throw LensError(.shape, "labels", expected: "one for each of \(found.count) rows", found: "\(labels.count)") }
        return Double(zip(found, labels).count { $0 == $1 }) / Double(labels.count)
    }

    /// The share of the targets' variance that scores explain (R²), over all outputs.
    public func explainedVariance(_ x: Tensor, targets: Tensor) throws -> Double {
        let residual = try (scores(x) - targets).squareSum(), count = targets.shape[0], outputs = targets.shape[1]
        var means = [Double](repeating: 0, count: outputs), total = 0.0
        let values = targets.array
        for (index, value) in values.enumerated() { means[index % outputs] += Double(value) / Double(count) }
        for (index, value) in values.enumerated() { total += (Double(value) - means[index % outputs]) * (Double(value) - means[index % outputs]) }
        return total == 0 ? .nan : 1 - residual / total
    }

    // MARK: Fitting

    /// The weights that make `Σ (x · w + b − y)² + l2 · Σ w²` least, in double (the bias is not held back).
    /// - Parameters:
    ///   - x: `[rows, width]`. - targets: `[rows, outputs]`.
    /// - Throws: `LensError(.shape)`; `LensError(.usage)` where the features depend on each other and `l2` is 0.
    public static func leastSquares(_ x: Tensor, targets: Tensor, l2: Double = 1e-3) throws -> LinearProbe {
        guard x.rank == 2, targets.rank == 2, x.shape[0] == targets.shape[0], x.shape[0] > 0, l2 >= 0 else {
            throw LensError(.shape, "a probe", expected: "[rows, width] and [rows, outputs], l2 from 0", found: "\(x.shape), \(targets.shape), \(l2)")
        }
        let rows = x.shape[0], width = x.shape[1], outputs = targets.shape[1]
        let (features, featureMeans) = try centredColumns(x), (answers, answerMeans) = try centredColumns(targets)
        var gram = SymmetricSystem(width)
        var right = [Double](repeating: 0, count: width * outputs)
        for row in 0..<rows {
            gram.add(features, row * width)
            features.withUnsafeBufferPointer { features in
                for i in 0..<width {
                    let value = features[row * width + i]
                    for j in 0..<outputs { right[i * outputs + j] += value * answers[row * outputs + j] }
                }
            }
        }
        let solved = try gram.solve(right, columns: outputs, ridge: l2)
        let bias = (0..<outputs).map { j in answerMeans[j] - (0..<width).reduce(0.0) { $0 + featureMeans[$1] * solved[$1 * outputs + j] } }
        return LinearProbe(weights: try Tensor(solved.map { Float($0) }, shape: [width, outputs]), bias: try Tensor(bias.map { Float($0) }, shape: [outputs]))
    }

    private static func centredColumns(_ x: Tensor) throws -> (values: [Double], means: [Double]) {
        let rows = x.shape[0], width = x.shape[1]
        return try x.withUnsafeElements { elements in
            var means = [Double](repeating: 0, count: width)
            for row in 0..<rows { for i in 0..<width { means[i] += Double(elements[row * width + i]) } }
            for i in means.indices { means[i] /= Double(rows) }
            let values = [Double](unsafeUninitializedCapacity: rows * width) { buffer, count in
                for row in 0..<rows { for i in 0..<width { buffer[row * width + i] = Double(elements[row * width + i]) - means[i] } }
                count = rows * width
            }
            return (values, means)
        }
    }

    /// Multinomial logistic regression: mean cross-entropy of the labels plus `l2 / 2 · Σ w²` of the standardised features made
    /// least, by accelerated gradient descent with restarts (O'Donoghue and Candès 2015).
    /// - Parameters:
    ///   - x: `[rows, width]`. - labels: 0 ..< classes.
    /// - Throws: `LensError(.shape)`.
    public static func logistic(_ x: Tensor, labels: [Int], classes: Int? = nil, l2: Double = 1e-3, steps: Int = 500) throws -> LinearProbe {
        let classes = classes ?? (labels.max() ?? 0) + 1
        guard x.rank == 2, x.shape[0] == labels.count, !labels.isEmpty, classes >= 2, labels.allSatisfy((0..<classes).contains), l2 >= 0 else {
            throw LensError(.shape, "a probe", expected: "[rows, width], a label of at least two classes for each row", found: "\(x.shape), \(labels.count) labels of \(classes) classes")
        }
        let width = x.shape[1], scaled = try Standardised(x)
        // Curvature of the loss is at most half the largest eigenvalue of the features' second moments.
        let rate = try 1 / (0.5 * (scaled.largestEigenvalue() + 1) + l2)
        var weights = Tensor(zeros: [width + 1, classes]), ahead = weights, momentum = 1.0
        let decay = try Tensor(repeating: Float(l2), shape: [width, 1]).appendingZeroRow()
        for _ in 0..<steps {
            let leaf = ahead.tracked()
            let loss = try scaled.withOnes.matmul(leaf).meanCrossEntropy(targets: labels)
            let gradient = try gradients(of: loss, to: [leaf])[0] + ahead * decay
            let next = try ahead - gradient.scaled(by: Float(rate)), change = try next - weights
            if try (gradient * change).array.reduce(0.0, { $0 + Double($1) }) > 0 { momentum = 1 }
            let following = (1 + (1 + 4 * momentum * momentum).squareRoot()) / 2
            ahead = try next + change.scaled(by: Float((momentum - 1) / following))
            (weights, momentum) = (next, following)
            if try gradient.squareSum() < 1e-14 { break }
        }
        return try scaled.unscaled(weights)
    }
}

/// Features with mean 0 and deviation 1, and the way back.
private struct Standardised {
    /// `[rows, width + 1]`: the features, then ones.
    let withOnes: Tensor
    private let means: [Double], deviations: [Double]

    init(_ x: Tensor) throws {
        let rows = x.shape[0], width = x.shape[1]
        var means = [Double](repeating: 0, count: width), deviations = means
        let values = try x.withUnsafeElements { elements in
            for row in 0..<rows { for i in 0..<width { means[i] += Double(elements[row * width + i]) / Double(rows) } }
            for row in 0..<rows {
                for i in 0..<width {
                    let difference = Double(elements[row * width + i]) - means[i]
                    deviations[i] += difference * difference / Double(rows)
                }
            }
            for i in 0..<width { deviations[i] = deviations[i] > 0 ? deviations[i].squareRoot() : 1 }
            var values = [Float](repeating: 1, count: rows * (width + 1))
            for row in 0..<rows { for i in 0..<width { values[row * (width + 1) + i] = Float((Double(elements[row * width + i]) - means[i]) / deviations[i]) } }
            return values
        }
        withOnes = try Tensor(values, shape: [rows, width + 1])
        self.means = means
        self.deviations = deviations
    }

    /// Of the features' second moments, by power iteration, from above.
    func largestEigenvalue() throws -> Double {
        let width = withOnes.shape[1], rows = withOnes.shape[0], transposed = try withOnes.permuted(1, 0).contiguous()
        var vector = Tensor(repeating: 1, shape: [width, 1]), value = 1.0
        for _ in 0..<30 {
            let next = try transposed.matmul(withOnes.matmul(vector)), norm = try next.squareSum().squareRoot()
            guard norm > 0 else { return 1 }
            value = try norm / vector.squareSum().squareRoot() / Double(rows)
            vector = try next.scaled(by: Float(1 / norm))
        }
        return 1.1 * value
    }

    func unscaled(_ weights: Tensor) throws -> LinearProbe {
        let width = means.count, classes = weights.shape[1], values = weights.array
        var bias = (0..<classes).map { Double(values[width * classes + $0]) }
        var scaled = [Float](repeating: 0, count: width * classes)
        for i in 0..<width {
            for c in 0..<classes {
                let weight = Double(values[i * classes + c]) / deviations[i]
                scaled[i * classes + c] = Float(weight)
                bias[c] -= weight * means[i]
            }
        }
        return LinearProbe(weights: try Tensor(scaled, shape: [width, classes]), bias: try Tensor(bias.map { Float($0) }, shape: [classes]))
    }
}

extension Tensor {
    /// `[rows, 1]` with a zero below.
    fileprivate func appendingZeroRow() throws -> Tensor { try Tensor(array + [0], shape: [shape[0] + 1, 1]) }
}
