// Kernels of mixtures of experts: the clamped gate and sums of rows against Double, MXFP4 against its definition.
import CLensKernels
import Foundation
import LensTestSupport
import Testing

@Suite struct ExpertKernelTests {
    @Test(arguments: ISA.runnable, rowLengths)
    func clampedGate(isa: ISA, count: Int) {
        var random = SeededRandom(UInt64(count) + 5)
        let gate = random.floats(count, scale: 12), x = random.floats(count, scale: 12), out = GuardedFloats(count)
        let alpha: Float = 1.702, limit: Float = 7
        lens_clamped_gate(isa.pointer, alpha, limit, Int64(count), gate, x, out.base)
        out.expectIntact()
        expectClose(out.values, zip(gate, x).map { gate, x in
            let g = Double(min(gate, limit)), u = Double(max(-limit, min(limit, x)))
            let value = (u + 1) * g / (1 + exp(-Double(alpha) * g))
            return Expected(value, within: roundoff * (8 + abs(Double(alpha) * g)) * abs(value) + roundoff * abs(g) + 0x1p-140)
        }, "clamped gate")
    }

    @Test(arguments: ISA.runnable)
    func clampedGateKeepsNaN(isa: ISA) {
        var out: [Float] = [0, 0, 0, 0]
        lens_clamped_gate(isa.pointer, 1.702, 7, 4, [.nan, 1, .infinity, -.infinity], [1, .nan, .infinity, 1], &out)
        #expect(out[0].isNaN && out[1].isNaN)
        #expect(abs(out[2] - 56) < 1e-3, "both held at the limit")
    }

    /// The sum of each row is in the order of the ids, each step rounded, on any number of threads.
    @Test(arguments: ISA.runnable, [1, 15, 256, 300, 1031])
    func addRows(isa: ISA, width: Int) {
        let ids: [Int32] = [2, 0, 2, 2, 3], rows = 5
        var random = SeededRandom(UInt64(width))
        let x = random.floats(ids.count * width, scale: 3), start = random.floats(rows * width), weights = random.floats(ids.count)
        var expected = start
        for (i, id) in ids.enumerated() {
            for j in 0..<width {
                let share = weights[i] * x[i * width + j]
                expected[Int(id) * width + j] += share
            }
        }
        let (one, two) = withOneAndTwoThreads { () -> [Float] in
            let out = GuardedFloats(start.count)
            out.base.update(from: start, count: start.count)
            lens_add_rows(isa.pointer, Int64(ids.count), Int64(width), ids, weights, x, out.base)
            out.expectIntact()
            return out.values
        }
        expectSameBits(one, expected)
        expectSameBits(two, expected)
    }

    /// Every pair of halves and every scale, by the formula of the standard: sign, two bits of exponent, one of mantissa.
    @Test func mxfp4() {
        func value(_ code: Int) -> Double {
            let exponent = code >> 1 & 3, mantissa = Double(code & 1)
            let size = exponent == 0 ? mantissa / 2 : (1 + mantissa / 2) * pow(2, Double(exponent - 1))
            return code & 8 == 0 ? size : -size
        }
        var out = [Float](repeating: .nan, count: 32)
        for scale in 0..<256 {
            for start in stride(from: 0, to: 256, by: 16) {
                lens_unpack_mxfp4(1, (start..<start + 16).map(UInt8.init), [UInt8(scale)], &out)
                for index in 0..<32 {
                    let byte = start + index / 2, code = index % 2 == 0 ? byte & 15 : byte >> 4
                    if scale == 255 { #expect(out[index].isNaN) } else {
                        #expect(out[index] == Float(value(code) * pow(2, Double(scale - 127))))
                        #expect(out[index].sign == (code & 8 == 0 ? .plus : .minus))
                    }
                }
            }
        }
    }
}
