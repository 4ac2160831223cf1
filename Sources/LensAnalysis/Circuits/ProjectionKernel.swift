// How much two linear subspaces overlap: the projection kernel ‖UᵀV‖²_F of orthonormal bases, the sum of the squared cosines
// of the principal angles. TransformerLens 3.9's `tools.analysis.projection_kernel`.

import Foundation
import LensFiles
import LensModel
import LensTensor

/// An orthonormal basis of a matrix' column space.
public struct SubspaceBasis: Sendable {
    /// `[ambient, rank]`
    public let basis: Tensor
    /// All singular values of the matrix, falling.
    public let singularValues: Tensor
    /// Directions kept.
    public let rank: Int
    /// The matrix' rank, before any were left out.
    public let measuredRank: Int
    /// The relative tolerance and the least singular value it comes to.
    public let relativeTolerance: Double, threshold: Double
    public var ambientDim: Int { basis.shape[0] }

    /// - Parameters:
    ///   - matrix: `[ambient, width]`.
    ///   - rank: keep only so many leading directions.
    ///   - relativeTolerance: singular values up to this share of the largest do not count; by default the longer side times 2⁻²³.
    /// - Throws: `LensError(.shape)` for no matrix, `(.usage)` for numbers that are not finite, a rank of 0 or one the matrix has not.
    public init(of matrix: Tensor, rank: Int? = nil, relativeTolerance: Double? = nil) throws {
        guard matrix.rank == 2, matrix.count > 0 else { throw LensError(.shape, "not a matrix", expected: "[ambient, width], both from 1", found: "\(matrix.shape)") }
        guard matrix.array.allSatisfy(\.isFinite) else { throw LensError(.usage, "a matrix must contain only finite values") }
        let most = matrix.shape.min() ?? 0
        guard rank.map({ (1...most).contains($0) }) ?? true else {
            throw LensError(.usage, "no such rank", expected: "1...\(most)", found: "\(rank ?? 0)")
        }
        let tolerance = relativeTolerance ?? Double(matrix.shape.max() ?? 1) * Double(Float.ulpOfOne)
        guard tolerance.isFinite, tolerance >= 0 else { throw LensError(.usage, "a tolerance must be finite and not negative", found: "\(tolerance)") }
        // The thin side in the middle: the decomposition of the matrix itself.
        let (u, s, _) = try FactoredMatrix(matrix, Tensor(identity: matrix.shape[1])).svd()
        let values = s.array.map(Double.init), threshold = (values.first ?? 0) * tolerance, measured = values.count { $0 > threshold }
        guard measured > 0 else { throw LensError(.usage, "the matrix' numerical rank is zero", found: "shape \(matrix.shape)") }
        if let rank, rank > measured { throw LensError(.usage, "the matrix has not this rank", expected: "at most \(measured)", found: "\(rank)") }
        self.rank = rank ?? measured
        basis = try u.at(.all, .upTo(self.rank)).contiguous()
        singularValues = s
        measuredRank = measured
        self.relativeTolerance = tolerance
        self.threshold = threshold
    }
}

extension Tensor {
    /// The identity matrix, `[size, size]`.
    fileprivate init(identity size: Int) throws {
        var elements = [Float](repeating: 0, count: size * size)
        for index in 0..<size { elements[index * size + index] = 1 }
        self = try Tensor(elements, shape: [size, size])
    }
}

/// How much two subspaces overlap.
public struct ProjectionKernel: Sendable, Hashable {
    /// ‖UᵀV‖²_F: 0 to the smaller rank.
    public let score: Double
    /// Over √(rank · rank): the cosine between the projections.
    public let normalized: Double
    /// Cosines of the principal angles, falling, and the angles in radians.
    public let cosines: [Double], angles: [Double]

    /// - Throws: `LensError(.shape)` for subspaces of different spaces.
    public init(_ a: SubspaceBasis, _ b: SubspaceBasis) throws {
        guard a.ambientDim == b.ambientDim else {
            throw LensError(.shape, "subspaces of different spaces", expected: "\(a.ambientDim) dimensions", found: "\(b.ambientDim)")
        }
        let overlap = try FactoredMatrix(a.basis.permuted(1, 0).contiguous(), b.basis)
        cosines = try overlap.svd().S.array.prefix(min(a.rank, b.rank)).map { min(1, max(0, Double($0))) }
        angles = cosines.map(acos)
        score = min(Double(min(a.rank, b.rank)), cosines.reduce(0) { $0 + $1 * $1 })
        normalized = score / Double(a.rank * b.rank).squareRoot()
    }

    /// Mean and variance of the score of two independent random subspaces of one rank: what to compare with, no p-value.
    /// - Throws: `LensError(.usage)` for a rank the space has not.
    public static func randomMoments(ambientDim: Int, rank: Int) throws -> (mean: Double, variance: Double) {
        guard ambientDim >= 2, (1...ambientDim).contains(rank) else {
            throw LensError(.usage, "no such subspace", expected: "a rank of 1...\(max(ambientDim, 1)) in 2 dimensions or more", found: "\(rank) in \(ambientDim)")
        }
        let n = Double(ambientDim), r = Double(rank)
        return (r * r / n, 2 * r * r * (n - r) * (n - r) / (n * n * (n - 1) * (n + 2)))
    }
}
