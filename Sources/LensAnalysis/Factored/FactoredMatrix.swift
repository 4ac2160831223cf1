// A product A·B of matrices that is thin in the middle, kept as its factors: a head's W_V·W_O is d_model × d_model numbers as a
// product and 2 × d_model × d_head as factors. Nothing here forms A·B but `AB`, and products whose result is no larger.

import LensFiles
import LensTensor

/// The matrix `A·B`, with A `[…, l, m]` and B `[…, m, r]` (TransformerLens' `FactoredMatrix`). Leading axes broadcast.
///
/// ```swift
/// let ov = try model.OV[5]                    // [head, d_model, d_model], by its factors
/// let spectrum = try ov.svd().S               // [head, d_head]
/// let one = try ov.at(3)                      // one head
/// ```
public struct FactoredMatrix: Sendable {
    /// `[…, l, m]`
    public let A: Tensor
    /// `[…, m, r]`
    public let B: Tensor

    /// - Throws: `LensError(.shape)` if they cannot be multiplied or their leading axes do not broadcast.
    public init(_ A: Tensor, _ B: Tensor) throws {
        guard A.rank >= 2, B.rank >= 2, A.shape[A.rank - 1] == B.shape[B.rank - 2],
              let leading = try? Layout.broadcastShape(Array(A.shape.dropLast(2)), Array(B.shape.dropLast(2))) else {
            throw LensError(.shape, "factors that cannot be multiplied", expected: "[…, l, m] and […, m, r], leading axes that broadcast",
                            found: "\(A.shape) and \(B.shape)")
        }
        self.A = try A.broadcast(to: leading + A.shape.suffix(2))
        self.B = try B.broadcast(to: leading + B.shape.suffix(2))
    }

    /// Rows of the product.
    public var ldim: Int { A.shape[A.rank - 2] }
    /// The size between the factors.
    public var mdim: Int { A.shape[A.rank - 1] }
    /// Columns of the product.
    public var rdim: Int { B.shape[B.rank - 1] }
    /// Axes before the matrix's own.
    public var leading: [Int] { Array(A.shape.dropLast(2)) }
    /// The shape of the product.
    public var shape: [Int] { leading + [ldim, rdim] }
    public var ndim: Int { shape.count }
    public var hasLeadingDims: Bool { ndim > 2 }
    public var pair: (A: Tensor, B: Tensor) { (A, B) }

    /// The transpose.
    public var T: FactoredMatrix {
        get throws { try FactoredMatrix(B.movingAxis(-1, to: -2), A.movingAxis(-1, to: -2)) }
    }

    /// The product itself: `[…, l, r]`.
    public var AB: Tensor {
        get throws { try perMatrix(A, B) { a, b in try a.matmul(b) } }
    }

    /// B·A, `[…, m, m]`, whose eigenvalues are those of A·B.
    /// - Throws: `LensError(.shape)` if A·B is not square.
    public var BA: Tensor {
        get throws {
            try checkSquare("B·A")
            return try perMatrix(B, A) { b, a in try b.matmul(a) }
        }
    }

    func checkSquare(_ what: String) throws {
        guard ldim == rdim else { throw LensError(.shape, "\(what) is for a square matrix", expected: "as many rows as columns", found: "\(shape)") }
    }

    /// `body` of each pair of matrices, the results along the leading axes.
    func perMatrix(_ left: Tensor, _ right: Tensor, _ body: (Tensor, Tensor) throws -> Tensor) throws -> Tensor {
        let count = leading.reduce(1, *)
        let a = try left.reshaped([count] + left.shape.suffix(2)), b = try right.reshaped([count] + right.shape.suffix(2))
        let results = try (0..<count).map { try body(a.at(.at($0)), b.at(.at($0))) }
        guard let shape = results.first?.shape else { return Tensor(zeros: leading + [left.shape[left.rank - 2], right.shape[right.rank - 1]]) }
        return try Tensor.stacked(results).reshaped(leading + shape)
    }

    // MARK: Products

    /// A·B·x: `[…, l]`, of a vector `[r]`.
    public func matmul(vector: Tensor) throws -> Tensor {
        guard vector.shape == [rdim] else { throw LensError(.shape, "product with a vector", expected: "[\(rdim)]", found: "\(vector.shape)") }
        let inner = try B.matmul(vector)
        return try (A * inner.reshaped(inner.shape.dropLast() + [1, mdim])).summed(axis: -1)
    }

    /// x·A·B: `[…, r]`, of a vector `[l]`.
    public func matmul(vectorOnLeft vector: Tensor) throws -> Tensor { try T.matmul(vector: vector) }

    /// A·B·M: `[…, l, k]` of M `[…, r, k]`, multiplied to the factor where that is cheaper.
    public func matmul(_ matrix: Tensor) throws -> FactoredMatrix {
        guard matrix.rank >= 2, matrix.shape[matrix.rank - 2] == rdim else {
            throw LensError(.shape, "product of a factored matrix and a matrix", expected: "[…, \(rdim), k] for \(shape)", found: "\(matrix.shape)")
        }
        return rdim > mdim ? try FactoredMatrix(A, FactoredMatrix(B, matrix).AB) : try FactoredMatrix(AB, matrix)
    }

    /// This matrix times another.
    public func matmul(_ other: FactoredMatrix) throws -> FactoredMatrix {
        try matmul(other.A).matmul(other.B)
    }

    /// Every element times a number.
    public static func * (matrix: FactoredMatrix, factor: Float) throws -> FactoredMatrix { try FactoredMatrix(matrix.A.scaled(by: factor), matrix.B) }
    public static func * (factor: Float, matrix: FactoredMatrix) throws -> FactoredMatrix { try matrix * factor }

    // MARK: Parts

    /// A part: leading axes first, then rows and columns. A place of a leading axis takes the axis away; one row or one column
    /// stays an axis of size 1, so that what is left is a matrix.
    public func at(_ slices: AxisSlice...) throws -> FactoredMatrix {
        guard slices.count <= ndim else { throw LensError(.shape, "too many indices", expected: "at most \(ndim) for \(shape)", found: "\(slices.count)") }
        var a = A, b = B, axis = 0
        for (place, slice) in slices.enumerated() {
            if place == ndim - 2 {
                a = try slice.keepingAxis.apply(a, axis: -2)
            } else if place == ndim - 1 {
                b = try slice.keepingAxis.apply(b, axis: -1)
            } else {
                a = try slice.apply(a, axis: axis)
                b = try slice.apply(b, axis: axis)
                if !slice.dropsAxis { axis += 1 }
            }
        }
        return try FactoredMatrix(a, b)
    }

    /// A new leading axis of size 1.
    public func unsqueeze(_ axis: Int) throws -> FactoredMatrix {
        guard (0...leading.count).contains(axis) else {
            throw LensError(.shape, "no place for an axis", expected: "0...\(leading.count)", found: "\(axis)")
        }
        var lead = leading
        lead.insert(1, at: axis)
        return try FactoredMatrix(A.reshaped(lead + A.shape.suffix(2)), B.reshaped(lead + B.shape.suffix(2)))
    }

    /// The first rows and columns of the product (of the first matrices, where there are leading axes): at most `count` along
    /// each axis.
    public func getCorner(_ count: Int = 3) throws -> Tensor {
        var part = self
        for (axis, size) in leading.enumerated() {
            let kept = AxisSlice.span(0, min(count, size))
            part = try FactoredMatrix(kept.apply(part.A, axis: axis), kept.apply(part.B, axis: axis))
        }
        return try FactoredMatrix(AxisSlice.span(0, min(count, ldim)).apply(part.A, axis: -2), AxisSlice.span(0, min(count, rdim)).apply(part.B, axis: -1)).AB
    }
}

extension FactoredMatrix: CustomStringConvertible {
    public var description: String { "FactoredMatrix: Shape(\(shape)), Hidden Dim(\(mdim))" }
}

extension Tensor {
    /// M·A·B, of M `[…, k, l]`, multiplied to the factor where that is cheaper.
    public func matmul(_ matrix: FactoredMatrix) throws -> FactoredMatrix {
        guard rank >= 2, shape[rank - 1] == matrix.ldim else {
            throw LensError(.shape, "product of a matrix and a factored matrix", expected: "[…, k, \(matrix.ldim)] for \(matrix.shape)", found: "\(shape)")
        }
        return matrix.ldim > matrix.mdim ? try FactoredMatrix(FactoredMatrix(self, matrix.A).AB, matrix.B) : try FactoredMatrix(self, matrix.AB)
    }
}
