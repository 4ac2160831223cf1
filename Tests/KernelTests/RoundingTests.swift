// Rounding to two bytes: nearest, ties to even, against conversions nobody here wrote; and bits kept where the type is the same.
import CLensKernels
import LensTestSupport
import Testing

@Suite struct RoundingTests {
    /// Floats of every kind: each exponent, with significands at, beside and between what two bytes hold.
    static let floats: [Float] = {
        var random = SeededRandom(1)
        var values: [Float] = []
        for exponent in stride(from: UInt32(0), through: 255, by: 1) {
            for fraction: UInt32 in [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x3000, 0x7fff, 0x8000, 0x8001, 0x1_8000, 0x7f_ffff, 0x7f_f000, 0x7f_8000,
                                     UInt32(truncatingIfNeeded: random.next()) & 0x7f_ffff] {
                values += [Float(bitPattern: exponent << 23 | fraction), -Float(bitPattern: exponent << 23 | fraction)]
            }
        }
        return values
    }()

    private func halves(_ format: lens_format, _ source: UnsafeRawPointer, _ dtype: lens_dtype, count: Int) -> [UInt16] {
        let packed = PackedWeights(format, k: count, n: 1)
        lens_pack(&packed.matrix, 0, Int64(count), 0, 1, source, dtype, 1, 1)
        let raw = UnsafeRawPointer(packed.storage.base)
        return (0..<count).map { raw.loadUnaligned(fromByteOffset: $0 * 128, as: UInt16.self) }
    }

    @Test func float16() {
        let found = halves(LENS_FORMAT_F16, Self.floats, LENS_F32, count: Self.floats.count)
        for (value, half) in zip(Self.floats, found) {
            let expected = Float16(value)
            if value.isNaN { #expect(Float16(bitPattern: half).isNaN) } else { #expect(half == expected.bitPattern, "\(value)") }
        }
    }

    @Test func bfloat16() {
        let found = halves(LENS_FORMAT_BF16, Self.floats, LENS_F32, count: Self.floats.count)
        for (value, half) in zip(Self.floats, found) {
            let back = Float(bitPattern: UInt32(half) << 16)
            guard !value.isNaN else { #expect(back.isNaN); continue }
            // The two neighbours, and the nearer of them.
            let bits = value.bitPattern, low = bits & 0xffff_0000, high = low &+ 0x1_0000
            let rest = bits & 0xffff
            let expected = rest > 0x8000 || (rest == 0x8000 && low & 0x1_0000 != 0) ? high : low
            #expect(UInt32(half) << 16 == expected, "\(value)")
        }
    }

    /// From doubles in one rounding: values just beside a tie, where rounding to float32 first would land on the tie.
    @Test func doublesAreRoundedOnce() {
        var doubles: [Double] = [0, -0.0, .infinity, 1e300, -1e300, 1e-300, 65_519.999_999, 65_520, 0x1p-25, 0x1.000001p-25]
        for base in [1.0, 3.0, 0.1, 1e-5, 60_000] {
            for step in [0x1p-9, 0x3p-9, 0x1p-11, 0x3p-11] {
                for beside in [0, 0x1p-40, -0x1p-40, 0x1p-30] { doubles.append(base.binade * (1 + step + beside)) }
            }
        }
        let half = halves(LENS_FORMAT_F16, doubles, LENS_F64, count: doubles.count)
        for (value, bits) in zip(doubles, half) { #expect(bits == Float16(value).bitPattern, "\(value)") }
        let brain = halves(LENS_FORMAT_BF16, doubles, LENS_F64, count: doubles.count)
        for (value, bits) in zip(doubles, brain) where value.isFinite && abs(value) < 1e38 && abs(value) > 1e-30 {
            let found = Double(Float(bitPattern: UInt32(bits) << 16)), unit = value.binade * 0x1p-7
            #expect(abs(found - value) <= unit / 2)
            if abs(found - value) == unit / 2 { #expect(bits & 1 == 0, "\(value)") }
        }
    }

    /// What is in the type already keeps every bit, NaN's too, whichever way the source lies.
    @Test(arguments: [(LENS_FORMAT_F16, LENS_F16), (LENS_FORMAT_BF16, LENS_BF16)])
    func bitsAreKept(format: lens_format, dtype: lens_dtype) {
        let all = (0...UInt16.max).map { $0 }
        #expect(halves(format, all, dtype, count: all.count) == all)
        let across = PackedWeights(format, k: 2, n: 100)
        lens_pack(&across.matrix, 0, 2, 0, 100, all, dtype, 100, 1)
        let raw = UnsafeRawPointer(across.storage.base)
        for i in 0..<2 {
            for j in 0..<100 {
                let place = 2 * (j / 64 * 128 + i * 64 + j % 64)
                #expect(raw.loadUnaligned(fromByteOffset: place, as: UInt16.self) == all[i * 100 + j])
            }
        }
    }
}
