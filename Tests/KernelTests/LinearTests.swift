// lens_linear against a Double reference: shapes, ranges, epilogues, empty cases, NaN and infinity.
import CLensKernels
import LensTestSupport
import Testing

@Suite struct LinearTests {
    @Test(arguments: ISA.runnable, [0, 1, 2, 5, 6, 7, 13, 64, 130])
    func rows(isa: ISA, m: Int) {
        let problem = LinearCase(m: m, k: 37, n: 97)
        expectClose(problem.run(isa).out, problem.reference().out, problem.shape)
    }

    @Test(arguments: ISA.runnable, [1, 7, 255, 256, 257, 600])
    func depths(isa: ISA, k: Int) {
        for m in [1, 7] {
            let problem = LinearCase(m: m, k: k, n: 65)
            expectClose(problem.run(isa).out, problem.reference().out, problem.shape)
        }
    }

    @Test(arguments: ISA.runnable, [1, 14, 63, 64, 65, 97, 200])
    func widths(isa: ISA, n: Int) {
        for m in [1, 3, 8] {
            let problem = LinearCase(m: m, k: 31, n: n)
            expectClose(problem.run(isa).out, problem.reference().out, problem.shape)
        }
    }

    @Test(arguments: ISA.runnable, [0..<1, 3..<17, 14..<28, 60..<70, 63..<64, 64..<128, 17..<199, 199..<200, 5..<5])
    func columnRanges(isa: ISA, range: Range<Int>) {
        for m in [1, 4] {
            let problem = LinearCase(m: m, k: 30, n: 200, nRange: range)
            let got = problem.run(isa, linear: true), expected = problem.reference()
            expectClose(got.out, expected.out, problem.shape)
            expectClose(got.linear, expected.linear, problem.shape)
        }
    }

    @Test(arguments: ISA.runnable, [0..<0, 0..<1, 5..<300, 299..<300, 256..<300])
    func depthRanges(isa: ISA, range: Range<Int>) {
        var problem = LinearCase(m: 7, k: 300, n: 70, kRange: range)
        for block in [256, 64, 14, 1] {
            problem.block = block
            expectClose(problem.run(isa).out, problem.reference().out, problem.shape)
        }
    }

    @Test(arguments: ISA.runnable, ReferenceActivation.allCases)
    func epilogues(isa: ISA, activation: ReferenceActivation) {
        var random = SeededRandom(11)
        var problem = LinearCase(m: 8, k: 20, n: 83, nRange: 3..<80)
        let (bias, gate, residual) = (random.floats(83), random.floats(8 * 83, scale: 4), random.floats(8 * 83))
        for mask in 0..<8 {
            problem.epilogue = ReferenceEpilogue(bias: mask & 1 != 0 ? bias : nil, activation: activation,
                                                 gate: mask & 2 != 0 ? gate : nil,
                                                 residual: mask & 4 != 0 ? residual : nil)
            let expected = problem.reference(), both = problem.run(isa, linear: true)
            expectClose(both.out, expected.out, "epilogue \(mask)")
            expectClose(both.linear, expected.linear, "epilogue \(mask) linear")
            expectSameBits(problem.run(isa).out, both.out, "stored or not, epilogue \(mask)")
            expectSameBits(problem.run(isa, out: false, linear: true).linear, both.linear, "linear alone \(mask)")
            if mask & 6 != 0 {
                expectSameBits(problem.run(isa, aliasing: true).out, both.out, "in place, epilogue \(mask)")
            }
        }
    }

    @Test(arguments: ISA.runnable)
    func nothingToSumGivesTheEpilogueOfZero(isa: ISA) {
        var problem = LinearCase(m: 3, k: 4, n: 20, kRange: 2..<2)
        problem.epilogue.bias = (0..<20).map(Float.init)
        problem.epilogue.activation = .silu
        expectClose(problem.run(isa).out, problem.reference().out)
    }

    @Test(arguments: ISA.runnable)
    func nanAndInfinityStayInTheirRowsAndColumns(isa: ISA) {
        var problem = LinearCase(m: 9, k: 300, n: 70)
        problem.x[2 * 300 + 17] = .nan
        problem.x[5 * 300 + 299] = .infinity
        problem.w[40 * 70 + 69] = -.infinity
        problem.w[41 * 70 + 3] = .nan
        expectClose(problem.run(isa).out, problem.reference().out)
    }

    /// A null epilogue is an empty one.
    @Test(arguments: ISA.runnable)
    func noEpilogue(isa: ISA) {
        let problem = LinearCase(m: 2, k: 5, n: 7), out = GuardedFloats(14)
        lens_linear(isa.pointer, 2, &problem.packed().matrix, 0, 5, 0, 7, Int64(LENS_K_BLOCK), problem.x, 5, out.base, 7, nil)
        expectSameBits(out.values, problem.run(isa).out)
    }
}
