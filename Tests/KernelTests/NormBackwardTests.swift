// Gradients of LayerNorm, RMSNorm and their last step, and sums over an axis.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct NormBackwardTests {
    struct Inputs {
        var x: [Float], scaleIn: [Float]? = nil, weight: [Float]? = nil
        /// Gradients of what the norm gives.
        var out: [Float]? = nil, normalized: [Float]? = nil, scale: [Float]? = nil
    }
    struct Gradients { var x: [Float], scale: [Float], weight: [Float], bias: [Float] }

    private func run(_ isa: ISA, _ kind: lens_norm_kind, _ given: Inputs, rows: Int) -> Gradients {
        let width = given.x.count / max(1, rows), groups = (rows + Int(LENS_SUM_ROWS) - 1) / Int(LENS_SUM_ROWS)
        let x = GuardedFloats(given.x.count), scale = GuardedFloats(rows)
        let sums = [GuardedFloats(groups * width), GuardedFloats(groups * width)]
        lens_norm_backward(isa.pointer, kind, Int64(rows), Int64(width), 1e-5, given.x, given.scaleIn, given.weight, given.out,
                           given.normalized, given.scale, x.base, scale.base, sums[0].base, sums[1].base)
        for buffer in [x, scale] + sums { buffer.expectIntact() }
        let totals = sums.map { sums in
            let total = GuardedFloats(width)
            lens_sum_axis(isa.pointer, 1, Int64(groups), Int64(width), sums.base, total.base)
            total.expectIntact()
            return total.values
        }
        return Gradients(x: x.values, scale: scale.values, weight: totals[0], bias: totals[1])
    }

    @Test(arguments: ISA.runnable, [1, 2, 7, 16, 17, 31])
    func againstDifferences(isa: ISA, width: Int) {
        var random = SeededRandom(UInt64(width))
        let rows = 3, x = random.floats(rows * width).map { $0 + 0.5 }, w = random.floats(width), scales: [Float] = [0.7, 1.9, 1.1]
        let out = random.floats(rows * width), normalized = random.floats(rows * width), scale = random.floats(rows)
        // A layer norm of one element is zero over a scale of sqrt(eps): nothing differences can tell.
        for (kind, centred) in [(LENS_NORM_LAYER, true), (LENS_NORM_RMS, false)] where width > 1 || !centred {
            for scaleIn in [nil, scales] {
                let got = run(isa, kind, Inputs(x: x, scaleIn: scaleIn, weight: w, out: out, normalized: normalized, scale: scale), rows: rows)
                func metric(_ row: Int, _ x: [Double], _ given: Double?, _ w: [Double], _ b: [Double]) -> Double {
                    let result = referenceNorm(x, eps: 1e-5, centred: centred, scale: given, weight: w, bias: b)
                    let slice = row * width..<(row + 1) * width
                    return dot(result.out, out[slice].map(Double.init)) + dot(result.normalized, normalized[slice].map(Double.init))
                        + result.scale * Double(scale[row])
                }
                let wide = w.map(Double.init), zeros = [Double](repeating: 0, count: width), rowsOf = (0..<rows).map { x.row($0, width: width).map(Double.init) }
                let ofX = (0..<rows).flatMap { r in differences(of: { metric(r, $0, scaleIn.map { Double($0[r]) }, wide, zeros) }, at: rowsOf[r], step: 1e-4) }
                let bound = 2e-5 * (1 + (ofX.map(abs).max() ?? 0))
                expectClose(got.x, ofX, relative: 0, absolute: bound, "x, \(kind), scale given: \(scaleIn != nil)")
                func total(_ r: Int, _ w: [Double], _ b: [Double]) -> Double { metric(r, rowsOf[r], scaleIn.map { Double($0[r]) }, w, b) }
                expectClose(got.weight, differences(of: { w in (0..<rows).reduce(0) { $0 + total($1, w, zeros) } }, at: wide), relative: 1e-5, absolute: 1e-5, "weight")
                expectClose(got.bias, differences(of: { b in (0..<rows).reduce(0) { $0 + total($1, wide, b) } }, at: zeros), relative: 1e-5, absolute: 1e-5, "bias")
                let ofScale = (0..<rows).map { r in
                    slope(at: referenceNorm(rowsOf[r], eps: 1e-5, centred: centred, scale: scaleIn.map { Double($0[r]) }).scale, step: 1e-4) {
                        metric(r, rowsOf[r], $0, wide, zeros)
                    }
                }
                expectClose(got.scale, ofScale, relative: 2e-5, absolute: 2e-5, "scale")
            }
        }
    }

    /// What is not given counts as zero, and what is not wanted changes nothing.
    @Test(arguments: ISA.runnable)
    func partsAddUp(isa: ISA) {
        var random = SeededRandom(4)
        let rows = 5, width = 37, x = random.floats(rows * width), out = random.floats(rows * width), scale = random.floats(rows)
        let all = run(isa, LENS_NORM_LAYER, Inputs(x: x, out: out, scale: scale), rows: rows)
        let ofOut = run(isa, LENS_NORM_LAYER, Inputs(x: x, out: out), rows: rows), ofScale = run(isa, LENS_NORM_LAYER, Inputs(x: x, scale: scale), rows: rows)
        expectClose(all.x, zip(ofOut.x, ofScale.x).map { Double($0) + Double($1) }, relative: 1e-5, absolute: 1e-5)
        let same = run(isa, LENS_NORM_LAYER, Inputs(x: x, normalized: out), rows: rows)
        expectSameBits(same.x, ofOut.x, "without a weight, out is normalized")
        expectSameBits(same.weight, [Float](repeating: 0, count: width), "no weight reached")
        let alone = GuardedFloats(x.count)
        lens_norm_backward(isa.pointer, LENS_NORM_LAYER, Int64(rows), Int64(width), 1e-5, x, nil, nil, out, nil, nil, alone.base, nil, nil, nil)
        expectSameBits(alone.values, ofOut.x)
    }

    @Test(arguments: ISA.runnable)
    func affine(isa: ISA) {
        var random = SeededRandom(9)
        let rows = 70, width = 19, x = random.floats(rows * width), w = random.floats(width), gradient = random.floats(rows * width)
        let out = GuardedFloats(x.count), sums = [GuardedFloats(3 * width), GuardedFloats(3 * width)]
        lens_affine_backward(isa.pointer, Int64(rows), Int64(width), x, w, gradient, out.base, sums[0].base, sums[1].base)
        ([out] + sums).forEach { $0.expectIntact() }
        expectSameBits(out.values, gradient.indices.map { gradient[$0] * w[$0 % width] })
        for (place, sums) in sums.enumerated() {
            let expected = (0..<3 * width).map { index in
                (0..<32).reduce(Float(0)) { sum, r in
                    let row = index / width * 32 + r, at = row * width + index % width
                    return row < rows ? sum + (place == 0 ? gradient[at] * x[at] : gradient[at]) : sum
                }
            }
            expectSameBits(sums.values, expected, "sums \(place)")
        }
    }

    @Test func bitsDependOnNeitherThreadsNorVectors() {
        var random = SeededRandom(8)
        let rows = 150, width = 1031
        let given = Inputs(x: random.floats(rows * width), weight: random.floats(width), out: random.floats(rows * width), scale: random.floats(rows))
        for kind in [LENS_NORM_LAYER, LENS_NORM_RMS] {
            let first = run(ISA.fused.first ?? ISA.runnable[0], kind, given, rows: rows)
            for isa in ISA.fused {
                let (one, two) = withOneAndTwoThreads { run(isa, kind, given, rows: rows) }
                for got in [one, two] {
                    expectSameBits(got.x, first.x)
                    expectSameBits(got.weight, first.weight)
                    expectSameBits(got.bias, first.bias)
                }
            }
        }
    }

    @Test(arguments: ISA.runnable)
    func nanTakesItsRowAndEmptyIsNothing(isa: ISA) {
        var x = [Float](repeating: 1, count: 3 * 17)
        for i in 0..<x.count { x[i] = Float(i % 5) }
        x[20] = .nan
        let got = run(isa, LENS_NORM_LAYER, Inputs(x: x, out: [Float](repeating: 1, count: x.count)), rows: 3)
        #expect(got.x[..<17].allSatisfy(\.isFinite) && got.x[34...].allSatisfy(\.isFinite) && got.x[17..<34].allSatisfy(\.isNaN))
        #expect(got.weight.allSatisfy(\.isNaN) && got.bias.allSatisfy(\.isFinite))
        let empty = run(isa, LENS_NORM_LAYER, Inputs(x: [], out: []), rows: 0)
        #expect(empty.x.isEmpty)
        let scale = GuardedFloats(2)
        lens_norm_backward(isa.pointer, LENS_NORM_RMS, 2, 0, 1e-5, [], nil, nil, nil, nil, [3, 4], nil, scale.base, nil, nil)
        #expect(scale.values == [3, 4])
    }

    @Test(arguments: ISA.runnable, [(1, 1031, 1), (3, 17, 1), (1, 5, 300), (2, 40, 7), (4, 0, 3), (0, 3, 3), (2, 3, 0), (2, 0, 1), (1, 9000, 129)])
    func sumsOverAnAxis(isa: ISA, shape: (Int, Int, Int)) {
        let (outer, size, inner) = shape
        var random = SeededRandom(UInt64(size))
        let x = random.floats(outer * size * inner, scale: 1000)
        let (one, two) = withOneAndTwoThreads {
            let out = GuardedFloats(outer * inner)
            lens_sum_axis(isa.pointer, Int64(outer), Int64(size), Int64(inner), x, out.base)
            out.expectIntact()
            return out.values
        }
        expectSameBits(one, two)
        let expected = (0..<outer * inner).map { place -> Float in
            var lanes = [Double](repeating: 0, count: 16)
            for s in 0..<size { lanes[inner == 1 ? s % 16 : 0] += Double(x[(place / inner * size + s) * inner + place % inner]) }
            for half in [8, 4, 2, 1] { for lane in 0..<half { lanes[lane] += lanes[lane + half] } }
            return Float(lanes[0])
        }
        expectSameBits(one, expected)
    }
}
