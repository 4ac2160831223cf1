// Softmax, log-softmax and cross-entropy.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct SoftmaxTests {
    private func softmax(_ isa: ISA, _ x: [Float], rows: Int = 1, log: Bool = false) -> [Float] {
        let out = GuardedFloats(x.count), n = Int64(x.count / rows)
        if log {
            lens_log_softmax(isa.pointer, Int64(rows), n, x, out.base)
        } else {
            lens_softmax(isa.pointer, Int64(rows), n, x, out.base)
        }
        out.expectIntact()
        return out.values
    }

    @Test(arguments: ISA.runnable, rowLengths)
    func againstDouble(isa: ISA, n: Int) {
        var random = SeededRandom(UInt64(n))
        let x = random.floats(2 * n, scale: 20)
        let first = Array(x[..<n]), second = Array(x[n...])
        expectClose(softmax(isa, x, rows: 2), referenceSoftmax(first) + referenceSoftmax(second))
        expectClose(softmax(isa, x, rows: 2, log: true), referenceLogSoftmax(first) + referenceLogSoftmax(second))
    }

    static let odd: [[Float]] = [
        [-.infinity, -.infinity, -.infinity], [-.infinity, 1, -.infinity, 2], [.nan, 1, 2], [-.infinity, .nan],
        [.infinity, 1, 2], [-3e38, 3e38], [1e30, 1e30], [0], [-.infinity], [.nan],
    ]

    @Test(arguments: ISA.runnable, odd)
    func oddRows(isa: ISA, x: [Float]) {
        for padded in [x, x + [Float](repeating: -.infinity, count: 20)] {
            expectClose(softmax(isa, padded), referenceSoftmax(padded), "softmax \(x)")
            expectClose(softmax(isa, padded, log: true), referenceLogSoftmax(padded), "log softmax \(x)")
        }
    }

    @Test(arguments: ISA.runnable, [1, 7, 97, 1031])
    func crossEntropyIsTheTargetsLogSoftmax(isa: ISA, n: Int) {
        var random = SeededRandom(3)
        let rows = 5, stride = n + 3, x = random.floats(rows * stride, scale: 8), targets = random.ids(rows, below: n)
        let loss = GuardedFloats(rows)
        lens_cross_entropy(isa.pointer, Int64(rows), Int64(n), x, Int64(stride), targets, loss.base)
        loss.expectIntact()
        for r in 0..<rows {
            let row = Array(x[(r * stride)..<(r * stride + n)])
            let target = Int(targets[r])
            expectSameBits([loss.values[r]], [-softmax(isa, row, log: true)[target]])
            let reference = referenceLogSoftmax(row)[target]
            expectClose([loss.values[r]], [Expected(-reference.value, within: reference.tolerance)])
        }
    }

    @Test(arguments: ISA.runnable)
    func rowsThatDoNotCount(isa: ISA) {
        let loss = GuardedFloats(3), x: [Float] = [.nan, 1, 2, 3, -.infinity, .infinity]
        lens_cross_entropy(isa.pointer, 3, 2, x, 2, [-1, 0, -1], loss.base)
        expectSameBits([loss.values[0], loss.values[2]], [0, 0])
        #expect(loss.values[1] > 1.3 && loss.values[1] < 1.32)
        loss.expectIntact()
    }

    @Test func bitsDependOnTheRowAlone() {
        var random = SeededRandom(9)
        let n = 1031, x = random.floats(40 * n, scale: 9)
        for log in [false, true] {
            let batch = softmax(ISA.fused.first ?? ISA.runnable[0], x, rows: 40, log: log)
            for isa in ISA.fused {
                let (one, two) = withOneAndTwoThreads { softmax(isa, x, rows: 40, log: log) }
                expectSameBits(one, batch)
                expectSameBits(two, batch)
                expectSameBits(softmax(isa, x.row(7, width: n), log: log), batch.row(7, width: n))
            }
        }
    }

    @Test(arguments: ISA.runnable, [1, 15, 16, 17, 200])
    func theOrderIsTheContracts(isa: ISA, n: Int) {
        var random = SeededRandom(12)
        let x = random.floats(n, scale: 5), largest = x.max()!
        let e = isa.exp(x.map { $0 - largest })
        let inverse = 1 / isa.arithmetic.lanes(e)
        expectSameBits(softmax(isa, x), e.map { $0 * inverse })
    }

    @Test(arguments: ISA.runnable)
    func inPlaceAndEmpty(isa: ISA) {
        var random = SeededRandom(1)
        let x = random.floats(50), buffer = GuardedFloats(x)
        lens_softmax(isa.pointer, 1, 50, buffer.base, buffer.base)
        expectSameBits(buffer.values, softmax(isa, x))
        lens_softmax(isa.pointer, 3, 0, buffer.base, buffer.base)
        lens_softmax(isa.pointer, 0, 7, buffer.base, buffer.base)
        expectSameBits(buffer.values, softmax(isa, x))
    }
}
