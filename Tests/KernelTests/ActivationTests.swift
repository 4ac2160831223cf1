// Activations over the whole float range, and elementwise kernels.
import CLensKernels
import Foundation
import LensTestSupport
import Testing

@Suite(.serialized) struct ActivationTests {
    private static func run(_ isa: ISA, _ act: ReferenceActivation, _ x: [Float]) -> [Float] {
        let out = GuardedFloats(x.count)
        lens_activation(isa.pointer, lens_act(UInt32(act.rawValue)), Int64(x.count), x, out.base)
        out.expectIntact("\(act)")
        return out.values
    }

    /// Floats spread evenly over the bit patterns (all exponents, both signs), and densely around zero.
    static let sweep: [Float] = {
        var values = stride(from: UInt64(0), to: 1 << 32, by: 40_009).map { Float(bitPattern: UInt32($0)) }
        values.removeAll { $0.isNaN }
        values += (-40_000...40_000).map { Float($0) * (1 / 2048 as Float) }
        return values
    }()

    @Test(arguments: ISA.runnable, ReferenceActivation.allCases)
    func accuracy(isa: ISA, act: ReferenceActivation) {
        let x = Self.sweep.filter(\.isFinite)
        expectClose(Self.run(isa, act, x), x.map { Expected(act(Double($0)), within: act.tolerance(at: Double($0))) },
                    "\(act)")
    }

    @Test(arguments: ISA.runnable, ReferenceActivation.allCases)
    func specialValues(isa: ISA, act: ReferenceActivation) {
        let got = Self.run(isa, act, [0, .infinity, -.infinity, .nan, -0.0])
        #expect(got[3].isNaN)
        switch act {
        case .sigmoid: #expect(got[0] == 0.5 && got[1] == 1 && got[2] == 0)
        case .exp: #expect(got[0] == 1 && got[1] == .infinity && got[2] == 0 && got[4] == 1)
        case .tanh: #expect(got[1] == 1 && got[2] == -1 && got[4].bitPattern == (-0.0 as Float).bitPattern)
        case .none: #expect(got[1] == .infinity && got[2] == -.infinity)
        case .relu: #expect(got[0] == 0 && got[1] == .infinity && got[2] == 0)
        default: #expect(got[0] == 0 && got[1] == .infinity && got[2].isNaN) // -inf · 0
        }
    }

    @Test(arguments: ISA.runnable, [(0.8, 0.3, 0.5, -1e-6), (1.7, 2.5, 0.1, -0.01)] as [(Float, Float, Float, Float)])
    func xielu(isa: ISA, numbers: (Float, Float, Float, Float)) {
        let (p, n, beta, eps) = numbers, x = Self.sweep.filter { abs($0) < 1e18 }, out = GuardedFloats(x.count)
        lens_xielu(isa.pointer, Int64(x.count), x, p, n, beta, eps, out.base)
        out.expectIntact("xIELU")
        expectClose(out.values, x.map { x in
            let (x, p, n, beta) = (Double(x), Double(p), Double(n), Double(beta))
            let steps = x > 0 ? [p * x * x] : [n * expm1(min(x, Double(eps))), n * x]
            let sign = x > 0 ? 1.0 : -1.0
            let value = steps.enumerated().reduce(beta * x) { $0 + ($1.offset == 0 ? 1 : sign) * $1.element }
            return Expected(value, within: 4 * roundoff * (steps.map(abs).reduce(abs(beta * x), +)) + 0x1p-148)
        }, "xIELU")
    }

    @Test(arguments: ISA.runnable)
    func xieluOfSpecialValues(isa: ISA) {
        let out = GuardedFloats(3)
        lens_xielu(isa.pointer, 3, [0, .nan, .infinity], 0.8, 0.8, 0.5, -1e-6, out.base)
        #expect(abs(out.values[0]) < 1e-6 && out.values[1].isNaN && out.values[2] == .infinity)
        for isa in ISA.fused.dropFirst() {
            let a = GuardedFloats(Self.sweep.count), b = GuardedFloats(Self.sweep.count)
            lens_xielu(isa.pointer, Int64(Self.sweep.count), Self.sweep, 0.8, 0.8, 0.5, -1e-6, a.base)
            lens_xielu(ISA.fused[0].pointer, Int64(Self.sweep.count), Self.sweep, 0.8, 0.8, 0.5, -1e-6, b.base)
            expectSameNumbers(a.values, b.values, "xIELU")
        }
    }

    @Test(arguments: ISA.runnable)
    func expAtItsEdges(isa: ISA) {
        let got = Self.run(isa, .exp, [88.72283, 88.72284, 104, 1e30, -87.33655, -103.27893, -103.97208, -104, -1e30])
        #expect(got[0].isFinite && got[1] == .infinity && got[2] == .infinity && got[3] == .infinity)
        #expect(got[4] > 0 && got[5] == 0x1p-149 && got[7] == 0 && got[8] == 0)
    }

    @Test(arguments: ReferenceActivation.allCases)
    func fusedSetsAgree(act: ReferenceActivation) {
        let x = Self.sweep + [.nan, .infinity, -.infinity]
        for isa in ISA.fused.dropFirst() {
            expectSameNumbers(Self.run(isa, act, x), Self.run(ISA.fused[0], act, x), "\(act)")
        }
    }

    @Test(arguments: ISA.runnable, rowLengths + [20_000])
    func elementwise(isa: ISA, n: Int) {
        var random = SeededRandom(UInt64(n))
        var a = random.floats(n, scale: 3), b = random.floats(n)
        if n > 3 { (a[2], b[3]) = (.nan, .infinity) }
        let silu = Self.run(isa, .silu, a)
        let (one, two) = withOneAndTwoThreads {
            let outs = (0..<3).map { _ in GuardedFloats(n) }
            lens_arithmetic(isa.pointer, LENS_OP_ADD, 1, [Int64(n)], a, [1], b, [1], outs[0].base)
            lens_scale(isa.pointer, Int64(n), a, 0.3, outs[1].base)
            lens_gated(isa.pointer, LENS_ACT_SILU, Int64(n), a, b, outs[2].base)
            outs.forEach { $0.expectIntact() }
            return outs.map(\.values)
        }
        for (first, second) in zip(one, two) { expectSameBits(first, second) }
        expectSameNumbers(one[0], zip(a, b).map { $0 + $1 })
        expectSameNumbers(one[1], a.map { $0 * 0.3 })
        expectSameNumbers(one[2], zip(silu, b).map { $0 * $1 })

        let inPlace = GuardedFloats(a)
        lens_arithmetic(isa.pointer, LENS_OP_ADD, 1, [Int64(n)], inPlace.base, [1], b, [1], inPlace.base)
        expectSameNumbers(inPlace.values, one[0])
    }

    @Test(arguments: ISA.runnable)
    func theEpilogueGivesTheSameBits(isa: ISA) {
        var random = SeededRandom(31)
        var problem = LinearCase(m: 5, k: 9, n: 77)
        let gate = random.floats(5 * 77, scale: 5)
        for act in ReferenceActivation.allCases {
            problem.epilogue = ReferenceEpilogue(activation: act)
            let plain = problem.run(isa, linear: true)
            expectSameBits(plain.out, Self.run(isa, act, plain.linear), "\(act)")
            problem.epilogue.gate = gate
            let gated = GuardedFloats(5 * 77)
            lens_gated(isa.pointer, lens_act(UInt32(act.rawValue)), 5 * 77, gate, plain.linear, gated.base)
            expectSameBits(problem.run(isa).out, gated.values, "\(act) gated")
        }
    }
}
