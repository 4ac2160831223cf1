// Factored matrices: TransformerLens' own unit tests as behaviours, against products formed in full.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct FactoredMatrixTests {
    private func random(_ shape: [Int], seed: UInt64) throws -> Tensor {
        var random = SplitMix64(state: seed)
        return try Tensor((0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }, shape: shape)
    }

    private func factored(_ leading: [Int], _ l: Int, _ m: Int, _ r: Int) throws -> FactoredMatrix {
        try FactoredMatrix(random(leading + [l, m], seed: 1), random(leading + [m, r], seed: 2))
    }

    @Test func constructor() throws {
        let plain = try factored([], 5, 2, 3)
        #expect((plain.ldim, plain.mdim, plain.rdim) == (5, 2, 3) && plain.shape == [5, 3] && plain.ndim == 2 && !plain.hasLeadingDims)
        let broadcast = try FactoredMatrix(random([6, 1, 5, 2], seed: 1), random([4, 2, 3], seed: 2))
        #expect(broadcast.shape == [6, 4, 5, 3] && broadcast.hasLeadingDims && broadcast.A.shape == [6, 4, 5, 2])
        #expect("\(broadcast)" == "FactoredMatrix: Shape([6, 4, 5, 3]), Hidden Dim(2)")
        expectError(.shape, "cannot be multiplied") { try FactoredMatrix(random([5, 2], seed: 1), random([3, 2], seed: 2)) }
        expectError(.shape, "broadcast") { try FactoredMatrix(random([2, 5, 2], seed: 1), random([3, 2, 4], seed: 2)) }
        expectError(.shape) { try FactoredMatrix(random([5], seed: 1), random([5, 2], seed: 2)) }
    }

    @Test func productsAndTranspose() throws {
        let matrix = try factored([2, 3], 5, 2, 5), whole = try matrix.AB
        expectClose(try matrix.T.AB, try whole.movingAxis(-1, to: -2).contiguous(), "transpose")
        #expect(try matrix.BA.shape == [2, 3, 2, 2])
        let vector = try random([5], seed: 3)
        expectClose(try matrix.matmul(vector: vector), try whole.matmul(vector), "vector")
        expectClose(try matrix.matmul(vectorOnLeft: vector), try whole.movingAxis(-1, to: -2).contiguous().matmul(vector), "vector on the left")
        let thin = try random([5, 4], seed: 4)
        let product = try matrix.matmul(thin)
        #expect(product.mdim == 2 && product.shape == [2, 3, 5, 4])
        expectClose(try product.AB, try whole.matmul(thin), "matrix")
        // Narrow already: multiplied out, the size between becomes the smaller.
        let wide = try factored([], 5, 4, 3), right = try random([3, 6], seed: 5)
        #expect(try wide.matmul(right).mdim == 3)
        expectClose(try wide.matmul(right).AB, try wide.AB.matmul(right), "narrow")
        let left = try random([7, 5], seed: 6)
        expectClose(try left.matmul(wide).AB, try left.matmul(wide.AB), "on the left")
        let other = try factored([], 3, 2, 4)
        expectClose(try wide.matmul(other).AB, try wide.AB.matmul(other.AB), "factored")
        expectClose(try (2 * wide).AB, try wide.AB.scaled(by: 2), "scalar")
        expectClose(try (wide * 0.5).AB, try wide.AB.scaled(by: 0.5), "scalar")
        expectError(.shape, "product with a vector", "[3]") { try wide.matmul(vector: random([4], seed: 1)) }
        expectError(.shape, "product of a factored matrix and a matrix") { try wide.matmul(random([4, 4], seed: 1)) }
        expectError(.shape, "product of a matrix and a factored matrix") { try random([4, 4], seed: 1).matmul(wide) }
    }

    @Test func parts() throws {
        let matrix = try factored([2, 3], 5, 2, 4), whole = try matrix.AB
        func check(_ part: FactoredMatrix, _ expected: Tensor) {
            expectClose((try? part.AB) ?? Tensor(zeros: []), (try? expected.contiguous()) ?? expected, "\(part)")
        }
        check(try matrix.at(0), try whole.at(0))
        check(try matrix.at(-1, 2), try whole.at(-1, 2))
        check(try matrix.at(.all, [2, 0]), try whole.gathered([2, 0], axis: 1))
        check(try matrix.at(.span(1, nil)), try whole.at(.from(1)))
        // One row or column stays an axis.
        check(try matrix.at(.all, .all, 3), try whole.at(.all, .all, .range(3..<4)))
        check(try matrix.at(0, 1, 2, 3), try whole.at(0, 1, .range(2..<3), .range(3..<4)))
        check(try matrix.at(.all, .all, [1, 4], .span(0, 2)), try whole.gathered([1, 4], axis: 2).at(.all, .all, .all, .upTo(2)))
        expectError(.shape, "too many indices") { try matrix.at(0, 0, 0, 0, 0) }
        expectError(.shape, "out of range") { try matrix.at(2) }
        #expect(try matrix.unsqueeze(1).shape == [2, 1, 3, 5, 4])
        #expect(try matrix.getCorner().array == whole.at(.upTo(2), .upTo(3), .upTo(3), .upTo(3)).array)
        #expect(try factored([], 2, 2, 2).getCorner(3).shape == [2, 2])
    }

    @Test(arguments: [[5, 2, 4], [2, 5, 4], [4, 3, 1], [3, 3, 3]])
    func decomposition(_ sizes: [Int]) throws {
        let matrix = try factored([2], sizes[0], sizes[1], sizes[2]), (u, s, v) = try matrix.svd(), n = sizes.min() ?? 0
        #expect(u.shape == [2, sizes[0], n] && s.shape == [2, n] && v.shape == [2, sizes[2], n])
        let whole = try matrix.AB
        for index in 0..<2 {
            let (u, v, values) = (try u.at(.at(index)), try v.at(.at(index)), try s.at(.at(index)).array)
            #expect(values == values.sorted(by: >))
            expectClose(try (u * s.at(.at(index))).matmul(v.permuted(1, 0)), try whole.at(.at(index)).contiguous(), "U·S·Vᵀ")
            let identity = try u.permuted(1, 0).matmul(u).array
            #expect(identity.enumerated().allSatisfy { abs($1 - ($0 % (n + 1) == 0 ? 1 : 0)) < 1e-5 }, "Uᵀ·U")
        }
        expectClose(try matrix.norm(), try Tensor((0..<2).map { Float(try whole.at(.at($0)).array.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()) }, shape: [2]), "norm")
        let even = try matrix.makeEven()
        expectClose(try even.AB, whole, "made even")
        // Columns of A and rows of B are as long.
        expectClose(try (even.A * even.A).summed(axis: 1), try (even.B * even.B).summed(axis: 2), "even lengths")
        expectClose(try (matrix.collapseL() * matrix.collapseL()).summed(axis: 1), try (whole * whole).summed(axis: 1), "lengths of columns")
        expectClose(try (matrix.collapseR() * matrix.collapseR()).summed(axis: 2), try (whole * whole).summed(axis: 2), "lengths of rows")
    }

    @Test func eigenvaluesOfARotation() throws {
        // Rotation by a right angle, and a factor 2: eigenvalues ±2i.
        let matrix = try FactoredMatrix(Tensor([0, -1, 1, 0], shape: [2, 2]), Tensor([2, 0, 0, 2], shape: [2, 2])), values = try matrix.eigenvalues
        #expect(values.real.array.allSatisfy { abs($0) < 1e-6 } && values.imaginary.array.sorted() == [-2, 2] && values.shape == [2])
        #expect(try values.magnitude.array == [2, 2])
        expectError(.shape, "square") { try factored([], 3, 2, 4).eigenvalues }
        expectError(.shape, "square") { try factored([], 3, 2, 4).BA }
    }

    @Test func whatIsNotFiniteIsRefused() throws {
        for bad in [Float.nan, .infinity] {
            let matrix = try FactoredMatrix(Tensor([1, bad, 0, 1], shape: [2, 2]), random([2, 2], seed: 1))
            expectError(.usage, "not finite") { try matrix.svd() }
            expectError(.usage, "not finite") { try matrix.eigenvalues }
        }
        #expect(try FactoredMatrix(Tensor(zeros: [3, 2]), Tensor(zeros: [2, 3])).S.array == [0, 0])
        #expect(try FactoredMatrix(Tensor(zeros: [0, 3, 2]), Tensor(zeros: [0, 2, 3])).svd().U.shape == [0, 3, 2])
    }

    @Test func layersAreMadeWhenAskedFor() throws {
        let model = try AnalysisGoldens.raw("llama")
        #expect(try model.W_K[1].shape == [4, 12, 4] && model.perGroup("W_K")[1].shape == [2, 12, 4] && model.W_Q[0, 3].shape == [12, 4])
        #expect(try model.W_K[1, 1].array == model.perGroup("W_K")[1, 0].array && model.OV[-1, 2].shape == [12, 12])
        expectError(.usage, "no such layer", "-2..<2") { try model.W_Q[2] }
        #expect(model.allHeadLabels == ["L0H0", "L0H1", "L0H2", "L0H3", "L1H0", "L1H1", "L1H2", "L1H3"])
        let bare = try Transformer.random(ModelConfig(nLayers: 1, dModel: 12, nCtx: 4, dHead: 4, actFn: nil, dVocab: 7), seed: 1)
        expectError(.name, "no such parameter") { try bare.W_in[0] }
        expectError(.usage, "OV needs a head") { try SVDInterpreter(bare).getSingularVectors(.OV, layer: 0, numVectors: 1) }
        expectError(.usage, "more singular vectors than there are", "at most 4") { try SVDInterpreter(bare).getSingularVectors(.OV, layer: 0, numVectors: 5, head: 0) }
    }
}
