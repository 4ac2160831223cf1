// An attention problem as tests ask for it: shapes, inputs, pages, and the call, whole or cut in two.
import CLensKernels
import LensTestSupport
import Testing

/// Queries, keys and values of one call; pages are made at the call.
struct AttentionCase: Sendable {
    var shape: ReferenceAttention
    var q: [Float] // [batch, queries, heads, headWidth]
    var k: [Float], v: [Float] // [batch, keys, kvHeads, headWidth]

    init(_ shape: ReferenceAttention, seed: UInt64 = 3) {
        var random = SeededRandom(seed)
        self.shape = shape
        q = random.floats(shape.batch * shape.queries * shape.heads * shape.headWidth, scale: 2)
        k = random.floats(shape.batch * shape.keys * shape.kvHeads * shape.headWidth, scale: 2)
        v = random.floats(shape.batch * shape.keys * shape.kvHeads * shape.headWidth)
    }

    struct Outputs { var scores: [Float] = [], pattern: [Float] = [], z: [Float] = [] }
    enum Wanted: CaseIterable { case all, z, pattern, scores }

    var reference: ReferenceAttention.Result { shape(q: q, k: k, v: v) }

    /// Runs the kernel. Given scores or a pattern, it starts from there and gets no queries.
    func run(_ isa: ISA, _ wanted: Wanted = .all, scores given: [Float]? = nil, pattern givenPattern: [Float]? = nil,
             oneThreadOfScratch: Bool = false) -> Outputs {
        let s = shape, cells = s.batch * s.heads * s.queries * s.keys
        let pages = Pages(s, k: k, v: v), scores = GuardedFloats(cells), pattern = GuardedFloats(cells)
        let z = GuardedFloats(q.count)
        let mask = s.mask?.map { UInt8($0 ? 1 : 0) } ?? [], first = s.first.map(Int64.init), alibi = s.alibi ?? [], sinks = s.sinks ?? []
        let relative = (s.relative ?? []).flatMap { $0 }
        var a = lens_attention_args()
        (a.batch, a.heads, a.kv_heads) = (Int64(s.batch), Int64(s.heads), Int64(s.kvHeads))
        (a.d_head, a.queries, a.keys) = (Int64(s.headWidth), Int64(s.queries), Int64(s.keys))
        a.rounds_alibi = s.roundsALiBi
        (a.score_scale, a.softcap, a.causal, a.window) = (s.scale, s.softcap, s.causal, Int64(s.window))
        (a.pages, a.pages_per_row) = (pages.constPointers, Int64(pages.perRow))
        a.scores_out = (wanted == .all && givenPattern == nil) || wanted == .scores ? scores.base : nil
        a.pattern_out = wanted == .all || wanted == .pattern ? pattern.base : nil
        a.z = wanted == .all || wanted == .z ? z.base : nil
        let needed = Int(lens_attention_scratch(&a)) / (oneThreadOfScratch ? Int(lens_get_threads()) : 1)
        let scratch = GuardedFloats(needed)
        (a.scratch, a.scratch_count) = (scratch.base, Int64(needed))
        a.reach = Int64(((s.relative?.first?.count ?? 1) - 1) / 2)
        let noQueries = given != nil || givenPattern != nil
        sinks.withUnsafeBufferPointer { sinks in alibi.withUnsafeBufferPointer { alibi in mask.withUnsafeBufferPointer { mask in
            first.withUnsafeBufferPointer { first in q.withUnsafeBufferPointer { q in
                (given ?? []).withUnsafeBufferPointer { given in
                    (givenPattern ?? []).withUnsafeBufferPointer { givenPattern in relative.withUnsafeBufferPointer { relative in
                        a.relative = s.relative == nil ? nil : relative.baseAddress
                        a.alibi = s.alibi == nil ? nil : alibi.baseAddress
                        a.sinks = s.sinks == nil ? nil : sinks.baseAddress
                        a.key_mask = s.mask == nil ? nil : mask.baseAddress
                        a.first = first.baseAddress
                        a.q = noQueries ? nil : q.baseAddress
                        a.scores_in = given.isEmpty ? nil : given.baseAddress
                        a.pattern_in = givenPattern.isEmpty ? nil : givenPattern.baseAddress
                        lens_attention(isa.pointer, &a)
                    } }
                }
            } }
        } } }
        for buffer in [scores, pattern, z, scratch] { buffer.expectIntact() }
        return Outputs(scores: a.scores_out == nil ? [] : scores.values,
                       pattern: a.pattern_out == nil ? [] : pattern.values, z: a.z == nil ? [] : z.values)
    }

    /// The last `count` queries alone, over the same keys.
    func lastQueries(_ count: Int) -> AttentionCase {
        var one = self
        let width = shape.heads * shape.headWidth
        one.shape.queries = count
        one.q = (0..<shape.batch).flatMap { b in
            q[((b + 1) * shape.queries - count) * width..<(b + 1) * shape.queries * width]
        }
        return one
    }

    /// The first `count` positions alone, as if the others were not there yet. Queries must be all positions.
    func firstPositions(_ count: Int) -> AttentionCase {
        var one = self
        let head = { (x: [Float], width: Int) in
            (0..<shape.batch).flatMap { b in x[(b * shape.keys * width)..<((b * shape.keys + count) * width)] }
        }
        one.q = head(q, shape.heads * shape.headWidth)
        one.k = head(k, shape.kvHeads * shape.headWidth)
        one.v = head(v, shape.kvHeads * shape.headWidth)
        (one.shape.queries, one.shape.keys) = (count, count)
        return one
    }

    /// Batch row b without its left padding. Queries must be all positions.
    func unpadded(_ b: Int) -> AttentionCase {
        var one = self
        let skip = shape.first[b], rest = shape.keys - skip
        let cut = { (x: [Float], width: Int) in
            Array(x[((b * shape.keys + skip) * width)..<((b + 1) * shape.keys * width)])
        }
        one.q = cut(q, shape.heads * shape.headWidth)
        one.k = cut(k, shape.kvHeads * shape.headWidth)
        one.v = cut(v, shape.kvHeads * shape.headWidth)
        (one.shape.batch, one.shape.queries, one.shape.keys, one.shape.first) = (1, rest, rest, [0])
        return one
    }
}

/// Pages of a cache, filled through lens_pages_write; unused pages are nil. Zeroed when new, as the contract says.
final class Pages {
    let perRow: Int
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
    private let count: Int

    var constPointers: UnsafePointer<UnsafePointer<Float>?> {
        UnsafeRawPointer(pointers).assumingMemoryBound(to: UnsafePointer<Float>?.self)
    }

    init(_ s: ReferenceAttention, k: [Float], v: [Float]) {
        perRow = (s.keys + 63 + 63) / 64
        count = perRow * s.batch
        pointers = .allocate(capacity: max(count, 1))
        pointers.initialize(repeating: nil, count: max(count, 1))
        let floats = Int(lens_page_count(Int64(s.kvHeads), Int64(s.headWidth)))
        for b in 0..<s.batch {
            let used = (s.keys + (64 - s.first[b] % 64) % 64 + 63) / 64
            for p in 0..<used {
                let page = UnsafeMutablePointer<Float>.allocate(capacity: floats)
                page.initialize(repeating: 0, count: floats)
                pointers[b * perRow + p] = page
            }
        }
        lens_pages_write(Int64(s.batch), Int64(s.keys), Int64(s.kvHeads), Int64(s.headWidth), 0,
                         s.first.map(Int64.init), pointers, Int64(perRow), k, v)
    }

    deinit {
        for i in 0..<count { pointers[i]?.deallocate() }
        pointers.deallocate()
    }
}
