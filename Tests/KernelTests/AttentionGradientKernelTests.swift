// Attention in reverse on every instruction set, against central differences in Double; the sets with a fused multiply-add
// agree to the bit.
import CLensKernels
import LensTestSupport
import Testing

extension AttentionCase {
    struct Gradients { var q: [Float], k: [Float], v: [Float], sinks: [Float], relative: [Float] }

    /// Of Σ weights · z.
    func gradients(_ isa: ISA, of weights: [Float]) -> Gradients {
        let s = shape, pages = Pages(s, k: k, v: v), first = s.first.map(Int64.init), relative = (s.relative ?? []).flatMap { $0 }
        let mask = s.mask?.map { UInt8($0 ? 1 : 0) } ?? [], alibi = s.alibi ?? [], sinks = s.sinks ?? []
        let dq = GuardedFloats(q.count), dk = GuardedFloats(k.count), dv = GuardedFloats(v.count)
        let dsinks = GuardedFloats(s.batch * s.heads), drelative = GuardedFloats(s.batch * relative.count)
        var a = lens_attention_args()
        (a.batch, a.heads, a.kv_heads, a.d_head) = (Int64(s.batch), Int64(s.heads), Int64(s.kvHeads), Int64(s.headWidth))
        (a.queries, a.keys, a.score_scale, a.softcap) = (Int64(s.queries), Int64(s.keys), s.scale, s.softcap)
        (a.causal, a.window, a.reach) = (s.causal, Int64(s.window), Int64(((s.relative?.first?.count ?? 1) - 1) / 2))
        (a.pages, a.pages_per_row) = (pages.constPointers, Int64(pages.perRow))
        withExtendedLifetime(pages) { first.withUnsafeBufferPointer { first in mask.withUnsafeBufferPointer { mask in alibi.withUnsafeBufferPointer { alibi in
            sinks.withUnsafeBufferPointer { sinks in relative.withUnsafeBufferPointer { relative in q.withUnsafeBufferPointer { q in
                (a.first, a.q) = (first.baseAddress, q.baseAddress)
                a.key_mask = s.mask == nil ? nil : mask.baseAddress
                a.alibi = s.alibi == nil ? nil : alibi.baseAddress
                a.sinks = s.sinks == nil ? nil : sinks.baseAddress
                a.relative = s.relative == nil ? nil : relative.baseAddress
                withUnsafePointer(to: a) { forward in
                    weights.withUnsafeBufferPointer { dz in
                        var g = lens_attention_gradient_args()
                        (g.forward, g.dz, g.dq, g.dk, g.dv) = (forward, dz.baseAddress, dq.base, dk.base, dv.base)
                        g.dsinks = s.sinks == nil ? nil : dsinks.base
                        g.drelative = s.relative == nil ? nil : drelative.base
                        let scratch = GuardedFloats(Int(lens_attention_gradient_scratch(&g)))
                        (g.scratch, g.scratch_count) = (scratch.base, Int64(scratch.count))
                        lens_attention_gradient(isa.pointer, &g)
                        scratch.expectIntact("scratch")
                    }
                }
            } } }
        } } } }
        for buffer in [dq, dk, dv, dsinks, drelative] { buffer.expectIntact() }
        func summed(_ values: [Float], _ width: Int) -> [Float] {
            (0..<width).map { i in (0..<s.batch).reduce(0) { $0 + values[$1 * width + i] } }
        }
        return Gradients(q: dq.values, k: dk.values, v: dv.values, sinks: s.sinks == nil ? [] : summed(dsinks.values, s.heads),
                         relative: s.relative == nil ? [] : summed(drelative.values, relative.count))
    }
}

@Suite(.serialized) struct AttentionGradientKernelTests {
    static let shapes: [ReferenceAttention] = {
        var plain = ReferenceAttention()
        (plain.batch, plain.heads, plain.kvHeads, plain.headWidth, plain.queries, plain.keys, plain.scale, plain.first) = (2, 3, 1, 14, 9, 9, 0.3, [0, 0])
        var long = plain, all = plain, six = plain, cross = plain
        (long.batch, long.first, long.queries, long.keys) = (1, [0], 70, 130)
        (all.first, all.queries, all.keys, all.softcap, all.window, all.sinks) = ([5, 66], 20, 75, 3, 60, [0.2, -0.3, 4])
        (all.alibi, all.relative, all.mask) = ([0.1, 0.2, 0.05], [[0.1, 0.2, 0.3], [1, 0, -1], [0, 1, 0]], (0..<150).map { $0 % 7 != 3 })
        (six.heads, six.kvHeads, six.headWidth, six.queries) = (4, 2, 6, 4)
        (cross.causal, cross.queries, cross.keys) = (false, 11, 5)
        return [plain, long, all, six, cross]
    }()

    @Test(arguments: ISA.runnable, shapes.indices)
    func gradientsAreDerivatives(isa: ISA, index: Int) {
        let problem = AttentionCase(Self.shapes[index])
        var random = SeededRandom(8), loss = AttentionLoss(problem.shape, q: problem.q, k: problem.k, v: problem.v)
        let weights = random.floats(problem.q.count), found = problem.gradients(isa, of: weights)
        loss.zWeights = weights.map(Double.init)
        func expect(_ values: [Float], _ path: WritableKeyPath<AttentionLoss, [Double]>, _ what: String) {
            let places = values.count > 24 ? random.ids(24, below: values.count).map(Int.init) : Array(values.indices)
            let wanted = places.map { loss.derivative(path, $0) }
            expectClose(places.map { values[$0] }, wanted, relative: 1e-5, absolute: 2e-5 * (wanted.map(abs).max() ?? 0) + 1e-9, "\(index): \(what)")
        }
        expect(found.q, \.q, "dq")
        expect(found.k, \.k, "dk")
        expect(found.v, \.v, "dv")
        expect(found.sinks, \.sinks, "sinks")
        expect(found.relative, \.relative, "relative")
    }

    @Test(arguments: shapes.indices)
    func fusedSetsAgree(index: Int) {
        let problem = AttentionCase(Self.shapes[index])
        var random = SeededRandom(8)
        let weights = random.floats(problem.q.count)
        guard let first = ISA.fused.first?.pointer else { return }
        let wanted = problem.gradients(ISA(pointer: first), of: weights)
        for isa in ISA.fused.dropFirst() {
            let found = problem.gradients(isa, of: weights)
            for (a, b) in [(found.q, wanted.q), (found.k, wanted.k), (found.v, wanted.v), (found.sinks, wanted.sinks), (found.relative, wanted.relative)] {
                expectSameBits(a, b, isa.name)
            }
        }
    }
}
