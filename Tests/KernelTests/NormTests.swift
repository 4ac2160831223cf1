// LayerNorm, RMSNorm and their last step alone.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct NormTests {
    struct Outputs { var out: [Float], normalized: [Float], scale: [Float] }

    private func run(_ isa: ISA, _ kind: lens_norm_kind, _ x: [Float], rows: Int, eps: Float = 1e-5,
                     scaleIn: [Float]? = nil, w: [Float]? = nil, b: [Float]? = nil) -> Outputs {
        let width = x.count / rows
        let out = GuardedFloats(x.count), normalized = GuardedFloats(x.count), scale = GuardedFloats(rows)
        let alone = GuardedFloats(x.count), inPlace = GuardedFloats(x)
        lens_norm(isa.pointer, kind, Int64(rows), Int64(width), eps, x, scaleIn, w, b, out.base, normalized.base,
                  scale.base)
        lens_norm(isa.pointer, kind, Int64(rows), Int64(width), eps, x, scaleIn, w, b, alone.base, nil, nil)
        lens_norm(isa.pointer, kind, Int64(rows), Int64(width), eps, inPlace.base, scaleIn, w, b, inPlace.base, nil, nil)
        for buffer in [out, normalized, scale, alone, inPlace] { buffer.expectIntact() }
        expectSameNumbers(alone.values, out.values, "stored or not")
        expectSameNumbers(inPlace.values, out.values, "in place")
        return Outputs(out: out.values, normalized: normalized.values, scale: scale.values)
    }

    @Test(arguments: ISA.runnable, rowLengths)
    func againstDouble(isa: ISA, width: Int) {
        var random = SeededRandom(UInt64(width))
        let x = random.floats(3 * width).map { $0 + 0.5 }
        for (kind, centred) in [(LENS_NORM_LAYER, true), (LENS_NORM_RMS, false)] {
            let got = run(isa, kind, x, rows: 3)
            for r in 0..<3 {
                let row = x.row(r, width: width)
                let expected = referenceNorm(row, eps: 1e-5, centred: centred)
                expectClose(got.normalized.row(r, width: width), expected.normalized, "\(width)")
                expectClose([got.scale[r]], [expected.scale], "scale, \(width)")
            }
        }
    }

    @Test(arguments: ISA.runnable, [1, 17, 1031])
    func weightAndBiasAreTheAffineStep(isa: ISA, width: Int) {
        var random = SeededRandom(5)
        let x = random.floats(4 * width), w = random.floats(width), b = random.floats(width)
        for (weight, bias) in [(w, b), (w, nil), (nil, b), (nil, nil)] as [([Float]?, [Float]?)] {
            let got = run(isa, LENS_NORM_LAYER, x, rows: 4, w: weight, b: bias), out = GuardedFloats(x.count)
            lens_affine(isa.pointer, 4, Int64(width), got.normalized, weight, bias, out.base)
            expectSameBits(out.values, got.out)
            expectSameBits(out.values, got.normalized.enumerated().map { i, x in
                (weight.map { x * $0[i % width] } ?? x) + (bias.map { $0[i % width] } ?? -0.0)
            })
            out.expectIntact()
        }
    }

    @Test(arguments: ISA.runnable, [1, 15, 16, 17, 200])
    func theOrderIsTheContracts(isa: ISA, width: Int) {
        var random = SeededRandom(13)
        let x = random.floats(width), sum = isa.arithmetic
        for (kind, mean) in [(LENS_NORM_LAYER, sum.lanes(x) / Float(width)), (LENS_NORM_RMS, 0)] {
            let centred = x.map { $0 - mean }
            let scale = (sum.lanes(centred, squares: true) / Float(width) + 1e-5).squareRoot()
            let inverse = 1 / scale, got = run(isa, kind, x, rows: 1)
            expectSameBits(got.scale, [scale])
            expectSameBits(got.out, centred.map { $0 * inverse })
        }
    }

    @Test(arguments: ISA.runnable)
    func aGivenScaleIsUsed(isa: ISA) {
        var random = SeededRandom(6)
        let x = random.floats(2 * 40), computed = run(isa, LENS_NORM_LAYER, x, rows: 2)
        let again = run(isa, LENS_NORM_LAYER, x, rows: 2, scaleIn: computed.scale)
        expectSameBits(again.out, computed.out)
        let doubled = run(isa, LENS_NORM_LAYER, x, rows: 2, scaleIn: computed.scale.map { 2 * $0 })
        expectSameBits(doubled.out, computed.out.map { $0 / 2 })
        expectSameBits(doubled.scale, computed.scale.map { 2 * $0 })
    }

    @Test(arguments: ISA.runnable, [7, 16, 40])
    func nanTakesItsRowAndNoOther(isa: ISA, width: Int) {
        for bad in [Float.nan, .infinity] {
            var x = [Float](repeating: 1, count: 3 * width)
            x[0] = 2
            x[2 * width - 1] = bad
            for kind in [LENS_NORM_LAYER, LENS_NORM_RMS] {
                let got = run(isa, kind, x, rows: 3)
                #expect(got.out[..<width].allSatisfy(\.isFinite) && got.out[(2 * width)...].allSatisfy(\.isFinite))
                if bad.isNaN { #expect(got.out.row(1, width: width).filter { !$0.isNaN }.isEmpty) }
            }
        }
    }

    @Test(arguments: ISA.runnable)
    func noWidthWritesTheScaleOnly(isa: ISA) {
        let scale = GuardedFloats(2)
        lens_norm(isa.pointer, LENS_NORM_LAYER, 2, 0, 0.25, [], nil, nil, nil, nil, nil, scale.base)
        #expect(scale.values == [0.5, 0.5])
        scale.expectIntact()
    }

    @Test(arguments: [LENS_NORM_LAYER.rawValue, LENS_NORM_RMS.rawValue])
    func bitsDependOnTheRowAlone(kind: UInt32) {
        var random = SeededRandom(8)
        let width = 1031, x = random.floats(64 * width), kind = lens_norm_kind(kind)
        let batch = run(ISA.fused.first ?? ISA.runnable[0], kind, x, rows: 64)
        for isa in ISA.fused {
            let (one, two) = withOneAndTwoThreads { run(isa, kind, x, rows: 64) }
            expectSameBits(one.out, batch.out, isa.name)
            expectSameBits(two.out, batch.out, isa.name)
            let alone = run(isa, kind, x.row(9, width: width), rows: 1)
            expectSameBits(alone.out, batch.out.row(9, width: width))
        }
    }
}
