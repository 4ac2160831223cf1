// A symmetric positive definite system of equations in double, by Cholesky's decomposition: what least squares comes to.

import LensFiles

/// The sum of products of rows with themselves, and the solution of equations with it.
struct SymmetricSystem {
    private let size: Int
    /// `[size, size]`, the lower half.
    private var values: [Double]

    init(_ size: Int) {
        self.size = size
        values = [Double](repeating: 0, count: size * size)
    }

    /// Adds rᵀr of the row that begins at `offset`.
    mutating func add(_ rows: [Double], _ offset: Int) {
        values.withUnsafeMutableBufferPointer { values in
            rows.withUnsafeBufferPointer { rows in
                for i in 0..<size {
                    let factor = rows[offset + i]
                    for j in 0...i { values[i * size + j] += factor * rows[offset + j] }
                }
            }
        }
    }

    /// The solution of `(A + ridge · 1) x = right`, `[size, columns]`.
    /// - Throws: `LensError(.usage)` where there is no single one.
    func solve(_ right: [Double], columns: Int, ridge: Double) throws -> [Double] {
        let size = size
        var factor = values, solution = right
        let largest = (0..<size).reduce(0.0) { max($0, values[$1 * size + $1]) }
        let isSolvable = factor.withUnsafeMutableBufferPointer { l -> Bool in
            for i in 0..<size { l[i * size + i] += ridge }
            for j in 0..<size {
                var diagonal = l[j * size + j]
                for k in 0..<j { diagonal -= l[j * size + k] * l[j * size + k] }
                guard diagonal > 1e-13 * (largest + ridge), diagonal.isFinite else { return false }
                let root = diagonal.squareRoot()
                l[j * size + j] = root
                for i in j + 1..<max(j + 1, size) {
                    var sum = l[i * size + j]
                    for k in 0..<j { sum -= l[i * size + k] * l[j * size + k] }
                    l[i * size + j] = sum / root
                }
            }
            return true
        }
        guard isSolvable else {
            throw LensError(.usage, "features that depend on each other", expected: "as many independent ones as there are", advice: "give l2 above 0")
        }
        for column in 0..<columns {
            for i in 0..<size {
                var sum = solution[i * columns + column]
                for k in 0..<i { sum -= factor[i * size + k] * solution[k * columns + column] }
                solution[i * columns + column] = sum / factor[i * size + i]
            }
            for i in (0..<size).reversed() {
                var sum = solution[i * columns + column]
                for k in i + 1..<max(i + 1, size) { sum -= factor[k * size + i] * solution[k * columns + column] }
                solution[i * columns + column] = sum / factor[i * size + i]
            }
        }
        return solution
    }
}
