// Rotary embeddings, both pairings, and sums of parts.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct RotaryTests {
    @Test(arguments: ISA.runnable, [(14, 14), (14, 4), (64, 64), (80, 32), (1, 0), (128, 2)])
    func againstDouble(isa: ISA, shape: (Int, Int)) {
        let (width, rotary) = shape, heads = 3, positions: [Int32] = [4, 0, 2, 2], rows = positions.count
        var random = SeededRandom(2)
        let half = rotary / 2, x = random.floats(rows * heads * width)
        let cos = random.floats(5 * half), sin = random.floats(5 * half)
        for adjacent in [false, true] {
            let out = GuardedFloats(x.count), inPlace = GuardedFloats(x), source = GuardedFloats(x)
            for (from, to) in [(source, out), (inPlace, inPlace)] {
                lens_rotary(isa.pointer, Int64(rows), Int64(heads), Int64(width), Int64(rotary), adjacent, from.base,
                            positions, cos, sin, to.base)
                to.expectIntact()
            }
            expectSameBits(inPlace.values, out.values, "in place")
            let expected = (0..<rows).flatMap { r in
                let p = Int(positions[r])
                return referenceRotary(x.row(r, width: heads * width), heads: heads,
                                       cos: cos.row(p, width: half),
                                       sin: sin.row(p, width: half), adjacent: adjacent)
            }
            expectClose(out.values, expected, "\(shape) adjacent \(adjacent)")
        }
    }

    /// Every product and sum rounds by itself, on every set: so all sets agree, the portable one too.
    @Test(arguments: ISA.runnable)
    func eachStepRounds(isa: ISA) {
        let x: [Float] = [1.1, 2.3], c: Float = 0.7, s: Float = 0.71
        let out = GuardedFloats(2)
        for adjacent in [false, true] {
            lens_rotary(isa.pointer, 1, 1, 2, 2, adjacent, x, [0], [c], [s], out.base)
            let ac = x[0] * c, bs = x[1] * s, bc = x[1] * c, sa = x[0] * s
            expectSameBits(out.values, [ac - bs, bc + sa])
        }
    }

    @Test(arguments: ISA.runnable, rowLengths)
    func sumsOfParts(isa: ISA, width: Int) {
        var random = SeededRandom(4)
        let rows = 2, parts = 3, x = random.floats(rows * parts * width), bias = random.floats(width)
        let residual = random.floats(rows * width)
        let out = GuardedFloats(rows * width), linear = GuardedFloats(rows * width)
        lens_sum_parts(isa.pointer, 2, 3, Int64(width), x, bias, residual, linear.base, out.base)
        for r in 0..<rows {
            for j in 0..<width {
                let at = { (p: Int) in x[(r * parts + p) * width + j] }
                let sum = ((at(0) + at(1)) + at(2)) + bias[j]
                #expect(linear.values[r * width + j] == sum)
                #expect(out.values[r * width + j] == residual[r * width + j] + sum)
            }
        }
        out.expectIntact()
        linear.expectIntact()
        let plain = GuardedFloats(rows * width)
        lens_sum_parts(isa.pointer, Int64(rows * parts), 1, Int64(width), x, nil, nil, nil, GuardedFloats(x.count).base)
        lens_sum_parts(isa.pointer, 2, 1, Int64(width), residual, nil, nil, nil, plain.base)
        expectSameBits(plain.values, residual)
    }
}
