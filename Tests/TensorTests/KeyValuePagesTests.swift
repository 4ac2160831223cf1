// Pages of keys and values: what is appended is read back, whatever the padding and the pieces; copies do not see each
// other's writes.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct KeyValuePagesTests {
    static let firsts = [[0], [0, 3], [63, 64], [65, 0, 130], [200, 1]]

    private func pages(_ first: [Int]) -> KeyValuePages { KeyValuePages(kvHeads: 2, dHead: 5, first: first) }
    private func random(_ batch: Int, _ count: Int, _ seed: UInt64) throws -> Tensor { try randomTensor([batch, count, 2, 5], seed: seed) }

    @Test(arguments: firsts, [[210], [1, 62, 1, 1, 65, 80], [64, 64, 64, 18]])
    func whatIsAppendedIsRead(_ first: [Int], _ pieces: [Int]) throws {
        let total = pieces.reduce(0, +), keys = try random(first.count, total, 1), values = try random(first.count, total, 2)
        var held = pages(first), start = 0
        for piece in pieces {
            try held.append(keys: keys.at(.all, .range(start..<start + piece)), values: values.at(.all, .range(start..<start + piece)))
            start += piece
            #expect(held.count == start && held.batch == first.count)
        }
        expectSameBits(try held.keys(0..<total), keys, "keys")
        expectSameBits(try held.values(0..<total), values, "values")
        for range in [0..<0, 5..<5, 60..<70, 63..<65, 100..<total, total..<total] {
            expectSameBits(try held.keys(range), try keys.at(.all, .range(range)), "keys \(range)")
            expectSameBits(try held.values(range), try values.at(.all, .range(range)), "values \(range)")
        }
        for range in [-1..<2, 0..<total + 1] { expectError { try held.keys(range) } }
    }

    @Test(arguments: firsts)
    func forksAreValues(_ first: [Int]) throws {
        let batch = first.count, keys = try random(batch, 100, 1), values = try random(batch, 100, 2)
        var trunk = pages(first)
        try trunk.append(keys: keys, values: values)
        var a = trunk, b = trunk
        let keysA = try random(batch, 30, 3), keysB = try random(batch, 30, 4)
        for step in 0..<30 {
            let one = TensorIndex.range(step..<step + 1)
            try a.append(keys: keysA.at(.all, one), values: keysA.at(.all, one))
            try b.append(keys: keysB.at(.all, one), values: keysB.at(.all, one))
        }
        for (fork, new) in [(a, keysA), (b, keysB)] {
            expectSameBits(try fork.keys(0..<100), keys, "what they share")
            expectSameBits(try fork.keys(100..<130), new, "their own keys")
            expectSameBits(try fork.values(100..<130), new, "their own values")
        }
        #expect(trunk.count == 100)
        expectSameBits(try trunk.keys(0..<100), keys, "the trunk")
        let replaced = try trunk.replacingKeys(random(batch, 100, 9))
        expectSameBits(try replaced.keys(0..<100), try random(batch, 100, 9), "replaced keys")
        expectSameBits(try replaced.values(0..<100), values, "values stay")
        expectSameBits(try trunk.keys(0..<100), keys, "the trunk's keys stay")
        expectError { try trunk.replacingKeys(random(batch, 99, 9)) }
    }

    @Test(arguments: firsts)
    func truncated(_ first: [Int]) throws {
        let batch = first.count, keys = try random(batch, 200, 1), values = try random(batch, 200, 2)
        var whole = pages(first)
        try whole.append(keys: keys, values: values)
        for length in [0, 1, 63, 64, 65, 127, 128, 129, 200] {
            var cut = whole
            try cut.truncate(to: length)
            #expect(cut.count == length)
            expectSameBits(try cut.keys(0..<length), try keys.at(.all, .upTo(length)), "cut to \(length)")
            let more = try random(batch, 70, 5)
            try cut.append(keys: more, values: more)
            expectSameBits(try cut.keys(length..<length + 70), more, "appended after a cut to \(length)")
            expectSameBits(try cut.values(0..<length), try values.at(.all, .upTo(length)), "values after a cut to \(length)")
        }
        expectSameBits(try whole.keys(0..<200), keys, "the whole is whole")
        expectError(.usage) { try whole.truncate(to: 201) }
        expectError(.usage) { try whole.truncate(to: -1) }
    }

    @Test func shapesAreChecked() throws {
        var held = pages([0, 0])
        expectError { try held.append(keys: random(1, 3, 1), values: random(1, 3, 1)) }
        expectError { try held.append(keys: random(2, 3, 1), values: random(2, 4, 1)) }
        expectError { try held.append(keys: Tensor(zeros: [2, 3, 5, 2]), values: Tensor(zeros: [2, 3, 5, 2])) }
        expectError { try held.append(keys: Tensor(zeros: [2, 3]), values: Tensor(zeros: [2, 3])) }
        #expect(held.count == 0)
        try held.append(keys: random(2, 0, 1), values: random(2, 0, 1))
        #expect(held.count == 0)
        try held.append(keys: random(2, 3, 1), values: random(2, 3, 1))
        let spec = AttentionSpec(heads: 4, kvHeads: 2, dHead: 5, scoreScale: 1)
        for wrong in [[2, 4, 4, 5], [1, 1, 4, 5], [2, 1, 3, 5], [2, 1, 4, 6], [2, 4, 5]] {
            expectError(.shape, "\(wrong)") { try attention(spec, from: .queries(Tensor(zeros: wrong)), over: held, storing: .z) }
        }
        expectError { try attention(spec, from: .pattern(Tensor(zeros: [2, 4, 1, 4])), over: held, storing: .z) }
        expectError { try attention(spec, from: .queries(Tensor(zeros: [2, 1, 4, 5])), over: held, keyMask: [1, 1], storing: .z) }
        let ungrouped = AttentionSpec(heads: 4, kvHeads: 4, dHead: 5, scoreScale: 1)
        expectError { try attention(ungrouped, from: .queries(Tensor(zeros: [2, 1, 4, 5])), over: held, storing: .z) }
    }

    /// Attention in the two cuts that edits make gives the bits of the uncut one.
    @Test(arguments: [1, 3, 100], [true, false])
    func cutsGiveTheSameBits(_ queries: Int, _ causal: Bool) throws {
        var held = pages([0, 70])
        try held.append(keys: random(2, 150, 1), values: random(2, 150, 2))
        var spec = AttentionSpec(heads: 4, kvHeads: 2, dHead: 5, scoreScale: 0.4)
        spec.causal = causal
        let q = try randomTensor([2, queries, 4, 5], seed: 3)
        let whole = try attention(spec, from: .queries(q), over: held, storing: [.scores, .pattern, .z])
        let z = try attention(spec, from: .queries(q), over: held, storing: .z).z
        expectSameBits(z, whole.z, "z alone")
        let scores = try attention(spec, from: .queries(q), over: held, storing: .scores).scores
        expectSameBits(scores, whole.scores, "scores alone")
        let fromScores = try attention(spec, from: .scores(#require(scores)), over: held, storing: [.pattern, .z])
        expectSameBits(fromScores.pattern, whole.pattern, "pattern from scores")
        expectSameBits(fromScores.z, whole.z, "z from scores")
        expectSameBits(try attention(spec, from: .pattern(#require(whole.pattern)), over: held, storing: .z).z, whole.z, "z from the pattern")
    }
}
