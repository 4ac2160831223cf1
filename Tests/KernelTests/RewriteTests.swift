// Weights rewritten in double precision: against the formula, from and to every place and format, in place, at any thread count.
import CLensKernels
import LensTestSupport
import Testing

@Suite struct RewriteTests {
    static let shapes = [(1, 1), (3, 14), (31, 65), (64, 64), (65, 7), (130, 200)]

    /// A matrix [k, n] packed or as a table [n, k], in a buffer with guards.
    private struct Place {
        let k: Int, n: Int, format: lens_format?
        let room: GuardedFloats

        init(_ k: Int, _ n: Int, _ format: lens_format?) {
            (self.k, self.n, self.format) = (k, n, format)
            room = GuardedFloats(format.map { (Int(lens_packed_bytes($0, Int64(k), Int64(n))) + 3) / 4 } ?? k * n)
        }

        /// - Parameter w: [k, n], row-major.
        init(_ w: [Float], _ k: Int, _ n: Int, _ format: lens_format?) {
            self.init(k, n, format)
            guard let format else {
                for i in 0..<k { for j in 0..<n { room.base[j * k + i] = w[i * n + j] } }
                return
            }
            var matrix = lens_matrix(format: format, k: Int64(k), n: Int64(n), data: room.base)
            lens_pack(&matrix, 0, Int64(k), 0, Int64(n), w, LENS_F32, Int64(n), 1)
        }

        func with<R>(_ body: (UnsafePointer<lens_weights>) -> R) -> R {
            var matrix = lens_matrix(format: format ?? LENS_FORMAT_F32, k: Int64(k), n: Int64(n), data: room.base)
            return withUnsafePointer(to: &matrix) { matrix in
                var weights = lens_weights(k: Int64(k), n: Int64(n), packed: format == nil ? nil : matrix, values: format == nil ? room.base : nil,
                                           k_stride: 1, n_stride: Int64(k))
                return body(&weights)
            }
        }

        /// [k, n], row-major.
        func values(_ isa: ISA) -> [Float] {
            guard let format else { return (0..<k * n).map { room.base[$0 % n * k + $0 / n] } }
            var out = [Float](repeating: .nan, count: k * n), matrix = lens_matrix(format: format, k: Int64(k), n: Int64(n), data: room.base)
            lens_unpack(isa.pointer, &matrix, 0, Int64(k), 0, Int64(n), &out, Int64(n), 1)
            return out
        }
    }

    /// The formula, not rounded.
    private func rewritten(_ w: [Float], _ k: Int, _ n: Int, _ scale: [Double]?, _ centers: Bool, _ offset: [Double]?) -> [Double] {
        var result = w.enumerated().map { Double($1) * (scale?[$0 / n] ?? 1) }
        for j in 0..<n where centers {
            let mean = (0..<k).map { result[$0 * n + j] }.reduce(0, +) / Double(k)
            for i in 0..<k { result[i * n + j] -= mean }
        }
        return result.enumerated().map { $1 - (offset?[$0 / n] ?? 0) }
    }

    /// What a format keeps of a float.
    private func kept(_ value: Double, _ format: lens_format?) -> Float {
        switch format {
        case LENS_FORMAT_BF16?:
            // To the nearest of 8 bits, in double: once.
            let unit = Double(sign: .plus, exponent: Float(value).isZero ? -126 : value.exponent, significand: 1) / 128
            return Float((value / unit).rounded(.toNearestOrEven) * unit)
        case LENS_FORMAT_F16?:
            let unit = Double(sign: .plus, exponent: max(-14, value == 0 ? -14 : value.exponent), significand: 1) / 1024
            return Float((value / unit).rounded(.toNearestOrEven) * unit)
        default: return Float(value)
        }
    }

    /// Equal, but where a sum in another order falls on the other side of a rounding: then the neighbour.
    private func expectRounded(_ found: [Float], _ exact: [Double], _ format: lens_format?, _ what: String) {
        let relative = format == nil || format == LENS_FORMAT_F32 ? 0x1p-23 : format == LENS_FORMAT_BF16 ? 0x1p-7 : 0x1p-10
        let wrong = zip(found, exact).filter { Double($0) != Double(kept($1, format)) && !(abs(Double($0) - $1) <= relative * abs($1) * 0.5000001 + 1e-15) }
        #expect(found.count == exact.count && wrong.isEmpty, "\(what): \(wrong.prefix(3))")
    }

    @Test(arguments: ISA.runnable, shapes)
    func everyPlace(isa: ISA, shape: (Int, Int)) {
        let (k, n) = shape, formats: [lens_format?] = [nil, LENS_FORMAT_F32, LENS_FORMAT_BF16, LENS_FORMAT_F16]
        var random = SeededRandom(UInt64(k * 1000 + n))
        let scale = random.floats(k).map { Double($0) + 1.5 }, offset = random.floats(k).map(Double.init)
        for source in formats {
            let from = Place(random.floats(k * n), k, n, source), w = from.values(isa)
            for target in formats {
                for (scale, centers, offset) in [(scale, true, offset), (nil, true, nil), (scale, false, nil), (nil, false, offset)] as [([Double]?, Bool, [Double]?)] {
                    let (one, two) = withOneAndTwoThreads { () -> [Float] in
                        let to = Place(k, n, target)
                        from.with { from in to.with { lens_rewrite(isa.pointer, from, $0, scale, centers, offset) } }
                        to.room.expectIntact()
                        if target == LENS_FORMAT_F32, n % 64 != 0 { // padding
                            for i in 0..<k { for j in n % 64..<64 { #expect(to.room.base[(n / 64 * k + i) * 64 + j] == 0) } }
                        }
                        return to.values(isa)
                    }
                    expectSameBits(one, two, "threads")
                    expectRounded(one, rewritten(w, k, n, scale, centers, offset), target, "\(k) by \(n), \(String(describing: source)) to \(String(describing: target))")
                    guard source == target else { continue }
                    let here = Place(w, k, n, source)
                    here.with { lens_rewrite(isa.pointer, $0, $0, scale, centers, offset) }
                    here.room.expectIntact()
                    expectSameBits(here.values(isa), one, "in place")
                }
            }
        }
    }

    @Test(arguments: ISA.runnable, shapes + [(0, 5), (70, 1031)])
    func sums(isa: ISA, shape: (Int, Int)) {
        let (k, n) = shape
        var random = SeededRandom(UInt64(k * 77 + n))
        let factors = random.floats(k).map(Double.init), w = random.floats(k * n)
        for format in [nil, LENS_FORMAT_F32, LENS_FORMAT_F16] as [lens_format?] {
            let from = Place(w, k, n, format), values = from.values(isa)
            let ((columns, plain, rows), again) = withOneAndTwoThreads { () -> ([Double], [Double], [Double]) in
                var columns = [Double](repeating: .nan, count: n), plain = columns, rows = [Double](repeating: .nan, count: k)
                from.with { weights in
                    lens_column_sums(isa.pointer, weights, factors, &columns)
                    lens_column_sums(isa.pointer, weights, nil, &plain)
                    lens_row_sums(isa.pointer, weights, &rows)
                }
                return (columns, plain, rows)
            }
            #expect(columns == again.0 && plain == again.1 && rows == again.2)
            func isClose(_ found: Double, _ terms: [Double]) -> Bool { abs(found - terms.reduce(0, +)) <= 1e-14 * (1 + terms.reduce(0) { $0 + abs($1) }) }
            for j in 0..<n {
                let column = (0..<k).map { Double(values[$0 * n + j]) }
                #expect(isClose(plain[j], column) && isClose(columns[j], zip(column, factors).map(*)))
            }
            for i in 0..<k { #expect(isClose(rows[i], (0..<n).map { Double(values[i * n + $0]) })) }
        }
    }

    /// A NaN stays in its row and column; quantised blocks are what packing the rewritten floats gives.
    @Test(arguments: ISA.runnable) func edges(isa: ISA) {
        let k = 64, n = 70
        var random = SeededRandom(4)
        var w = random.floats(k * n)
        let plain = Place(w, k, n, LENS_FORMAT_F32), halved = [Double](repeating: 0.5, count: k)
        for format in [LENS_FORMAT_Q8_0, LENS_FORMAT_Q4_0] {
            let to = Place(k, n, format), expected = Place(w.map { $0 * 0.5 }, k, n, format)
            plain.with { from in to.with { lens_rewrite(isa.pointer, from, $0, halved, false, nil) } }
            expectSameBits(to.values(isa), expected.values(isa))
            to.room.expectIntact()
        }
        w[3 * n + 5] = .nan
        let from = Place(w, k, n, LENS_FORMAT_F32), to = Place(k, n, nil)
        from.with { from in to.with { lens_rewrite(isa.pointer, from, $0, nil, true, nil) } }
        for (index, value) in to.values(isa).enumerated() { #expect(value.isNaN == (index % n == 5)) }
    }
}
