// lens_linear_several: the bits of the products one by one, whatever the widths, formats, rows and threads.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct SeveralProductsTests {
    /// Problems of the same x: widths that end inside a panel, one of them narrow.
    private func problems(_ widths: [Int], _ formats: [Format], m: Int, k: Int, isRounded: Bool = false) -> [LinearCase] {
        zip(widths, formats).enumerated().map { index, kind in
            var problem = LinearCase(m: m, k: k, n: kind.0, seed: 31)  // the same x
            var random = SeededRandom(UInt64(40 + index))
            problem.w = random.floats(k * kind.0)
            problem.epilogue.bias = index % 2 == 0 ? random.floats(kind.0) : nil
            problem.format = kind.1.kernel
            problem.isRounded = isRounded
            return problem
        }
    }

    /// - Parameter isGated: whether the second product is gated by the first.
    private func run(_ all: [LinearCase], _ isa: ISA, _ kept: [PackedWeights]? = nil, isGated: Bool = false) -> [[Float]] {
        let packed = kept ?? all.map { $0.packed() }, outs = all.map { GuardedFloats($0.m * $0.n) }
        let biases = all.map { $0.epilogue.bias.map { GuardedFloats($0) } }
        let linear = GuardedFloats(all[all.count - 1].m * all[all.count - 1].n)
        let products = all.indices.map { index in
            var epilogue = lens_epilogue()
            epilogue.bias = biases[index].map { UnsafePointer($0.base) }
            if isGated, index == 1 { (epilogue.gate, epilogue.act, epilogue.linear_out) = (UnsafePointer(outs[0].base), LENS_ACT_SILU, linear.base) }
            return lens_product(w: packed[index].matrix, out: outs[index].base, epilogue: epilogue)
        }
        let m = Int64(all[0].m), k = Int64(all[0].k), isRounded = all[0].isRounded
        let floats = all.reduce(0) { $0 + (isRounded ? Int(lens_int8_scratch($1.format, m, 0, k, Int64(LENS_K_BLOCK))) : 0) }
        let scratch = GuardedFloats(floats)
        lens_linear_several(isa.pointer, m, Int64(all.count), products, isGated, all[0].x, k, isRounded ? scratch.base : nil)
        for buffer in outs + [linear] { buffer.expectIntact("\(all[0].shape)") }
        scratch.expectIntact("scratch")
        withExtendedLifetime((packed, biases)) {}
        return outs.map(\.values) + (isGated ? [linear.values] : [])
    }

    @Test(arguments: ISA.runnable, [1, 2, 5, 13, 130])
    func areTheProductsOneByOne(isa: ISA, m: Int) throws {
        let kinds = try ["f32", "q8_0", "q4_0", "f16"].map { name in try #require(Format.all.first { $0.testDescription == name }) }
        for (widths, formats) in [([200, 65, 64], [kinds[0], kinds[0], kinds[0]]), ([130, 1, 300], [kinds[1], kinds[2], kinds[3]]), ([97], [kinds[2]])] {
            let all = problems(widths, formats, m: m, k: 288)
            let expected = all.map { $0.run(isa).out }
            let (one, two) = withOneAndTwoThreads { run(all, isa) }
            for index in all.indices {
                expectSameBits(one[index], expected[index], "\(isa.name), m \(m), width \(widths[index])")
                expectSameBits(two[index], expected[index], "two threads, \(isa.name), m \(m), width \(widths[index])")
            }
        }
    }

    /// A gate and what it gates, in step.
    @Test(arguments: ISA.runnable, [1, 3, 6, 64, 130])
    func aGateIsThereWhenItIsRead(isa: ISA, m: Int) throws {
        let kinds = try ["f32", "q8_0", "q4_0"].map { name in try #require(Format.all.first { $0.testDescription == name }) }
        for kind in kinds {
            var all = problems([333, 333], [kind, kind], m: m, k: 320)
            let (one, two) = withOneAndTwoThreads { run(all, isa, isGated: true) }
            all[1].epilogue.gate = all[0].run(isa).out
            all[1].epilogue.activation = .silu
            let expected = all[1].run(isa, linear: true)
            for got in [one, two] {
                expectSameBits(got[0], all[1].epilogue.gate ?? [], "\(isa.name), m \(m)")
                expectSameBits(got[1], expected.out, "\(isa.name), m \(m)")
                expectSameBits(got[2], expected.linear, "\(isa.name), m \(m)")
            }
        }
    }

    /// Rounded activations are shared by formats whose groups are alike, and rounded anew for others.
    @Test(arguments: ISA.everyRunnable, [1, 4, 40])
    func roundedActivations(isa: ISA, m: Int) throws {
        let kinds = try ["q4_K", "q6_K", "q8_0", "q2_K"].map { name in try #require(Format.all.first { $0.testDescription == name }) }
        let all = problems([70, 70, 70, 70], kinds, m: m, k: 512, isRounded: true)
        let kept = kinds.enumerated().map { $1.random(k: 512, n: 70, seed: UInt64($0)) }
        let (one, two) = withOneAndTwoThreads { run(all, isa, kept) }
        for index in all.indices {
            let expected = all[index].run(isa, kept[index]).out
            expectSameBits(one[index], expected, "\(isa.name), \(kinds[index].testDescription)")
            expectSameBits(two[index], expected, "\(isa.name), \(kinds[index].testDescription)")
        }
    }
}
