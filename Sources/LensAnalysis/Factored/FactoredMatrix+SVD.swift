// Singular values, eigenvalues and norms of a factored matrix, from its factors, in double precision.

import LensFiles
import LensTensor

/// Complex numbers as two tensors of one shape.
public struct ComplexTensor: Sendable {
    public let real: Tensor
    public let imaginary: Tensor

    public var shape: [Int] { real.shape }
    /// Absolute values.
    public var magnitude: Tensor {
        get throws {
            let squares = try real * real + imaginary * imaginary
            return try Tensor(squares.array.map { $0.squareRoot() }, shape: shape)
        }
    }
}

extension FactoredMatrix {
    /// The singular value decomposition `A·B = U · diag(S) · Vᵀ`: `A` and `B` are decomposed, then the small matrix between them.
    /// - Returns: U `[…, l, n]`, S `[…, n]` falling, V `[…, r, n]`, n = min(l, m, r). Signs of vectors are LAPACK's.
    /// - Throws: `LensError(.usage)` for numbers that are not finite, `(.machine)` if LAPACK is absent or does not converge.
    public func svd() throws -> (U: Tensor, S: Tensor, V: Tensor) {
        let parts = try decompositions(), n = min(ldim, mdim, rdim)
        func gather(_ shape: [Int], _ part: (FactoredSVD) -> [Double]) throws -> Tensor {
            try Tensor(parts.flatMap { part($0).map { Float($0) } }, shape: leading + shape)
        }
        return (try gather([ldim, n], \.u), try gather([n], \.s), try gather([rdim, n], \.v))
    }

    public var U: Tensor { get throws { try svd().U } }
    public var S: Tensor { get throws { try svd().S } }
    public var V: Tensor { get throws { try svd().V } }

    /// The decomposition of each matrix along the leading axes.
    private func decompositions() throws -> [FactoredSVD] {
        try matrices().map { try FactoredSVD($0, $1, rows: ldim, columns: rdim, inner: mdim) }
    }

    /// Each pair of factors along the leading axes, row-major, in double precision.
    private func matrices() throws -> [(a: [Double], b: [Double])] {
        let count = leading.reduce(1, *), a = ldim * mdim, b = mdim * rdim
        return try A.withUnsafeElements { left in
            try B.withUnsafeElements { right in
                (0..<count).map { index in (left[index * a..<(index + 1) * a].map(Double.init), right[index * b..<(index + 1) * b].map(Double.init)) }
            }
        }
    }

    /// The eigenvalues of A·B other than the zeros it has for being thin: those of B·A, `[…, m]`, in LAPACK's order.
    /// - Throws: `LensError(.shape)` if it is not square; as `svd`.
    public var eigenvalues: ComplexTensor {
        get throws {
            try checkSquare("eigenvalues")
            let values = try matrices().map { a, b in try LAPACK.eigenvalues(product(b, a, rows: mdim, inner: ldim, columns: mdim), size: mdim) }
            return ComplexTensor(real: try Tensor(values.flatMap { $0.real.map { Float($0) } }, shape: leading + [mdim]),
                                 imaginary: try Tensor(values.flatMap { $0.imaginary.map { Float($0) } }, shape: leading + [mdim]))
        }
    }

    /// The Frobenius norm, `[…]`: √tr(AᵀA·BBᵀ).
    public func norm() throws -> Tensor {
        let norms = try matrices().map { a, b -> Float in
            let left = product(transposed(a, rows: ldim, columns: mdim), a, rows: mdim, inner: ldim, columns: mdim)
            let right = product(b, transposed(b, rows: mdim, columns: rdim), rows: mdim, inner: rdim, columns: mdim)
            return Float(max(0, zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }).squareRoot())
        }
        return try Tensor(norms, shape: leading)
    }

    /// The same matrix with singular values shared evenly: `(U·√S) · (√S·Vᵀ)`.
    public func makeEven() throws -> FactoredMatrix {
        let (u, s, v) = try svd(), root = try Tensor(s.array.map { $0.squareRoot() }, shape: leading + [1, s.shape.last ?? 0])
        return try FactoredMatrix(u * root, (v * root).movingAxis(-1, to: -2))
    }

    /// S·Vᵀ, `[…, n, r]`: the matrix up to a rotation of its rows, which no norm notices.
    public func collapseL() throws -> Tensor {
        let (_, s, v) = try svd()
        return try (v * s.reshaped(leading + [1, s.shape.last ?? 0])).movingAxis(-1, to: -2).contiguous()
    }

    /// U·S, `[…, l, n]`.
    public func collapseR() throws -> Tensor {
        let (u, s, _) = try svd()
        return try u * s.reshaped(leading + [1, s.shape.last ?? 0])
    }
}
