// Weights kept in two bytes or in quantised blocks: one value for every reader. Products of any shape have the bits of the
// product with the same values packed as float32, on every instruction set and any number of threads.
import CLensKernels
import LensTestSupport
import Testing

/// A format, as a test argument.
struct Format: Sendable, CustomTestStringConvertible {
    let kernel: lens_format
    let testDescription: String

    var rows: Int { Int(lens_format_rows(kernel)) }
    var bytes: Int { Int(lens_format_bytes(kernel)) }
    var isQuantized: Bool { rows > 1 }

    private static let names = ["f32", "bf16", "f16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K"]
    static let all = names.enumerated().map { Format(kernel: lens_format(UInt32($0.offset)), testDescription: $0.element) }
    static let packable = all.filter { ["f32", "bf16", "f16", "q8_0", "q4_0"].contains($0.testDescription) }

    /// Random weights [k, n] in this format: any bytes, with scales that are ordinary numbers.
    func random(k: Int, n: Int, seed: UInt64) -> PackedWeights {
        var random = SeededRandom(seed)
        let packed = PackedWeights(kernel, k: k, n: n)
        guard isQuantized else {
            packed.pack(random.floats(k * n))
            return packed
        }
        packed.packBlocks(Self.blocks(k / rows * n, bytes: bytes, scalesAt: scalesAt, &random))
        return packed
    }

    /// Places of float16 fields in a block of ggml's.
    var scalesAt: [Int] {
        switch testDescription {
        case "q4_1", "q5_1", "q4_K", "q5_K": [0, 2]
        case "q2_K": [80, 82]
        case "q3_K": [108]
        case "q6_K": [208]
        default: [0]
        }
    }

    static func blocks(_ count: Int, bytes: Int, scalesAt: [Int], _ random: inout SeededRandom) -> [UInt8] {
        var blocks = [UInt8](repeating: 0, count: count * bytes)
        for i in blocks.indices { blocks[i] = UInt8(truncatingIfNeeded: random.next()) }
        for block in 0..<count {
            for place in scalesAt {
                let half = Float16(random.unit() / 64).bitPattern
                blocks[block * bytes + place] = UInt8(truncatingIfNeeded: half)
                blocks[block * bytes + place + 1] = UInt8(half >> 8)
            }
        }
        return blocks
    }
}

@Suite(.serialized) struct WeightFormatTests {
    /// The same values as float32.
    private func plain(_ packed: PackedWeights, _ isa: ISA) -> PackedWeights {
        let plain = PackedWeights(LENS_FORMAT_F32, k: Int(packed.matrix.k), n: Int(packed.matrix.n))
        plain.pack(packed.values(isa))
        return plain
    }

    @Test(arguments: ISA.runnable, Format.all)
    func anyNumberOfRows(isa: ISA, format: Format) {
        let k = max(512, 2 * format.rows), n = 97, kept = format.random(k: k, n: n, seed: 3), values = plain(kept, isa)
        for m in [1, 2, 3, 5, 6, 7, 8, 13, 24, 25, 70, 130] {
            let problem = LinearCase(m: m, k: k, n: n)
            expectSameBits(problem.run(isa, kept).out, problem.run(isa, values).out, "\(format.testDescription) \(problem.shape)")
        }
    }

    /// Depths that end inside a chain, heads that do not fall on blocks, columns that do not fall on panels.
    @Test(arguments: ISA.runnable, Format.all)
    func anyRangesAndBlocks(isa: ISA, format: Format) {
        let k = 3 * max(format.rows, 100) / format.rows * format.rows, n = 200
        let kept = format.random(k: k, n: n, seed: 5), values = plain(kept, isa)
        for m in [1, 4, 6, 9, 30] {
            for (range, block) in [(0..<k, 14), (0..<k, 96), (0..<k, 300), (14..<28, 14), (31..<k, 256), (k - 1..<k, 256), (5..<5, 256)] {
                for columns in [0..<n, 14..<28, 60..<130, 199..<200] {
                    var problem = LinearCase(m: m, k: k, n: n, kRange: range, nRange: columns)
                    problem.block = block
                    problem.epilogue = ReferenceEpilogue(bias: problem.w.prefix(n).map { $0 }, activation: .silu)
                    expectSameBits(problem.run(isa, kept).out, problem.run(isa, values).out, "\(format.testDescription) \(problem.shape)")
                }
            }
        }
    }

    @Test(arguments: ISA.runnable, Format.all)
    func threadsChangeNothing(isa: ISA, format: Format) {
        let k = max(768, format.rows), n = 330, kept = format.random(k: k, n: n, seed: 7)
        for m in [1, 3, 70] {
            let problem = LinearCase(m: m, k: k, n: n)
            let (one, two) = withOneAndTwoThreads { problem.run(isa, kept).out }
            expectSameBits(one, two, "\(format.testDescription) \(problem.shape)")
        }
    }

    /// Values do not depend on the instruction set; products do not where both have a fused multiply-add.
    @Test(arguments: Format.all)
    func setsAgree(format: Format) {
        let k = 2 * max(format.rows, 150) / format.rows * format.rows, n = 70, kept = format.random(k: k, n: n, seed: 9)
        let values = kept.values(ISA.runnable[0])
        for isa in ISA.runnable.dropFirst() { expectSameBits(kept.values(isa), values, "\(format.testDescription) \(isa.name)") }
        for m in [1, 5, 20] {
            let problem = LinearCase(m: m, k: k, n: n)
            for isa in ISA.fused.dropFirst() {
                expectSameBits(problem.run(isa, kept).out, problem.run(ISA.fused[0], kept).out, "\(format.testDescription) \(isa.name)")
            }
        }
    }

    @Test(arguments: ISA.runnable, Format.all)
    func columnsAreGathered(isa: ISA, format: Format) {
        let k = max(96, format.rows), n = 130, kept = format.random(k: k, n: n, seed: 11), values = kept.values(isa)
        let ids: [Int32] = [129, 0, 63, 64, 17, 17], out = GuardedFloats(ids.count * k)
        lens_gather_columns(isa.pointer, &kept.matrix, Int64(ids.count), ids, out.base)
        expectSameBits(out.values, ids.flatMap { id in (0..<k).map { values[$0 * n + Int(id)] } }, format.testDescription)
        out.expectIntact()
    }

    /// Blocks go in and come out as they were, whole or some columns at a time.
    @Test(arguments: Format.all.filter(\.isQuantized))
    func blocksComeBack(format: Format) {
        var random = SeededRandom(13)
        let k = 2 * format.rows, n = 70, column = 2 * format.bytes
        let blocks = Format.blocks(2 * n, bytes: format.bytes, scalesAt: format.scalesAt, &random)
        let packed = PackedWeights(format.kernel, k: k, n: n)
        for range in [40..<70, 0..<3, 3..<40] {
            blocks.withUnsafeBytes { lens_pack_blocks(&packed.matrix, Int64(range.lowerBound), Int64(range.count), $0.baseAddress! + range.lowerBound * column) }
        }
        var back = [UInt8](repeating: 0, count: blocks.count)
        lens_unpack_blocks(&packed.matrix, 0, Int64(n), &back)
        #expect(back == blocks)
        var some = [UInt8](repeating: 0, count: 2 * column)
        lens_unpack_blocks(&packed.matrix, 63, 2, &some)
        #expect(some == Array(blocks[(63 * column)..<(65 * column)]))
    }

    /// NaN and infinity in x stay in their rows, those of weights in their columns.
    @Test(arguments: ISA.runnable, Format.packable)
    func nanAndInfinity(isa: ISA, format: Format) {
        var problem = LinearCase(m: 9, k: 320, n: 70)
        problem.x[2 * 320 + 17] = .nan
        problem.x[5 * 320 + 319] = .infinity
        problem.w[40 * 70 + 69] = -.infinity
        problem.w[41 * 70 + 3] = .nan
        let kept = PackedWeights(format.kernel, k: 320, n: 70)
        kept.pack(problem.w)
        let out = problem.run(isa, kept).out
        for i in 0..<9 {
            for j in 0..<70 { #expect(out[i * 70 + j].isFinite == ![3, 69].contains(j) && ![2, 5].contains(i) || !out[i * 70 + j].isFinite && ([3, 69].contains(j) || [2, 5].contains(i))) }
        }
        expectSameBits(problem.row(4).run(isa, kept).out.filter(\.isFinite), out.row(4, width: 70).filter(\.isFinite))
    }
}
