// One number, one way, for attention: what is stored, cut, padded, batched or decoded changes no bit.
import CLensKernels
import LensTestSupport
import Testing

@Suite(.serialized) struct AttentionBitsTests {
    private func expectSame(_ a: AttentionCase.Outputs, _ b: AttentionCase.Outputs, _ what: String) {
        expectSameBits(a.scores, b.scores, "\(what): scores")
        expectSameBits(a.pattern, b.pattern, "\(what): pattern")
        expectSameBits(a.z, b.z, "\(what): z")
    }

    @Test(arguments: ISA.runnable, AttentionCases.names)
    func lookingAndCuttingChangeNothing(isa: ISA, name: String) {
        let problem = AttentionCases.named(name), all = problem.run(isa)
        expectSameBits(problem.run(isa, .z).z, all.z, "nothing stored")
        expectSameBits(problem.run(isa, .pattern).pattern, all.pattern, "pattern alone")
        expectSameBits(problem.run(isa, .scores).scores, all.scores, "scores alone")
        guard !all.scores.isEmpty else { return }
        expectSame(problem.run(isa, scores: all.scores), all, "cut at the scores")
        expectSameBits(problem.run(isa, .z, scores: all.scores).z, all.z, "cut at the scores, z alone")
        let fromPattern = problem.run(isa, pattern: all.pattern)
        expectSameBits(fromPattern.pattern, all.pattern, "cut at the pattern: pattern")
        expectSameBits(fromPattern.z, all.z, "cut at the pattern: z")
    }

    @Test(arguments: ISA.runnable, AttentionCases.names)
    func threadsChangeNothing(isa: ISA, name: String) {
        let problem = AttentionCases.named(name), (one, two) = withOneAndTwoThreads { problem.run(isa) }
        expectSame(one, two, name)
        lens_set_threads(2)
        defer { lens_set_threads(0) }
        expectSame(problem.run(isa, oneThreadOfScratch: true), two, "\(name), scratch for one thread")
    }

    /// Few heads over many keys: threads share out the keys.
    @Test(arguments: ISA.runnable)
    func sharingOutKeysChangesNothing(isa: ISA) {
        let long = AttentionCases.shape { ($0.heads, $0.kvHeads, $0.headWidth, $0.queries, $0.keys) = (3, 1, 160, 2, 6700) }
        let changes: [(inout ReferenceAttention) -> Void] = [
            { _ in }, { $0.first = [100] }, { $0.window = 3000 }, { $0.mask = AttentionCases.holes(6700) },
            { ($0.queries, $0.sinks, $0.alibi) = (7, [1, 2, 3], [0.1, 0.01, 0]) },
        ]
        for (index, change) in changes.enumerated() {
            var shape = long
            change(&shape)
            let problem = AttentionCase(shape), (one, two) = withOneAndTwoThreads { problem.run(isa) }
            expectSame(one, two, "\(index)")
            lens_set_threads(3)
            defer { lens_set_threads(0) }
            expectSameBits(problem.run(isa, .z).z, one.z, "\(index), three threads")
            expectSameBits(problem.run(isa, .z, scores: one.scores).z, one.z, "\(index), from scores")
            expectSameBits(problem.run(isa, pattern: one.pattern).z, one.z, "\(index), from the pattern")
        }
    }

    @Test(arguments: AttentionCases.names)
    func fusedSetsAgree(name: String) {
        let problem = AttentionCases.named(name)
        for isa in ISA.fused.dropFirst() { expectSame(problem.run(isa), problem.run(ISA.fused[0]), isa.name) }
    }

    /// Scores, pattern and values, from the contract's sums. Keys are counted from the row's first real token.
    @Test(arguments: ISA.runnable, ["two pages and more", "wide window", "left padding"])
    func theOrderIsTheContracts(isa: ISA, name: String) {
        let problem = AttentionCases.named(name), s = problem.shape, got = problem.run(isa), sum = isa.arithmetic
        let b = s.batch - 1, h = 1, width = s.headWidth
        let vector = { (x: [Float], heads: Int, at: Int) in x.row((b * s.keys + at) * heads + h, width: width) }
        for i in [s.first[b], 80, 89, s.queries - 1] {
            let seen = (0..<s.keys).filter { s.isVisible(batch: b, query: i, key: $0) }
            let row = (b * s.heads + h) * s.queries + i, query = vector(problem.q, s.heads, i)
            let scores = seen.map { sum.chain(query, vector(problem.k, s.kvHeads, $0)) * s.scale }
            expectSameBits(seen.map { got.scores[row * s.keys + $0] }, scores, "scores of \(i)")

            let largest = scores.max()!
            var chunks: [Int: [Float]] = [:], total: Float = 0 // page: its slots' exponentials
            for (j, e) in zip(seen, isa.exp(scores.map { $0 - largest })) {
                let slot = j - s.first[b]
                chunks[slot / 64, default: .init(repeating: 0, count: 64)][slot % 64] = e
            }
            for page in chunks.keys.sorted() { total += sum.lanes(chunks[page]!) }
            let pattern = seen.map { chunks[($0 - s.first[b]) / 64]![($0 - s.first[b]) % 64] * (1 / total) }
            expectSameBits(seen.map { got.pattern[row * s.keys + $0] }, pattern, "pattern of \(i)")

            let z = (0..<width).map { d in
                var result: Float?
                for page in chunks.keys.sorted() {
                    let inPage = seen.indices.filter { (seen[$0] - s.first[b]) / 64 == page }
                    let values = inPage.map { vector(problem.v, s.kvHeads, seen[$0])[d] }
                    let part = sum.chain(inPage.map { pattern[$0] }, values)
                    result = result.map { $0 + part } ?? part
                }
                return result!
            }
            expectSameBits(got.z.row((b * s.queries + i) * s.heads + h, width: width), z, "z of \(i)")
        }
    }

    static let growing = ["causal", "two pages and more", "window", "wide window", "window of one", "softcap", "alibi", "relative",
                          "grouped", "holes", "left padding"]

    /// Each query alone, over the keys there were at its time, as decoding runs it; and in chunks of 5.
    @Test(arguments: ISA.runnable, growing)
    func decodingEqualsPrefill(isa: ISA, name: String) {
        let problem = AttentionCases.named(name), s = problem.shape, whole = problem.run(isa, .z).z
        let width = s.heads * s.headWidth
        for chunk in [1, 5] {
            for end in stride(from: chunk, through: s.keys, by: chunk) {
                var step = problem.firstPositions(end)
                step.shape.mask = s.mask.map { mask in (0..<s.batch).flatMap { mask[($0 * s.keys)..<($0 * s.keys + end)] } }
                let z = step.lastQueries(chunk).run(isa, .z).z
                for b in 0..<s.batch {
                    let expected = whole[((b * s.queries + end - chunk) * width)..<((b * s.queries + end) * width)]
                    expectSameBits(z.row(b, width: chunk * width), Array(expected), "row \(b), \(end) keys")
                }
            }
        }
    }

    @Test(arguments: ISA.runnable)
    func aPaddedRowIsTheRowAlone(isa: ISA) {
        for causal in [true, false] {
            for alibi in [nil, [0.5, 0.25, 0.125] as [Float]] {
                let problem = AttentionCase(AttentionCases.shape {
                    ($0.batch, $0.queries, $0.keys, $0.causal, $0.alibi) = (4, 140, 140, causal, alibi)
                    $0.first = [0, 7, 70, 139]
                    if alibi == nil { $0.relative = AttentionCases.tables(3, reach: 30) }
                })
                let batch = problem.run(isa), s = problem.shape, width = s.heads * s.headWidth
                for b in 0..<4 {
                    let alone = problem.unpadded(b).run(isa), skip = s.first[b]
                    expectSameBits(Array(batch.z.row(b, width: 140 * width)[(skip * width)...]), alone.z, "row \(b)")
                    for h in 0..<s.heads {
                        for i in skip..<140 {
                            let padded = batch.pattern.row((b * s.heads + h) * 140 + i, width: 140)
                            let own = alone.pattern.row(h * (140 - skip) + i - skip, width: 140 - skip)
                            expectSameBits(Array(padded[skip...]), own, "pattern, row \(b), query \(i)")
                        }
                    }
                }
            }
        }
    }

    /// What a caller makes visible outside the range counts, and only that: scores made finite, pattern made nonzero.
    @Test(arguments: ISA.runnable)
    func editsOutsideTheRangeCount(isa: ISA) {
        let problem = AttentionCase(AttentionCases.shape { ($0.queries, $0.keys, $0.heads, $0.kvHeads) = (70, 70, 1, 1) })
        let all = problem.run(isa)
        var scores = all.scores
        scores[2 * 70 + 66] = 1 // query 2 now sees key 66, on the next page
        let edited = problem.run(isa, scores: scores)
        let reference = referenceSoftmax(scores.row(2, width: 70))
        expectClose(edited.pattern.row(2, width: 70), reference)
        for i in [0, 1, 3, 69] { expectSameBits(edited.z.row(i, width: 14), all.z.row(i, width: 14), "query \(i)") }

        let again = problem.run(isa, pattern: edited.pattern)
        expectSameBits(again.z, edited.z)
        let expected = (0..<14).map { d in
            (0..<70).reduce(0.0) { $0 + Double(edited.pattern[2 * 70 + $1]) * Double(problem.v[$1 * 14 + d]) }
        }
        expectClose(again.z.row(2, width: 14), expected, relative: 0, absolute: 70 * roundoff)

        let nothing = problem.run(isa, pattern: .init(repeating: 0, count: 70 * 70))
        expectSameBits(nothing.z, .init(repeating: 0, count: 70 * 14))
    }
}
