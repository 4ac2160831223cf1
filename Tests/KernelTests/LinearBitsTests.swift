// One number, one way, for products: the bits of an element depend on its row and column alone.
import CLensKernels
import Foundation
import LensTestSupport
import Testing

@Suite(.serialized) struct LinearBitsTests {
    /// A problem with every part of the epilogue.
    private func full(m: Int, k: Int, n: Int, block: Int = 256) -> LinearCase {
        var random = SeededRandom(23)
        var problem = LinearCase(m: m, k: k, n: n)
        problem.block = block
        problem.epilogue = ReferenceEpilogue(bias: random.floats(n), activation: .geluNew, gate: random.floats(m * n),
                                             residual: random.floats(m * n))
        return problem
    }

    @Test(arguments: ISA.runnable, [2, 5, 6, 7, 13, 64, 130])
    func aRowAloneIsTheRowInABatch(isa: ISA, m: Int) {
        let problem = full(m: m, k: 600, n: 65), batch = problem.run(isa).out
        for i in Set([0, 1, m / 2, m - 1]) {
            expectSameBits(problem.row(i).run(isa).out, batch.row(i, width: 65), "row \(i)")
        }
    }

    /// Every number of rows from 1 to 1030, on one thread and on two in turn: the first rows of the largest product.
    @Test(arguments: ISA.runnable, ["f32", "f16", "q4_0"])
    func everyNumberOfRows(isa: ISA, name: String) throws {
        let format = try #require(Format.all.first { $0.testDescription == name }), k = 288, n = 70, most = 1030
        var problem = LinearCase(m: most, k: k, n: n)
        problem.format = format.kernel
        let packed = problem.packed(), whole = GuardedFloats(most * n), part = GuardedFloats(most * n)
        defer { lens_set_threads(0) }
        func multiply(_ m: Int, to out: GuardedFloats) {
            lens_linear(isa.pointer, Int64(m), &packed.matrix, 0, Int64(k), 0, Int64(n), Int64(LENS_K_BLOCK), problem.x, Int64(k), out.base, Int64(n), nil)
        }
        multiply(most, to: whole)
        for m in stride(from: 1, through: most, by: isa.name == "portable" ? 49 : 1) {
            lens_set_threads(Int32(1 + m % 2))
            multiply(m, to: part)
            #expect(memcmp(part.base, whole.base, 4 * m * n) == 0, "\(m) rows, \(isa.name), \(name)")
        }
        part.expectIntact()
    }

    @Test(arguments: ISA.runnable)
    func columnsAloneAreTheColumnsOfTheWhole(isa: ISA) {
        var problem = full(m: 7, k: 257, n: 200)
        let whole = problem.run(isa).out
        for range in [0..<1, 14..<28, 60..<130, 199..<200] {
            problem.nRange = range
            let expected = (0..<7).flatMap { whole[($0 * 200 + range.lowerBound)..<($0 * 200 + range.upperBound)] }
            expectSameBits(problem.run(isa).out, expected, "\(range)")
        }
    }

    @Test(arguments: ISA.runnable, [1, 13, 130])
    func threadsChangeNothing(isa: ISA, m: Int) {
        let problem = full(m: m, k: 600, n: 200)
        let (one, two) = withOneAndTwoThreads { problem.run(isa, linear: true) }
        expectSameBits(one.out, two.out)
        expectSameBits(one.linear, two.linear)
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 64])
    func fusedSetsAgree(m: Int) {
        for (k, n, block) in [(600, 97, 256), (56, 40, 14), (7, 200, 256)] {
            let problem = full(m: m, k: k, n: n, block: block)
            for isa in ISA.fused.dropFirst() {
                expectSameBits(problem.run(isa).out, problem.run(ISA.fused[0]).out, "\(isa.name) \(problem.shape)")
            }
        }
    }

    /// The order of the contract, step by step: chains of fused multiply-adds, blocks in order.
    @Test(arguments: ISA.runnable)
    func theOrderIsTheContracts(isa: ISA) {
        var problem = LinearCase(m: 8, k: 50, n: 70)
        for block in [50, 14, 1, 256] {
            problem.block = block
            let got = problem.run(isa).out
            for j in 0..<70 {
                let column = (0..<50).map { problem.w[$0 * 70 + j] }
                let expected = (0..<8).map { isa.arithmetic.blocks(problem.x.row($0, width: 50), column, of: block) }
                expectSameBits((0..<8).map { got[$0 * 70 + j] }, expected, "block \(block), column \(j)")
            }
        }
    }

    /// W_O by heads: one product with block = d_head is the sum of the heads' products.
    @Test(arguments: ISA.runnable)
    func headsSplitAndSummedAreTheWhole(isa: ISA) {
        let heads = 3, width = 14, n = 33, m = 7
        var problem = LinearCase(m: m, k: heads * width, n: n)
        var random = SeededRandom(5)
        problem.block = width
        problem.epilogue.bias = random.floats(n)
        problem.epilogue.residual = random.floats(m * n)
        let whole = problem.run(isa, linear: true)

        var parts = [Float](repeating: 0, count: m * heads * n)
        for h in 0..<heads {
            var one = LinearCase(m: m, k: heads * width, n: n, kRange: (h * width)..<((h + 1) * width))
            one.w = problem.w
            one.x = (0..<m).flatMap { problem.x.row($0 * heads + h, width: width) }
            let part = one.run(isa).out
            for i in 0..<m { for j in 0..<n { parts[(i * heads + h) * n + j] = part[i * n + j] } }
        }
        let out = GuardedFloats(m * n), linear = GuardedFloats(m * n)
        lens_sum_parts(isa.pointer, Int64(m), Int64(heads), Int64(n), parts, problem.epilogue.bias,
                       problem.epilogue.residual, linear.base, out.base)
        expectSameBits(out.values, whole.out)
        expectSameBits(linear.values, whole.linear)
        out.expectIntact()
        linear.expectIntact()
    }
}
