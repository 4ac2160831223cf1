// Panels: every dtype, any stride, any address, in one piece or many; and back again.
import CLensKernels
import LensTestSupport
import Testing

@Suite struct PackTests {
    static let shapes = [(1, 1), (3, 14), (5, 64), (70, 65), (7, 200), (130, 97)]

    /// The panel layout, element by element.
    private func expected(_ w: [Float], k: Int, n: Int) -> [Float] {
        var packed = [Float](repeating: 0, count: (n + 63) / 64 * 64 * k)
        for i in 0..<k { for j in 0..<n { packed[(j / 64 * k + i) * 64 + j % 64] = w[i * n + j] } }
        return packed
    }

    private func pack(_ to: GuardedFloats, k: Int, n: Int, rows: Range<Int>, columns: Range<Int>, _ source: UnsafeRawPointer,
                      _ dtype: lens_dtype, _ rowStride: Int, _ columnStride: Int) {
        var matrix = lens_matrix(format: LENS_FORMAT_F32, k: Int64(k), n: Int64(n), data: to.base)
        lens_pack(&matrix, Int64(rows.lowerBound), Int64(rows.count), Int64(columns.lowerBound), Int64(columns.count), source,
                  dtype, Int64(rowStride), Int64(columnStride))
    }

    /// The block of a packed float32 matrix, element (i, j) at i * rowStride + j * columnStride.
    private func unpack(_ packed: GuardedFloats, k: Int, n: Int, rows: Range<Int>, columns: Range<Int>, _ rowStride: Int,
                        _ columnStride: Int) -> [Float] {
        let out = GuardedFloats(rows.count * columns.count)
        var matrix = lens_matrix(format: LENS_FORMAT_F32, k: Int64(k), n: Int64(n), data: packed.base)
        lens_unpack(ISA.runnable[0].pointer, &matrix, Int64(rows.lowerBound), Int64(rows.count), Int64(columns.lowerBound),
                    Int64(columns.count), out.base, Int64(rowStride), Int64(columnStride))
        out.expectIntact()
        return out.values
    }

    private func room(_ k: Int, _ n: Int) -> GuardedFloats {
        GuardedFloats(Int(lens_packed_bytes(LENS_FORMAT_F32, Int64(k), Int64(n))) / 4)
    }

    @Test func sizes() {
        #expect(lens_packed_bytes(LENS_FORMAT_F32, 0, 5) == 0)
        #expect(lens_packed_bytes(LENS_FORMAT_F32, 5, 0) == 0)
        #expect(lens_packed_bytes(LENS_FORMAT_F32, 3, 64) == 4 * 192)
        #expect(lens_packed_bytes(LENS_FORMAT_BF16, 3, 65) == 2 * 384)
        #expect(lens_packed_bytes(LENS_FORMAT_Q8_0, 64, 65) == 2 * 34 * 128)
        #expect(lens_packed_bytes(LENS_FORMAT_Q6_K, 256, 1) == 210 * 64)
    }

    @Test(arguments: shapes) func rowMajorAndBack(k: Int, n: Int) {
        var random = SeededRandom(1)
        let w = random.floats(k * n)
        let packed = room(k, n)
        pack(packed, k: k, n: n, rows: 0..<k, columns: 0..<n, w, LENS_F32, n, 1)
        expectSameBits(packed.values, expected(w, k: k, n: n))
        packed.expectIntact()
        expectSameBits(unpack(packed, k: k, n: n, rows: 0..<k, columns: 0..<n, n, 1), w)
    }

    @Test(arguments: shapes) func transposedAndReversed(k: Int, n: Int) {
        var random = SeededRandom(2)
        let w = random.floats(k * n)
        var transposed = w
        for i in 0..<k { for j in 0..<n { transposed[j * k + i] = w[i * n + j] } }
        let packed = room(k, n)
        pack(packed, k: k, n: n, rows: 0..<k, columns: 0..<n, transposed, LENS_F32, 1, k)
        expectSameBits(packed.values, expected(w, k: k, n: n))

        let reversed = GuardedFloats(packed.count)
        w.reversed().withUnsafeBufferPointer { // element (0, 0) is the last one
            pack(reversed, k: k, n: n, rows: 0..<k, columns: 0..<n, $0.baseAddress! + (k * n - 1), LENS_F32, -n, -1)
        }
        expectSameBits(reversed.values, expected(w, k: k, n: n))
        reversed.expectIntact()
    }

    @Test(arguments: shapes) func piecesMakeTheWhole(k: Int, n: Int) {
        var random = SeededRandom(3)
        let w = random.floats(k * n), packed = room(k, n)
        for (kBegin, kEnd) in [(0, k / 3), (k / 3, k)] {
            for (nBegin, nEnd) in [(0, n / 2), (n / 2, n)] {
                w.withUnsafeBufferPointer {
                    pack(packed, k: k, n: n, rows: kBegin..<kEnd, columns: nBegin..<nEnd, $0.baseAddress! + kBegin * n + nBegin,
                         LENS_F32, n, 1)
                }
            }
        }
        expectSameBits(packed.values, expected(w, k: k, n: n))
        packed.expectIntact()

        let block = unpack(packed, k: k, n: n, rows: k / 3..<k, columns: n / 2..<n, 1, k - k / 3)
        for i in k / 3..<k {
            for j in n / 2..<n { #expect(block[(j - n / 2) * (k - k / 3) + i - k / 3] == w[i * n + j]) }
        }
    }

    @Test func emptyBlocksWriteNothing() {
        let packed = GuardedFloats(64)
        pack(packed, k: 1, n: 1, rows: 0..<0, columns: 0..<1, [0] as [Float], LENS_F32, 1, 1)
        pack(packed, k: 1, n: 1, rows: 0..<1, columns: 0..<0, [0] as [Float], LENS_F32, 1, 1)
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
        let packed = room(1, values.count)
        pack(packed, k: 1, n: values.count, rows: 0..<1, columns: 0..<values.count, bytes + 1, dtype, values.count, 1)
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
        var floats = packed
        floats.withUnsafeMutableBytes { bytes in
            var matrix = lens_matrix(format: LENS_FORMAT_F32, k: Int64(k), n: Int64(n), data: bytes.baseAddress)
            lens_gather_columns(ISA.runnable[0].pointer, &matrix, Int64(ids.count), ids, columns.base)
        }
        expectSameBits(columns.values, ids.flatMap { id in (0..<k).map { w[$0 * n + Int(id)] } })
        columns.expectIntact()
        lens_gather_rows(2, Int64(n), w, [8, 1], rows.base)
        expectSameBits(rows.values, Array(w[(8 * n)...]) + Array(w[n..<(2 * n)]))
        rows.expectIntact()
        lens_gather_rows(0, Int64(n), w, [], rows.base)
    }
}
