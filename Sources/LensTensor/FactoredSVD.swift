// The singular value decomposition of a product A·B that is thin in the middle, without forming it: by the decompositions of
// A, of B, and of the small matrix between them (as TransformerLens' FactoredMatrix does it).

/// `A·B = U · diag(S) · Vᵀ` with A `[rows, inner]`, B `[inner, columns]`.
package struct FactoredSVD: Sendable {
    /// `[rows, n]`, n = min(rows, columns, inner).
    package let u: [Double]
    /// `[n]`, falling.
    package let s: [Double]
    /// `[columns, n]`
    package let v: [Double]
    package let count: Int

    /// - Throws: `LensError`, as `LAPACK.svd`.
    package init(_ a: [Double], _ b: [Double], rows: Int, columns: Int, inner: Int) throws {
        let left = try LAPACK.svd(a, rows: rows, columns: inner), right = try LAPACK.svd(b, rows: inner, columns: columns)
        let m = left.s.count, n = right.s.count
        // diag(S_A) · Vᵀ_A · U_B · diag(S_B): [m, n]
        var middle = product(left.vt, right.u, rows: m, inner: inner, columns: n)
        for i in 0..<m { for j in 0..<n { middle[i * n + j] *= left.s[i] * right.s[j] } }
        let center = try LAPACK.svd(middle, rows: m, columns: n)
        count = center.s.count
        s = center.s
        u = product(left.u, center.u, rows: rows, inner: m, columns: count)
        // V = V_B · V_center, [columns, n]·[n, count].
        v = product(transposed(right.vt, rows: n, columns: columns), transposed(center.vt, rows: count, columns: n),
                    rows: columns, inner: n, columns: count)
    }

    /// Of A·Bᵀ, with B `[columns, inner]`.
    package init(_ a: [Double], transposed b: [Double], rows: Int, columns: Int, inner: Int) throws {
        try self.init(a, LensTensor.transposed(b, rows: columns, columns: inner), rows: rows, columns: columns, inner: inner)
    }
}

/// `a·b` of row-major matrices `[rows, inner]` and `[inner, columns]`, in double precision.
package func product(_ a: [Double], _ b: [Double], rows: Int, inner: Int, columns: Int) -> [Double] {
    var result = [Double](repeating: 0, count: rows * columns)
    result.withUnsafeMutableBufferPointer { result in
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                for i in 0..<rows {
                    for k in 0..<inner {
                        let factor = a[i * inner + k]
                        for j in 0..<columns { result[i * columns + j] += factor * b[k * columns + j] }
                    }
                }
            }
        }
    }
    return result
}

/// The transpose of a row-major matrix `[rows, columns]`.
package func transposed(_ a: [Double], rows: Int, columns: Int) -> [Double] {
    var result = [Double](repeating: 0, count: a.count)
    for i in 0..<rows { for j in 0..<columns { result[j * rows + i] = a[i * columns + j] } }
    return result
}
