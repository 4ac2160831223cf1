// Gradients of a product's two sides: against products in Double, and the laws: rows alone, threads, formats and ranges.
import CLensKernels
import LensTestSupport
import Testing

/// One product in reverse: dy [m, nRange.count], W [k, n], x [m, k].
struct LinearGradientCase: Sendable {
    var m: Int, k: Int, n: Int
    var kRange: Range<Int>, nRange: Range<Int>
    var dy: [Float], x: [Float], w: [Float]

    init(m: Int, k: Int, n: Int, kRange: Range<Int>? = nil, nRange: Range<Int>? = nil, seed: UInt64 = 11) {
        var random = SeededRandom(seed)
        (self.m, self.k, self.n) = (m, k, n)
        self.kRange = kRange ?? 0..<k
        self.nRange = nRange ?? 0..<n
        dy = random.floats(m * self.nRange.count)
        x = random.floats(m * k)
        w = random.floats(k * n)
    }

    func packed(_ format: lens_format = LENS_FORMAT_F32) -> PackedWeights {
        let packed = PackedWeights(format, k: k, n: n)
        packed.pack(w)
        return packed
    }

    func inputs(_ isa: ISA, _ weights: PackedWeights, rows: Range<Int>? = nil) -> [Float] {
        let rows = rows ?? 0..<m, width = kRange.count
        let out = GuardedFloats(rows.count * width)
        let own = Array(dy[(rows.lowerBound * nRange.count)..<(rows.upperBound * nRange.count)])
        lens_linear_inputs(isa.pointer, Int64(rows.count), &weights.matrix, Int64(kRange.lowerBound), Int64(kRange.upperBound),
                           Int64(nRange.lowerBound), Int64(nRange.upperBound), own, Int64(nRange.count), out.base, Int64(width))
        out.expectIntact("dx")
        return out.values
    }

    var inputsReference: [Expected] {
        let turned = nRange.flatMap { j in kRange.map { i in w[i * n + j] } }
        return referenceProduct(dy, turned, m: m, k: nRange.count, n: kRange.count)
    }

    /// dw in a wider array, at a column; what is around it stays.
    func weights(_ isa: ISA, stride: Int, column: Int) -> [Float] {
        let width = nRange.count, out = GuardedFloats(k * stride)
        lens_linear_weights(isa.pointer, Int64(m), Int64(k), Int64(width), x, Int64(k), dy, Int64(width), out.base + column, Int64(stride))
        out.expectIntact("dw")
        out.expectUntouched(rows: k, stride: stride, column: column, width: width, "dw")
        return out.rows(k, stride: stride, column: column, width: width)
    }

    var weightsReference: [Expected] {
        let turned = (0..<k).flatMap { i in (0..<m).map { row in x[row * k + i] } }
        return referenceProduct(turned, dy, m: k, k: m, n: nRange.count)
    }
}

@Suite(.serialized) struct LinearGradientTests {
    static let shapes = [(1, 1, 1), (1, 14, 97), (2, 65, 64), (5, 16, 31), (6, 130, 257), (7, 64, 300), (13, 200, 63), (97, 42, 513), (130, 97, 42),
                         (300, 70, 130), (390, 129, 65)]

    @Test(arguments: ISA.runnable)
    func bothSidesEqualProductsInDouble(isa: ISA) {
        for (m, k, n) in Self.shapes {
            let problem = LinearGradientCase(m: m, k: k, n: n)
            expectClose(problem.inputs(isa, problem.packed()), problem.inputsReference, "dx \(m) \(k) \(n)")
            expectClose(problem.weights(isa, stride: n, column: 0), problem.weightsReference, "dw \(m) \(k) \(n)")
            expectClose(problem.weights(isa, stride: n + 9, column: 5), problem.weightsReference, "dw \(m) \(k) \(n) in a wider array")
        }
    }

    @Test(arguments: ISA.runnable)
    func rangesOfRowsAndColumns(isa: ISA) {
        for (kRange, nRange) in [(14..<28, 0..<97), (0..<100, 14..<28), (3..<90, 60..<70), (63..<65, 1..<97), (99..<100, 64..<97), (5..<5, 0..<97)] {
            let problem = LinearGradientCase(m: 9, k: 100, n: 97, kRange: kRange, nRange: nRange)
            expectClose(problem.inputs(isa, problem.packed()), problem.inputsReference, "dx \(kRange) \(nRange)")
        }
        let empty = LinearGradientCase(m: 3, k: 10, n: 20, nRange: 4..<4)
        #expect(empty.inputs(isa, empty.packed()) == [Float](repeating: 0, count: 30))
        let none = LinearGradientCase(m: 0, k: 3, n: 20)
        #expect(none.weights(isa, stride: 20, column: 0) == [Float](repeating: 0, count: 60))
    }

    @Test(arguments: ISA.runnable)
    func aRowsGradientDependsOnItAlone(isa: ISA) {
        let problem = LinearGradientCase(m: 130, k: 97, n: 600), packed = problem.packed(), all = problem.inputs(isa, packed)
        for rows in [0..<1, 5..<6, 7..<18, 128..<130] {
            expectSameBits(problem.inputs(isa, packed, rows: rows), Array(all[(rows.lowerBound * 97)..<(rows.upperBound * 97)]), "rows \(rows)")
        }
    }

    @Test(arguments: ISA.runnable)
    func threadsChangeNothing(isa: ISA) {
        defer { lens_set_threads(0) }
        for (m, k, n) in [(130, 97, 600), (5, 300, 300), (800, 70, 64)] {
            let problem = LinearGradientCase(m: m, k: k, n: n), packed = problem.packed()
            lens_set_threads(1)
            let dx = problem.inputs(isa, packed), dw = problem.weights(isa, stride: n, column: 0)
            for threads in [2, 3] {
                lens_set_threads(Int32(threads))
                expectSameBits(problem.inputs(isa, packed), dx, "dx, \(threads) threads")
                expectSameBits(problem.weights(isa, stride: n, column: 0), dw, "dw, \(threads) threads")
            }
        }
    }

    @Test func fusedSetsAgree() {
        let problem = LinearGradientCase(m: 50, k: 97, n: 300), packed = problem.packed()
        for isa in ISA.fused.dropFirst() {
            expectSameBits(problem.inputs(isa, packed), problem.inputs(ISA.fused[0], packed), "dx")
            expectSameBits(problem.weights(isa, stride: 300, column: 0), problem.weights(ISA.fused[0], stride: 300, column: 0), "dw")
        }
    }

    /// Every format: packed from numbers, or from blocks of any bytes.
    @Test(arguments: ISA.runnable)
    func anyFormatEqualsTheFloat32MatrixOfItsValues(isa: ISA) {
        for format in 1..<LENS_FORMAT_COUNT.rawValue {
            let format = lens_format(format)
            for kRange in [0..<512, 14..<300] {
                var problem = LinearGradientCase(m: 7, k: 512, n: 97, kRange: kRange)
                let kept = PackedWeights(format, k: 512, n: 97)
                switch format {
                case LENS_FORMAT_BF16, LENS_FORMAT_F16, LENS_FORMAT_Q8_0, LENS_FORMAT_Q4_0: kept.pack(problem.w)
                default:
                    var random = SeededRandom(UInt64(format.rawValue))
                    // Bytes below 64 make no float16 that is not a number, wherever scales stand.
                    let bytes = 512 / Int(lens_format_rows(format)) * Int(lens_format_bytes(format)) * 97
                    kept.packBlocks(random.ids(bytes, below: 64).map(UInt8.init))
                }
                problem.w = kept.values(isa)
                let dx = problem.inputs(isa, kept)
                #expect(!dx.contains { !$0.isFinite })
                expectSameBits(dx, problem.inputs(isa, problem.packed()), "format \(format.rawValue)")
            }
        }
    }

    @Test(arguments: ISA.runnable)
    func whatIsNotANumberStaysInItsRow(isa: ISA) {
        var problem = LinearGradientCase(m: 8, k: 40, n: 80)
        problem.dy[3 * 80 + 7] = .nan
        problem.dy[5 * 80 + 1] = .infinity
        let dx = problem.inputs(isa, problem.packed())
        for row in 0..<8 { #expect(dx[(row * 40)..<(row * 40 + 40)].allSatisfy { $0.isFinite } == (row != 3 && row != 5)) }
        expectClose(problem.weights(isa, stride: 80, column: 0), problem.weightsReference, "dw")
    }
}
