// Gradients of activations, gates, rotary embeddings and softmax, against differences in double precision.
import CLensKernels
import Foundation
import LensTestSupport
import Testing

@Suite(.serialized) struct BackwardTests {
    private static func activation(_ isa: ISA, _ act: ReferenceActivation, _ x: [Float], _ gradient: [Float], factor: Float = 1) -> [Float] {
        let out = GuardedFloats(x.count), inPlace = GuardedFloats(gradient)
        lens_activation_backward(isa.pointer, lens_act(UInt32(act.rawValue)), Int64(x.count), x, factor, gradient, out.base)
        lens_activation_backward(isa.pointer, lens_act(UInt32(act.rawValue)), Int64(x.count), x, factor, inPlace.base, inPlace.base)
        for buffer in [out, inPlace] { buffer.expectIntact("\(act)") }
        expectSameNumbers(inPlace.values, out.values, "in place")
        return out.values
    }

    /// Densely around zero, and out to where every derivative has its limit.
    private static let points = (-4000...4000).map { Float($0) * 0.01 + 0.0035 }

    @Test(arguments: ISA.runnable, ReferenceActivation.allCases)
    func activationsAgainstDifferences(isa: ISA, act: ReferenceActivation) {
        let x = Self.points, ones = [Float](repeating: 1, count: x.count)
        let expected = x.map { x -> Expected in
            let value = slope(at: Double(x), of: { act($0) }), size = [.tanh, .exp, .sigmoid].contains(act) ? abs(value) : max(1, abs(value))
            // Differences of numbers of size f are wrong by about 1e-13 f.
            return Expected(value, within: 5 * 0x1p-23 * size + 1e-11 * max(1, abs(act(Double(x)))))
        }
        expectClose(Self.activation(isa, act, x, ones), expected, "\(act)")
        let scaled = Self.activation(isa, act, x.map { 4 * $0 }, ones.map { -2 * $0 }, factor: 0.25)
        // Zeros have either sign.
        expectSameNumbers(scaled.map { $0 + 0 }, Self.activation(isa, act, x, ones).map { -2 * $0 + 0 }, "\(act) with a factor")
    }

    @Test(arguments: ISA.runnable, ReferenceActivation.allCases)
    func activationsOfSpecialValues(isa: ISA, act: ReferenceActivation) {
        let got = Self.activation(isa, act, [.nan, 1, .infinity, -.infinity, 1e30, -1e30, 0], [1, .nan, 1, 1, 1, 1, 1])
        if act != .none { #expect(got[0].isNaN) }
        #expect(got[1].isNaN)
        switch act {
        case .none: #expect(got[2...].elementsEqual([1, 1, 1, 1, 1]))
        case .relu: #expect(got[2...].elementsEqual([1, 0, 1, 0, 0]))
        case .gelu, .geluNew, .geluFast, .silu: #expect(got[2...].elementsEqual([1, 0, 1, 0, 0.5]))
        case .tanh: #expect(got[2...].elementsEqual([0, 0, 0, 0, 1]))
        case .exp: #expect(got[2...].elementsEqual([.infinity, 0, .infinity, 0, 1]))
        case .sigmoid: #expect(got[2...].elementsEqual([0, 0, 0, 0, 0.25]))
        }
        for isa in ISA.fused.dropFirst() {
            let ones = [Float](repeating: 1, count: Self.points.count)
            expectSameNumbers(Self.activation(isa, act, Self.points, ones), Self.activation(ISA.fused[0], act, Self.points, ones), "\(act)")
        }
    }

    @Test(arguments: ISA.runnable, rowLengths + [20_000])
    func gates(isa: ISA, n: Int) {
        var random = SeededRandom(UInt64(n))
        let gate = random.floats(n, scale: 4), x = random.floats(n), gradient = random.floats(n)
        for act in [ReferenceActivation.none, .relu, .gelu, .silu] {
            let kernel = lens_act(UInt32(act.rawValue)), value = GuardedFloats(n)
            let (one, two) = withOneAndTwoThreads {
                let outs = [GuardedFloats(n), GuardedFloats(n), GuardedFloats(n)]
                lens_gated_backward(isa.pointer, kernel, Int64(n), gate, x, gradient, outs[0].base, outs[1].base)
                lens_gated_backward(isa.pointer, kernel, Int64(n), gate, x, gradient, nil, outs[2].base)
                outs.forEach { $0.expectIntact() }
                return outs.map(\.values)
            }
            for (a, b) in zip(one, two) { expectSameBits(a, b) }
            expectSameBits(one[2], one[1], "one of the two")
            expectSameBits(one[0], Self.activation(isa, act, gate, zip(gradient, x).map { $0 * $1 }), "gate, \(act)")
            lens_gated(isa.pointer, kernel, Int64(n), gate, gradient, value.base)
            expectSameBits(one[1], value.values, "value, \(act)")
        }
    }

    @Test(arguments: ISA.runnable)
    func theClampedGate(isa: ISA) {
        let (alpha, limit) = (1.702 as Float, 3 as Float)
        let gate = (-400...400).map { Float($0) * 0.0151 + 0.004 }, x = gate.indices.map { Float(($0 * 37) % 101) * 0.081 - 4.003 }
        let gradient = gate.indices.map { Float(($0 * 13) % 29) * 0.1 - 1.4 }
        let ofGate = GuardedFloats(gate.count), ofX = GuardedFloats(gate.count)
        lens_clamped_gate_backward(isa.pointer, alpha, limit, Int64(gate.count), gate, x, gradient, ofGate.base, ofX.base)
        for buffer in [ofGate, ofX] { buffer.expectIntact() }
        func value(_ gate: Double, _ x: Double) -> Double {
            let g = min(gate, Double(limit)), u = min(max(x, -Double(limit)), Double(limit))
            return (u + 1) * g / (1 + exp(-Double(alpha) * g))
        }
        // Differences mean nothing across a bound.
        func isSmooth(_ v: Float) -> Bool { abs(abs(v) - limit) > 0.003 }
        let kept = gate.indices.filter { isSmooth(gate[$0]) && isSmooth(x[$0]) }
        #expect(kept.count > 700)
        expectClose(kept.map { ofGate.values[$0] }, kept.map { i in
            Expected(Double(gradient[i]) * slope(at: Double(gate[i])) { value($0, Double(x[i])) }, within: 1e-5)
        }, "gate")
        expectClose(kept.map { ofX.values[$0] }, kept.map { i in
            Expected(Double(gradient[i]) * slope(at: Double(x[i])) { value(Double(gate[i]), $0) }, within: 1e-5)
        }, "value")
        lens_clamped_gate_backward(isa.pointer, alpha, limit, 3, [-.infinity, .nan, 1], [1, 1, .nan], [1, 1, 1], ofGate.base, ofX.base)
        #expect(ofGate.base[0] == 0 && ofGate.base[1].isNaN && ofX.base[1].isNaN && ofGate.base[2].isNaN)
    }

    @Test(arguments: ISA.runnable, [(0.8, 0.3, 0.5, -1e-6), (1.7, 2.5, 0.1, -0.01)] as [(Float, Float, Float, Float)])
    func xielu(isa: ISA, numbers: (Float, Float, Float, Float)) {
        let (p, n, beta, eps) = numbers, x = (-300...300).map { Float($0) * 0.031 + 0.0124 }, count = x.count
        let gradient = x.indices.map { Float(($0 * 13) % 29) * 0.1 - 1.4 }
        let outs = (0..<3).map { _ in GuardedFloats(count) }
        lens_xielu_backward(isa.pointer, Int64(count), x, p, n, beta, eps, gradient, outs[0].base, outs[1].base, outs[2].base)
        outs.forEach { $0.expectIntact() }
        func value(_ x: Double, _ p: Double, _ n: Double) -> Double {
            Double(beta) * x + (x > 0 ? p * x * x : n * (expm1(min(x, Double(eps))) - x))
        }
        for (place, out) in outs.enumerated() {
            expectClose(out.values, x.indices.map { i in
                let at = [Double(x[i]), Double(p), Double(n)]
                let expected = Double(gradient[i]) * slope(at: at[place]) { moved in
                    var at = at
                    at[place] = moved
                    return value(at[0], at[1], at[2])
                }
                return Expected(expected, within: 4e-7 * (1 + abs(expected)) + 1e-6 * abs(Double(x[i])))
            }, "input \(place)")
        }
        lens_xielu_backward(isa.pointer, 1, [.nan], p, n, beta, eps, [1], outs[0].base, outs[1].base, outs[2].base)
        for out in outs { #expect(out.base[0].isNaN) }
    }

    @Test(arguments: ISA.runnable, [(14, 14), (14, 4), (64, 64), (80, 32), (1, 0)])
    func rotaryTurnsBack(isa: ISA, shape: (Int, Int)) {
        let (width, rotary) = shape, heads = 3, positions: [Int32] = [4, 0, 2, 2], rows = positions.count, half = rotary / 2
        var random = SeededRandom(2)
        let gradient = random.floats(rows * heads * width), cos = random.floats(5 * half), sin = random.floats(5 * half)
        for adjacent in [false, true] {
            let out = GuardedFloats(gradient.count)
            lens_rotary_backward(isa.pointer, Int64(rows), Int64(heads), Int64(width), Int64(rotary), adjacent, gradient, positions, cos, sin, out.base)
            out.expectIntact()
            // The transpose of a rotation is the rotation by the opposite angle.
            let expected = (0..<rows).flatMap { r in
                let p = Int(positions[r])
                return referenceRotary(gradient.row(r, width: heads * width), heads: heads, cos: cos.row(p, width: half),
                                       sin: sin.row(p, width: half).map { -$0 }, adjacent: adjacent)
            }
            expectClose(out.values, expected, "\(shape) adjacent \(adjacent)")
        }
    }

    @Test(arguments: ISA.runnable, [1, 7, 16, 31, 97, 1031])
    func softmaxAndLogSoftmax(isa: ISA, n: Int) {
        var random = SeededRandom(UInt64(n))
        let x = random.floats(n, scale: 3), gradient = random.floats(n), y = GuardedFloats(n), out = GuardedFloats(n), wide = gradient.map(Double.init)
        lens_softmax(isa.pointer, 1, Int64(n), x, y.base)
        lens_softmax_backward(isa.pointer, 1, Int64(n), y.base, gradient, out.base)
        out.expectIntact()
        let places = Array(stride(from: 0, to: n, by: max(1, n / 40)))
        func check(_ what: String, tolerance: Double, _ function: ([Double]) -> Double) {
            let at = x.map(Double.init)
            expectClose(places.map { out.values[$0] }, places.map { place in
                let expected = slope(at: at[place]) { moved in
                    var at = at
                    at[place] = moved
                    return function(at)
                }
                return Expected(expected, within: tolerance)
            }, what)
        }
        check("softmax", tolerance: 1e-6) { zip(referenceLogSoftmax($0), wide).reduce(0) { $0 + exp($1.0) * $1.1 } }
        lens_log_softmax(isa.pointer, 1, Int64(n), x, y.base)
        lens_log_softmax_backward(isa.pointer, 1, Int64(n), y.base, gradient, out.base)
        out.expectIntact()
        check("log-softmax", tolerance: 4e-6) { dot(referenceLogSoftmax($0), wide) }
        let target = Int32(n / 2)
        lens_cross_entropy_backward(isa.pointer, 1, Int64(n), x, Int64(n), [target], [0.7], out.base)
        out.expectIntact()
        check("cross-entropy", tolerance: 1e-6) { -0.7 * referenceLogSoftmax($0)[Int(target)] }
    }

    @Test(arguments: ISA.runnable)
    func maskedAndOddRows(isa: ISA) {
        let inf = Float.infinity, out = GuardedFloats(4)
        lens_softmax_backward(isa.pointer, 1, 4, [0, 0, 0, 0], [1, 2, 3, 4], out.base)
        expectSameBits(out.values, [0, 0, 0, 0], "everything masked")
        lens_softmax_backward(isa.pointer, 1, 4, [0.5, 0, 0.5, 0], [1, 2, 3, .nan], out.base)
        #expect(out.values.filter { !$0.isNaN }.isEmpty)
        lens_cross_entropy_backward(isa.pointer, 1, 4, [1, -inf, 1, -inf], 4, [0], [2], out.base)
        expectSameBits(out.values, [-1, 0, 1, 0], "masked logits")
        lens_cross_entropy_backward(isa.pointer, 1, 4, [1, .nan, 1, 1], 4, [0], [2], out.base)
        #expect(out.values.filter { !$0.isNaN }.isEmpty)
        lens_cross_entropy_backward(isa.pointer, 1, 4, [1, .nan, inf, 1], 4, [-1], [2], out.base)
        expectSameBits(out.values, [0, 0, 0, 0], "a row that does not count")
        lens_log_softmax_backward(isa.pointer, 1, 4, [-0.6931472, -inf, -0.6931472, -inf], [1, 1, 0, 0], out.base)
        expectClose(out.values, [0, 1, -1, 0], relative: 1e-6, absolute: 1e-6)
        lens_softmax_backward(isa.pointer, 2, 0, out.base, out.base, out.base)
        lens_cross_entropy_backward(isa.pointer, 0, 4, out.base, 4, [0], [2], out.base)
        out.expectIntact()
    }
}
