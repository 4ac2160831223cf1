// PackedMatrix.products and gatedProduct: the bits of the products one by one, run together or not, and their gradients.

import LensFiles
@testable import LensTensor
import LensTestSupport
import Testing

@Suite struct SeveralProductsTests {
    private func matrix(_ rows: Int, _ columns: Int, seed: UInt64, _ format: WeightFormat = .float32) throws -> PackedMatrix {
        try PackedMatrix(randomTensor([rows, columns], seed: seed), format: format)
    }

    /// Each of them as a product of its own.
    private func check(_ x: Tensor, _ all: [(matrix: PackedMatrix, bias: Tensor?)], _ what: String) throws {
        let together = try PackedMatrix.products(x, all)
        #expect(together.count == all.count)
        for (got, (matrix, bias)) in zip(together, all) {
            expectSameBits(got, try matrix.product(x, epilogue: Epilogue(bias: bias)).out, what)
        }
    }

    @Test func areTheProductsOneByOne() throws {
        let x = try randomTensor([2, 3, 64], seed: 1), bias = try randomTensor([70], seed: 5)
        let plain = try matrix(64, 96, seed: 2), narrow = try matrix(64, 1, seed: 3), biased = try matrix(64, 70, seed: 4)
        try check(x, [(plain, nil), (narrow, nil), (biased, bias)], "three widths")
        try check(x[.all, .from(1), .all], [(plain, nil), (biased, bias)], "rows of a view")
        try check(x[.all, .upTo(0), .all], [(plain, nil), (biased, bias)], "no rows")
        try check(randomTensor([64], seed: 9), [(plain, nil), (narrow, nil)], "one row")
        let quantised = try matrix(64, 70, seed: 6, .q8_0), small = try matrix(64, 33, seed: 7, .q4_0)
        try check(x, [(quantised, bias), (small, nil)], "formats")
        try check(x, [(quantised.multiplying(.int8), bias), (small.multiplying(.int8), nil)], "rounded")
        try check(x, [(quantised.multiplying(.int8), bias), (plain, nil)], "one of them rounded")
    }

    @Test(arguments: [Activation.silu, .geluNew, .relu, .solu])
    func gates(activation: Activation) throws {
        let x = try randomTensor([5, 64], seed: 1), bias = try randomTensor([70], seed: 5)
        for format in [WeightFormat.float32, .float16, .q8_0] {
            let gate = try matrix(64, 70, seed: 2, format), linear = try matrix(64, 70, seed: 3, format)
            for kind in [ActivationFormat.float32, .int8] {
                let (gate, linear) = (gate.multiplying(kind), linear.multiplying(kind))
                let got = try PackedMatrix.gatedProduct(x, gate: (gate, bias), linear: (linear, nil), activation, keepsLinear: true)
                let pre = try gate.product(x, epilogue: Epilogue(bias: bias)).out
                let expected = try linear.product(x, epilogue: Epilogue(activation: activation, gate: pre, keepsLinear: true))
                expectSameBits(got.pre, pre, "\(activation) \(format) \(kind)")
                expectSameBits(got.out, expected.out, "\(activation) \(format) \(kind)")
                expectSameBits(got.linear, expected.linear, "\(activation) \(format) \(kind)")
                #expect(try PackedMatrix.gatedProduct(x, gate: (gate, bias), linear: (linear, nil), activation, keepsLinear: false).linear == nil)
            }
        }
    }

    /// What is tracked keeps its gradients.
    @Test func gradients() throws {
        let x = try randomTensor([3, 20], seed: 1).tracked(), bias = try randomTensor([7], seed: 5).tracked()
        let a = try matrix(20, 7, seed: 2), b = try matrix(20, 7, seed: 3)
        let both = try PackedMatrix.products(x, [(a, bias), (b, nil)])
        let one = try a.product(x, epilogue: Epilogue(bias: bias)).out, two = try b.product(x).out
        let gated = try PackedMatrix.gatedProduct(x, gate: (a, bias), linear: (b, nil), .silu, keepsLinear: false).out
        let apart = try b.product(x, epilogue: Epilogue(activation: .silu, gate: one)).out
        for (got, expected) in [(try both[0] * both[1], try one * two), (try gated * gated, try apart * apart)] {
            let gradients = try LensTensor.gradients(of: got.sum(), to: [x, bias]), same = try LensTensor.gradients(of: expected.sum(), to: [x, bias])
            for (gradient, other) in zip(gradients, same) {
                expectSameBits(gradient, other, "gradient")
                #expect(gradient.array.contains { $0 != 0 })
            }
        }
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let x = try randomTensor([2, 20], seed: 1), a = try matrix(20, 7, seed: 2), b = try matrix(21, 7, seed: 3), c = try matrix(20, 8, seed: 4)
        let bias = try randomTensor([8], seed: 5)
        #expect(throws: LensError.self) { try PackedMatrix.products(x, [(a, nil), (b, nil)]) }
        #expect(throws: LensError.self) { try PackedMatrix.products(x, [(a, bias)]) }
        #expect(throws: LensError.self) { try PackedMatrix.gatedProduct(x, gate: (a, nil), linear: (c, nil), .silu, keepsLinear: false) }
    }
}
