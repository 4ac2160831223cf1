// lens_linear_int8: products of quantised weights with activations rounded to eight bits. Against a Double reference of the
// rounded activations, against the stated error, and bit for bit: every set, shape, range and number of threads.
import CLensKernels
import LensTestSupport
import Testing

/// x as it is rounded: groups end where a span of the format, a chain or the range ends.
private struct RoundedRows {
    /// What stands for x, and the error allowed for each: half a step of its group.
    var values: [Float] = [], steps: [Float] = []

    init(_ problem: LinearCase, span: Int) {
        for i in 0..<problem.m {
            let row = problem.x.row(i, width: problem.kRange.count)
            for group in Self.groups(problem, span: span) {
                let largest = group.map { abs(row[$0]) }.max() ?? 0
                let isZero = largest < 0x1p-96, scale = isZero ? 0 : largest / 127, factor = isZero ? 0 : 127 / largest
                values += group.map { (row[$0] * factor).rounded(.toNearestOrEven) * scale }
                steps += group.map { _ in largest / 254 }
            }
        }
    }

    /// Ranges of the columns of x.
    static func groups(_ problem: LinearCase, span: Int) -> [Range<Int>] {
        var groups: [Range<Int>] = [], k = 0
        let begin = problem.kRange.lowerBound
        while k < problem.kRange.count {
            let end = min(problem.kRange.count, ((begin + k) / span + 1) * span - begin, (k / problem.block + 1) * problem.block)
            groups.append(k..<end)
            k = end
        }
        return groups
    }
}

extension Format {
    /// Rows of k that share a scale.
    fileprivate var span: Int { ["q2_K", "q3_K", "q6_K"].contains(testDescription) ? 16 : 32 }
    fileprivate static let quantized = all.filter(\.isQuantized)
}

@Suite(.serialized) struct Int8Tests {
    private func problem(_ format: Format, m: Int, k: Int, n: Int, kRange: Range<Int>? = nil, nRange: Range<Int>? = nil) -> LinearCase {
        var problem = LinearCase(m: m, k: k, n: n, kRange: kRange, nRange: nRange)
        problem.isRounded = true
        return problem
    }

    /// The product of the rounded activations, closely, and that of the given ones, within the stated error.
    private func check(_ problem: LinearCase, _ format: Format, _ isa: ISA, _ kept: PackedWeights) {
        var plain = problem
        plain.w = kept.values(isa)
        let exact = plain.reference().linear, got = problem.run(isa, kept, linear: true).linear
        let rounded = RoundedRows(problem, span: format.span)
        var known = plain
        known.x = rounded.values
        // A few more roundings a group than a chain has: of the scales, and of sums of up to 2^20.
        let close = known.reference().linear.map { Expected($0.value, within: 6 * $0.tolerance + 1e-30) }
        expectClose(got, close, "\(isa.name) \(format.testDescription) \(problem.shape)")
        var steps = plain
        (steps.x, steps.w, steps.epilogue) = (rounded.steps, plain.w.map(abs), ReferenceEpilogue())
        let bounded = zip(exact, steps.reference().linear).map { exact, step in
            Expected(exact.value, within: step.value * (1 + 0x1p-20) + 6 * exact.tolerance + 1e-30)
        }
        expectClose(got, bounded, "stated error: \(isa.name) \(format.testDescription) \(problem.shape)")
    }

    @Test(arguments: ISA.everyRunnable, Format.quantized)
    func roundedProducts(isa: ISA, format: Format) {
        let k = max(320, 2 * format.rows), kept = format.random(k: k, n: 97, seed: 3)
        for m in [1, 2, 3, 8] { check(problem(format, m: m, k: k, n: 97), format, isa, kept) }
    }

    /// Heads that do not fall on blocks, chains that end inside them, columns that do not fall on panels.
    @Test(arguments: ISA.everyRunnable, Format.quantized)
    func anyRangesAndBlocks(isa: ISA, format: Format) {
        let k = 3 * max(format.rows, 100) / format.rows * format.rows, n = 130, kept = format.random(k: k, n: n, seed: 5)
        for (range, block, columns) in [(0..<k, 14, 14..<28), (0..<k, 96, 60..<130), (0..<k, 300, 129..<130), (14..<28, 14, 0..<5),
                                        (31..<k, 256, 63..<65), (3..<k - 1, 1000, 1..<17), (k - 1..<k, 256, 0..<n), (30..<41, 1, 5..<9)] {
            var problem = problem(format, m: 4, k: k, n: n, kRange: range, nRange: columns)
            problem.block = block
            check(problem, format, isa, kept)
        }
    }

    /// Every set against the first, all parts of the call before the activation, which a set may round in its own way.
    @Test(arguments: Format.quantized)
    func setsAgree(format: Format) {
        let k = 2 * max(format.rows, 320) / format.rows * format.rows, n = 200, kept = format.random(k: k, n: n, seed: 9)
        for m in Array(1...40) + [128, 131] {
            for (range, block) in [(0..<k, 256), (5..<k - 3, 37)] where m < 10 || block == 256 {
                var problem = problem(format, m: m, k: k, n: n, kRange: range)
                problem.block = block
                problem.epilogue = ReferenceEpilogue(bias: problem.w.prefix(n).map { $0 }, residual: problem.w.prefix(1).flatMap { [Float](repeating: $0, count: m * n) })
                let first = problem.run(ISA.everyRunnable[0], kept, linear: true)
                for isa in ISA.everyRunnable.dropFirst() where isa.name != "portable" || m < 20 {
                    let other = problem.run(isa, kept, linear: true)
                    expectSameBits(other.out, first.out, "\(format.testDescription) \(isa.name) \(problem.shape)")
                    expectSameBits(other.linear, first.linear, "\(format.testDescription) \(isa.name) \(problem.shape)")
                }
            }
        }
    }

    /// One number, one way: a row alone, columns alone, one thread or two.
    @Test(arguments: ISA.everyRunnable, Format.quantized)
    func shapesChangeNothing(isa: ISA, format: Format) {
        let k = max(768, format.rows), n = 200, kept = format.random(k: k, n: n, seed: 7)
        for m in [2, 7, 40, 200] {
            var problem = problem(format, m: m, k: k, n: n)
            let (one, two) = withOneAndTwoThreads { problem.run(isa, kept).out }
            expectSameBits(one, two, "\(format.testDescription) \(problem.shape)")
            for i in Set([0, m / 2, m - 1]) { expectSameBits(problem.row(i).run(isa, kept).out, one.row(i, width: n), "row \(i) of \(m)") }
            for range in [0..<1, 14..<28, 60..<130, 199..<200] where m < 10 {
                problem.nRange = range
                expectSameBits(problem.run(isa, kept).out, (0..<m).flatMap { one[($0 * n + range.lowerBound)..<($0 * n + range.upperBound)] }, "\(range)")
            }
        }
    }

    /// W_O by heads: one product with block = d_head is the sum of the heads' products, wherever heads fall on blocks.
    @Test(arguments: ISA.everyRunnable, [14, 32, 40, 64])
    func headsSplitAndSummedAreTheWhole(isa: ISA, width: Int) {
        let format = Format.all[3], heads = 3, n = 33, m = 5, k = (heads * width + 31) / 32 * 32, kept = format.random(k: k, n: n, seed: 15)
        var whole = problem(format, m: m, k: k, n: n, kRange: 0..<heads * width)
        whole.block = width
        var total = [Float](repeating: 0, count: m * n)
        for h in 0..<heads {
            var one = problem(format, m: m, k: k, n: n, kRange: h * width..<(h + 1) * width)
            one.x = (0..<m).flatMap { whole.x.row($0, width: heads * width)[h * width..<(h + 1) * width] }
            let part = one.run(isa, kept).out
            for i in 0..<m * n { total[i] = h == 0 ? part[i] : total[i] + part[i] }
        }
        expectSameBits(whole.run(isa, kept).out, total)
    }

    /// The order of the contract, step by step, of Q8_0's blocks.
    @Test(arguments: ISA.everyRunnable)
    func theOrderIsTheContracts(isa: ISA) {
        var random = SeededRandom(21)
        let k = 96, n = 3, m = 3, blocks = Format.blocks(k / 32 * n, bytes: 34, scalesAt: [0], &random)
        let kept = PackedWeights(LENS_FORMAT_Q8_0, k: k, n: n)
        kept.packBlocks(blocks)
        for block in [256, 64, 40] {
            var problem = LinearCase(m: m, k: k, n: n)
            (problem.isRounded, problem.block) = (true, block)
            let got = problem.run(isa, kept).out
            for i in 0..<m {
                for j in 0..<n {
                    let row = problem.x.row(i, width: k)
                    var total: Float = 0, chain: Float = 0
                    for group in RoundedRows.groups(problem, span: 32) {
                        let at = (j * (k / 32) + group.lowerBound / 32) * 34
                        let d = Float(Float16(bitPattern: UInt16(blocks[at]) | UInt16(blocks[at + 1]) << 8)), largest = group.map { abs(row[$0]) }.max()!
                        let sum = group.reduce(0) { $0 + Int(Int8(bitPattern: blocks[at + 2 + $1 % 32])) * Int((row[$1] * (127 / largest)).rounded(.toNearestOrEven)) }
                        let value = Float(sum) * d * (largest / 127)
                        chain = (group.lowerBound % block == 0 ? 0 : chain) + value
                        if group.upperBound % block == 0 || group.upperBound == k { total = group.lowerBound < block ? chain : total + chain }
                    }
                    #expect(got[i * n + j].bitPattern == total.bitPattern, "block \(block), element \(i), \(j)")
                }
            }
        }
    }

    @Test(arguments: ISA.everyRunnable)
    func everythingRides(isa: ISA) {
        let format = Format.all[4], m = 7, n = 97, kept = format.random(k: 96, n: n, seed: 23)
        var random = SeededRandom(3), problem = problem(format, m: m, k: 96, n: n)
        problem.epilogue = ReferenceEpilogue(bias: random.floats(n), activation: .silu, gate: random.floats(m * n), residual: random.floats(m * n))
        let got = problem.run(isa, kept, linear: true)
        expectClose(got.out, problem.epilogue(got.linear.map { Expected(Double($0), within: 0) }), "epilogue")
        expectSameBits(problem.run(isa, kept).out, got.out, "storing the sum")
        expectSameBits(problem.run(isa, kept, out: false, linear: true).linear, got.linear, "the sum alone")
        expectSameBits(problem.run(isa, kept, aliasing: true).out, got.out, "in place")
    }

    /// NaN and infinity make their rows NaN and no other; largest and smallest numbers round as others do; the tiniest are zero.
    @Test(arguments: ISA.everyRunnable, Format.quantized)
    func extremes(isa: ISA, format: Format) {
        let m = 9, k = max(64, format.rows), n = 70, kept = format.random(k: k, n: n, seed: 11)
        var problem = problem(format, m: m, k: k, n: n)
        let fine = problem.run(isa, kept).out
        problem.x[2 * k + 17] = .nan
        problem.x[3 * k] = .infinity
        problem.x[5 * k + k - 1] = -.infinity
        for i in 0..<k { (problem.x[6 * k + i], problem.x[7 * k + i], problem.x[8 * k + i]) = (0, problem.x[7 * k + i] * 0x1p-120, problem.x[8 * k + i] * 0x1p-90) }
        let out = problem.run(isa, kept).out
        for i in [0, 1, 4] { expectSameBits(out.row(i, width: n), fine.row(i, width: n), "row \(i)") }
        for i in [2, 3, 5] { #expect(out.row(i, width: n).count(where: \.isNaN) == n) }
        for i in [6, 7] { #expect(out.row(i, width: n).count(where: { $0 == 0 }) == n) }
        expectSameBits(out.row(8, width: n), fine.row(8, width: n).map { $0 * 0x1p-90 }, "powers of two")
        problem.x = problem.x.map { $0.isNaN ? 1 : $0 > 0 ? .greatestFiniteMagnitude : -.greatestFiniteMagnitude }
        // Sums overflow to infinity, and two of them of either sign to NaN; no rounded number is out of its range.
        #expect(problem.run(isa, kept).out.count(where: \.isFinite) < m * n)
    }

    @Test(arguments: ISA.everyRunnable)
    func emptyProducts(isa: ISA) {
        let format = Format.all[3], kept = format.random(k: 64, n: 70, seed: 11)
        #expect(problem(format, m: 0, k: 64, n: 70).run(isa, kept).out.isEmpty)
        #expect(problem(format, m: 3, k: 64, n: 70, nRange: 9..<9).run(isa, kept).out.isEmpty)
        var none = problem(format, m: 3, k: 64, n: 70, kRange: 40..<40)
        none.epilogue.bias = [Float](repeating: 2, count: 70)
        #expect(none.run(isa, kept).out == [Float](repeating: 2, count: 210))
        #expect(lens_int8_scratch(LENS_FORMAT_F32, 3, 0, 64, 256) == 0)
        #expect(lens_int8_scratch(LENS_FORMAT_Q8_0, 0, 0, 64, 256) == 0)
        #expect(lens_int8_scratch(LENS_FORMAT_Q8_0, 2, 0, 64, 256) == 2 * (16 + 2 * 2))
    }
}
