// The real Fourier basis of functions on 0 ..< p: what a model that adds modulo p turns out to compute in (Nanda et al. 2023).

import LensFiles
import LensTensor

/// Orthonormal functions on 0 ..< p: the constant, then the cosine and the sine of each frequency 1 … p / 2 (for an even p the
/// last frequency has a cosine only).
public struct FourierBasis: Sendable {
    public let modulus: Int
    /// `[p, p]`, row by row, in double.
    private let rows: [[Double]]

    /// - Throws: `LensError(.usage)` for a modulus below 2.
    public init(modulus p: Int) throws {
        guard p >= 2 else { throw LensError(.usage, "a modulus out of range", expected: "at least 2", found: "\(p)") }
        modulus = p
        var rows = [[Double](repeating: 1 / Double(p).squareRoot(), count: p)]
        for frequency in 1...p / 2 {
            let angles = (0..<p).map { 2 * Double.pi * Double(frequency * $0 % p) / Double(p) }
            let isHalf = 2 * frequency == p, scale = ((isHalf ? 1 : 2) / Double(p)).squareRoot()
            rows.append(angles.map { scale * cosine($0) })
            if !isHalf { rows.append(angles.map { scale * sine($0) }) }
        }
        self.rows = rows
    }

    /// The frequencies: 1 … p / 2.
    public var frequencies: ClosedRange<Int> { 1...modulus / 2 }

    /// Rows of the basis that belong to a frequency; 0: the constant.
    private func indices(of frequency: Int) -> [Int] {
        frequency == 0 ? [0] : [2 * frequency - 1, 2 * frequency].filter { $0 < modulus }
    }

    /// How much of each frequency is in `table: [p, width]` as a function of its row: the squared norm of its cosine and sine
    /// components, for frequencies 1 … p / 2.
    /// - Throws: `LensError(.shape)`.
    public func power(_ table: Tensor) throws -> [Double] {
        let components = try components(table), width = table.shape[1]
        return frequencies.map { frequency in
            indices(of: frequency).reduce(0.0) { sum, row in
                sum + components[row * width..<(row + 1) * width].reduce(0.0) { $0 + $1 * $1 }
            }
        }
    }

    /// The part of `table: [p, width]` that is of these frequencies (0: the constant).
    /// - Throws: `LensError(.shape)`.
    public func projection(_ table: Tensor, onto frequencies: [Int]) throws -> Tensor {
        let components = try components(table), width = table.shape[1]
        var sums = [Double](repeating: 0, count: table.count)
        for row in Set(frequencies.flatMap(indices)).sorted() {
            for place in 0..<modulus {
                let factor = rows[row][place]
                for column in 0..<width { sums[place * width + column] += factor * components[row * width + column] }
            }
        }
        return try Tensor(sums.map { Float($0) }, shape: table.shape)
    }

    private func components(_ table: Tensor) throws -> [Double] {
        guard table.rank == 2, table.shape[0] == modulus else {
            throw LensError(.shape, "a table of the numbers below \(modulus)", expected: "[\(modulus), width]", found: "\(table.shape)")
        }
        let width = table.shape[1]
        var components = [Double](repeating: 0, count: table.count)
        try table.withUnsafeElements { elements in
            for (index, row) in rows.enumerated() {
                for (place, factor) in row.enumerated() {
                    for column in 0..<width { components[index * width + column] += factor * Double(elements[place * width + column]) }
                }
            }
        }
        return components
    }
}
