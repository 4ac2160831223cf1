// lens_attention against a Double reference, over masks, windows, biases and head shapes; pages; NaN.
import CLensKernels
import LensTestSupport
import Testing

/// One problem per branch of the kernel, odd-shaped.
enum AttentionCases {
    static func shape(_ change: (inout ReferenceAttention) -> Void) -> ReferenceAttention {
        var s = ReferenceAttention()
        (s.heads, s.kvHeads, s.headWidth, s.queries, s.keys, s.scale) = (3, 3, 14, 20, 20, 0.27)
        change(&s)
        if s.first.count != s.batch { s.first = .init(repeating: 0, count: s.batch) }
        return s
    }

    static func holes(_ count: Int) -> [Bool] {
        var random = SeededRandom(77)
        return (0..<count).map { _ in random.next() % 3 != 0 }
    }

    /// What each head adds at each distance.
    static func tables(_ heads: Int, reach: Int) -> [[Float]] {
        var random = SeededRandom(88)
        return (0..<heads).map { _ in random.floats(2 * reach + 1, scale: 2) }
    }

    static let all: [(name: String, shape: ReferenceAttention)] = [
        ("causal", shape { _ in }),
        ("one query, one key", shape { ($0.queries, $0.keys) = (1, 1) }),
        ("one channel", shape { $0.headWidth = 1 }),
        ("two pages and more", shape { ($0.queries, $0.keys, $0.headWidth) = (150, 150, 64) }),
        ("decode", shape { ($0.queries, $0.keys, $0.headWidth) = (1, 131, 80) }),
        ("a chunk of a prefill", shape { ($0.queries, $0.keys) = (9, 131) }),
        ("bidirectional", shape { ($0.causal, $0.keys, $0.queries) = (false, 70, 70) }),
        ("cross", shape { ($0.causal, $0.keys, $0.queries) = (false, 5, 70) }),
        ("grouped", shape { ($0.heads, $0.kvHeads, $0.headWidth) = (6, 2, 128) }),
        ("multi-query", shape { ($0.heads, $0.kvHeads, $0.batch) = (4, 1, 2) }),
        ("grouped, long", shape { ($0.heads, $0.kvHeads, $0.queries, $0.keys) = (6, 2, 150, 150); $0.mask = holes(150) }),
        ("heads of a query", shape {
            ($0.heads, $0.kvHeads, $0.queries, $0.keys) = (9, 1, 2, 140)
            ($0.alibi, $0.sinks) = ((1...9).map { 0.3 / Float($0) }, (0..<9).map { Float($0) - 4 })
        }),
        ("heads of a query, padded", shape {
            ($0.heads, $0.kvHeads, $0.batch, $0.queries, $0.keys, $0.first) = (8, 2, 2, 1, 140, [0, 70])
            $0.relative = tables(8, reach: 9)
        }),
        ("heads of a query, windowed", shape {
            ($0.heads, $0.kvHeads, $0.queries, $0.keys, $0.window, $0.softcap) = (14, 2, 3, 200, 90, 3)
            ($0.alibi, $0.roundsALiBi, $0.mask) = ((1...14).map { 0.3 / Float($0) }, true, holes(200))
        }),
        ("window", shape { ($0.window, $0.queries, $0.keys) = (9, 140, 140) }),
        ("window of one", shape { $0.window = 1 }),
        ("wide window", shape { ($0.window, $0.queries, $0.keys) = (70, 140, 140) }),
        ("softcap", shape { ($0.softcap, $0.scale) = (2.5, 1) }),
        ("alibi", shape { $0.alibi = [0.5, 0.25, 0.01]; ($0.queries, $0.keys) = (80, 80) }),
        ("sinks", shape { $0.sinks = [0.4, -3, 30]; ($0.queries, $0.keys) = (70, 70) }),
        ("sinks, grouped, windowed", shape { $0.sinks = [1, 0, -1, 2, 0.5, -40]; ($0.heads, $0.kvHeads, $0.window, $0.keys) = (6, 2, 5, 90) }),
        ("sinks, everything masked", shape { $0.sinks = [1, 2, 3]; $0.mask = .init(repeating: false, count: 20) }),
        ("alibi of rounded keys", shape {
            $0.alibi = [0.4204482, 0.33, 0.01]
            ($0.queries, $0.keys, $0.roundsALiBi, $0.batch, $0.first) = (80, 80, true, 2, [0, 7])
        }),
        ("relative", shape { $0.relative = tables(3, reach: 9); ($0.queries, $0.keys) = (140, 140) }),
        ("relative, bidirectional", shape { $0.relative = tables(3, reach: 40); ($0.queries, $0.keys, $0.causal) = (150, 150, false) }),
        ("relative, further than any key", shape { $0.relative = tables(3, reach: 200); ($0.queries, $0.keys) = (9, 80) }),
        ("relative, one number", shape { $0.relative = tables(3, reach: 0); $0.causal = false }),
        ("holes", shape { ($0.queries, $0.keys) = (90, 90); $0.mask = holes(90) }),
        ("holes, bidirectional", shape { $0.causal = false; $0.batch = 2; $0.mask = holes(40) }),
        ("everything masked", shape { $0.mask = .init(repeating: false, count: 20) }),
        ("left padding", shape { $0.batch = 3; ($0.queries, $0.keys) = (90, 90); $0.first = [0, 7, 70] }),
        ("no keys", shape { ($0.queries, $0.keys, $0.causal) = (3, 0, false) }),
        ("no queries", shape { ($0.queries, $0.keys) = (0, 5) }),
    ]
    static let names = all.map(\.name)
    static func named(_ name: String) -> AttentionCase { AttentionCase(all.first { $0.name == name }!.shape) }
}

@Suite struct AttentionTests {
    @Test(arguments: ISA.runnable, AttentionCases.names)
    func againstDouble(isa: ISA, name: String) {
        let problem = AttentionCases.named(name), got = problem.run(isa), expected = problem.reference
        expectClose(got.scores, expected.scores, "\(name) scores")
        expectClose(got.pattern, expected.pattern, "\(name) pattern")
        expectClose(got.z, expected.z, "\(name) z")
    }

    @Test(arguments: ISA.runnable)
    func rowsThatSeeNothing(isa: ISA) {
        let got = AttentionCases.named("everything masked").run(isa)
        #expect(got.scores.allSatisfy { $0 == -.infinity })
        expectSameBits(got.pattern, .init(repeating: 0, count: got.pattern.count))
        expectSameBits(got.z, .init(repeating: 0, count: got.z.count))
    }

    /// A NaN in a token's key or value reaches the queries that see it, and no other, bit for bit.
    @Test(arguments: ISA.runnable, [3, 63, 64, 100])
    func nanReachesOnlyThoseWhoSeeIt(isa: ISA, poisoned: Int) {
        for window in [0, 20] {
            let clean = AttentionCase(AttentionCases.shape {
                ($0.queries, $0.keys, $0.window, $0.heads, $0.kvHeads) = (131, 131, window, 1, 1)
            })
            let before = clean.run(isa)
            for (inKeys, bad) in [(true, Float.nan), (false, .nan), (false, .infinity)] {
                var problem = clean
                if inKeys { problem.k[poisoned * 14 + 3] = bad } else { problem.v[poisoned * 14 + 3] = bad }
                let after = problem.run(isa)
                for i in 0..<131 {
                    let sees = problem.shape.isVisible(batch: 0, query: i, key: poisoned)
                    let row = after.z.row(i, width: 14)
                    if !sees {
                        expectSameBits(row, before.z.row(i, width: 14), "query \(i)")
                    } else {
                        #expect(!row[3].isFinite, "query \(i)")
                        if inKeys { #expect(row.filter { !$0.isNaN }.isEmpty, "query \(i)") }
                    }
                    if i < poisoned {
                        expectSameBits(after.pattern.row(i, width: 131), before.pattern.row(i, width: 131))
                    }
                }
            }
        }
    }

    @Test(arguments: [0, 5, 64, 70])
    func pagesKeepWhatWasWritten(first: Int) {
        var s = AttentionCases.shape { ($0.keys, $0.kvHeads, $0.heads, $0.batch) = (150, 2, 2, 2) }
        s.first = [first, 0]
        let problem = AttentionCase(s), pages = Pages(s, k: problem.k, v: problem.v)
        let width = 2 * 14
        for (position, count) in [(0, 150), (60, 10), (149, 1), (3, 0)] {
            let k = GuardedFloats(2 * count * width), v = GuardedFloats(2 * count * width)
            let starts = s.first.map(Int64.init)
            lens_pages_read(2, Int64(count), 2, 14, Int64(position), starts, pages.constPointers, Int64(pages.perRow),
                            k.base, nil)
            lens_pages_read(2, Int64(count), 2, 14, Int64(position), starts, pages.constPointers, Int64(pages.perRow),
                            nil, v.base)
            for (buffer, source) in [(k, problem.k), (v, problem.v)] {
                buffer.expectIntact()
                var expected: [Float] = []
                for b in 0..<2 {
                    let start = (b * 150 + position) * width
                    expected += source[start..<(start + count * width)]
                }
                expectSameBits(buffer.values, expected, "\(count) keys at \(position)")
            }
        }
    }
}
