// Panels: every dtype, any stride, any address, in one piece or many; and back again.
import CLensKernels
import LensTestSupport
import Testing

@Suite struct PackTests {
    static let shapes = [(1, 1), (3, 14), (5, 64), (70, 65), (7, 200), (130, 97)]

    /// The panel layout, element by element.
    private func expected(_ w: [Float], k: Int, n: Int) -> [Float] {
        var packed = [Float](repeating: 0, count: Int(lens_packed_count(Int64(k), Int64(n))))
        for i in 0..<k { for j in 0..<n { packed[(j / 64 * k + i) * 64 + j % 64] = w[i * n + j] } }
        return packed
    }

    @Test func counts() {
        #expect(lens_packed_count(0, 5) == 0)
        #expect(lens_packed_count(5, 0) == 0)
        #expect(lens_packed_count(3, 64) == 192)
        #expect(lens_packed_count(3, 65) == 384)
    }

    @Test(arguments: shapes) func rowMajorAndBack(k: Int, n: Int) {
        var random = SeededRandom(1)
        let w = random.floats(k * n)
        let packed = GuardedFloats(Int(lens_packed_count(Int64(k), Int64(n))))
        lens_pack(packed.base, Int64(k), Int64(n), 0, Int64(k), 0, Int64(n), w, LENS_F32, Int64(n), 1)
        expectSameBits(packed.values, expected(w, k: k, n: n))
        packed.expectIntact()

        let back = GuardedFloats(k * n)
        lens_unpack(packed.base, Int64(k), Int64(n), 0, Int64(k), 0, Int64(n), back.base, Int64(n), 1)
        expectSameBits(back.values, w)
        back.expectIntact()
    }

    @Test(arguments: shapes) func transposedAndReversed(k: Int, n: Int) {
        var random = SeededRandom(2)
        let w = random.floats(k * n), K = Int64(k), N = Int64(n)
        var transposed = w
        for i in 0..<k { for j in 0..<n { transposed[j * k + i] = w[i * n + j] } }
        let packed = GuardedFloats(Int(lens_packed_count(K, N)))
        lens_pack(packed.base, K, N, 0, K, 0, N, transposed, LENS_F32, 1, K)
        expectSameBits(packed.values, expected(w, k: k, n: n))

        let reversed = GuardedFloats(packed.count)
        w.reversed().withUnsafeBufferPointer { // element (0, 0) is the last one
            lens_pack(reversed.base, K, N, 0, K, 0, N, $0.baseAddress! + (k * n - 1), LENS_F32, -N, -1)
        }
        expectSameBits(reversed.values, expected(w, k: k, n: n))
        reversed.expectIntact()
    }

    @Test(arguments: shapes) func piecesMakeTheWhole(k: Int, n: Int) {
        var random = SeededRandom(3)
        let w = random.floats(k * n), K = Int64(k), N = Int64(n)
        let packed = GuardedFloats(Int(lens_packed_count(K, N)))
        for (kBegin, kEnd) in [(0, k / 3), (k / 3, k)] {
            for (nBegin, nEnd) in [(0, n / 2), (n / 2, n)] {
                w.withUnsafeBufferPointer {
                    lens_pack(packed.base, K, N, Int64(kBegin), Int64(kEnd - kBegin), Int64(nBegin),
                              Int64(nEnd - nBegin), $0.baseAddress! + kBegin * n + nBegin, LENS_F32, N, 1)
                }
            }
        }
        expectSameBits(packed.values, expected(w, k: k, n: n))
        packed.expectIntact()

        let block = GuardedFloats((k - k / 3) * (n - n / 2))
        lens_unpack(packed.base, K, N, Int64(k / 3), Int64(k - k / 3), Int64(n / 2), Int64(n - n / 2), block.base, 1,
                    Int64(k - k / 3))
        for i in k / 3..<k {
            for j in n / 2..<n {
                #expect(block.values[(j - n / 2) * (k - k / 3) + i - k / 3] == w[i * n + j])
            }
        }
        block.expectIntact()
    }

    @Test func emptyBlocksWriteNothing() {
        let packed = GuardedFloats(64)
        lens_pack(packed.base, 1, 1, 0, 0, 0, 1, [0] as [Float], LENS_F32, 1, 1)
        lens_pack(packed.base, 1, 1, 0, 1, 0, 0, [0] as [Float], LENS_F32, 1, 1)
        #expect(packed.values.allSatisfy { $0.bitPattern == GuardedFloats.marker.bitPattern })
    }

    /// Bytes of a dtype at an odd address, through both lens_convert and lens_pack.
    private func convert<T>(_ values: [T], _ dtype: lens_dtype) -> [Float] {
        let size = MemoryLayout<T>.size, bytes = UnsafeMutableRawPointer.allocate(byteCount: values.count * size + 1,
                                                                                  alignment: 16)
        defer { bytes.deallocate() }
        values.withUnsafeBytes { (bytes + 1).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let out = GuardedFloats(values.count), n = Int64(values.count)
        lens_convert(bytes + 1, dtype, n, out.base)
        out.expectIntact()
        let packed = GuardedFloats(Int(lens_packed_count(1, n)))
        lens_pack(packed.base, 1, n, 0, 1, 0, n, bytes + 1, dtype, n, 1)
        expectSameBits(Array(packed.values[..<values.count]), out.values, "pack and convert")
        return out.values
    }

    @Test func everyHalfValue() {
        let all = (0...UInt16.max).map { $0 }
        let floats = convert(all, LENS_F16)
        for (bits, value) in zip(all, floats) {
            let reference = Double(sign: bits >> 15 == 1 ? .minus : .plus, exponent: Int(bits >> 10 & 31) - 15,
                                   significand: 1 + Double(bits & 1023) / 1024)
            switch (bits >> 10 & 31, bits & 1023) {
            case (31, 0): #expect(value == (bits >> 15 == 1 ? -.infinity : .infinity))
            case (31, _): #expect(value.isNaN)
            case (0, let fraction):
                #expect(value == Float(fraction) * 0x1p-24 * (bits >> 15 == 1 ? -1 : 1))
                #expect((value.sign == .minus) == (bits >> 15 == 1))
            default: if Double(value) != reference { Issue.record("half \(bits): \(value), expected \(reference)") }
            }
        }
    }

    @Test func bfloat16AndDouble() {
        let brains: [UInt16] = [0, 0x8000, 0x3f80, 0x7f80, 0xff80, 0x0001, 0x4049]
        expectSameBits(convert(brains, LENS_BF16), brains.map { Float(bitPattern: UInt32($0) << 16) })
        #expect(convert([UInt16(0x7fc1)], LENS_BF16)[0].isNaN)
        // Ties go to even; too large becomes infinity; NaN stays.
        let doubles = [1 + 0x1p-24, 1 + 0x3p-24, 0.1, 1e300, -1e300, 1e-46, -0.0]
        expectSameBits(convert(doubles, LENS_F64), doubles.map { Float($0) })
        #expect(convert([Double.nan], LENS_F64)[0].isNaN)
        expectSameBits(convert([Float.pi, -.infinity], LENS_F32), [.pi, -.infinity])
    }

    @Test func longConversions() {
        let values = (0..<40_000).map { Double($0) / 7 }
        expectSameBits(convert(values, LENS_F64), values.map { Float($0) })
    }

    @Test func gathers() {
        var random = SeededRandom(4)
        let k = 9, n = 70, w = random.floats(k * n), ids: [Int32] = [69, 0, 3, 64, 63]
        let packed = expected(w, k: k, n: n)
        let columns = GuardedFloats(ids.count * k), rows = GuardedFloats(2 * n)
        lens_gather_columns(Int64(ids.count), Int64(k), Int64(n), packed, ids, columns.base)
        expectSameBits(columns.values, ids.flatMap { id in (0..<k).map { w[$0 * n + Int(id)] } })
        columns.expectIntact()
        lens_gather_rows(2, Int64(n), w, [8, 1], rows.base)
        expectSameBits(rows.values, Array(w[(8 * n)...]) + Array(w[n..<(2 * n)]))
        rows.expectIntact()
        lens_gather_rows(0, Int64(n), w, [], rows.base)
    }
}
