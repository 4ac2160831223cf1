// Attention in reverse against central differences in Double: every option, whole and cut in two, through the store of keys
// and values; and the laws about threads.

import CLensKernels
import LensFiles
@testable import LensTensor
import LensTestSupport
import Testing

/// One attention problem, its inputs as tensors, and what is asked of them.
private struct Problem {
    var shape: ReferenceAttention
    var q: Tensor, k: Tensor, v: Tensor
    var outputs: AttentionOutputs = .z
    var seed: UInt64

    init(_ shape: ReferenceAttention, seed: UInt64 = 5) throws {
        self.shape = shape
        self.seed = seed
        q = try randomTensor([shape.batch, shape.queries, shape.heads, shape.headWidth], seed: seed, scale: 2).tracked()
        k = try randomTensor([shape.batch, shape.keys, shape.kvHeads, shape.headWidth], seed: seed + 1, scale: 2).tracked()
        v = try randomTensor([shape.batch, shape.keys, shape.kvHeads, shape.headWidth], seed: seed + 2).tracked()
    }

    var square: [Int] { [shape.batch, shape.heads, shape.queries, shape.keys] }
    func weights(_ output: AttentionOutputs) throws -> Tensor {
        switch output {
        case .scores: try randomTensor(square, seed: seed + 10)
        case .pattern: try randomTensor(square, seed: seed + 11, scale: 3)
        default: try randomTensor(q.shape, seed: seed + 12)
        }
    }

    func spec() throws -> AttentionSpec {
        var spec = AttentionSpec(heads: shape.heads, kvHeads: shape.kvHeads, dHead: shape.headWidth, scoreScale: shape.scale,
                                 softcap: shape.softcap > 0 ? shape.softcap : nil, alibi: shape.alibi, causal: shape.causal,
                                 window: shape.window > 0 ? shape.window : nil)
        spec.sinks = shape.sinks
        if let table = shape.relative {
            spec.relative = try RelativeBias(heads: shape.heads, reach: (table[0].count - 1) / 2, values: Array(table.joined()))
        }
        return spec
    }

    var mask: [UInt8]? { shape.mask.map { $0.map { $0 ? 1 : 0 } } }

    /// Keys and values put in at once, or in parts.
    func pages(parts: [Int] = [], isTransient: Bool = false) throws -> KeyValuePages {
        var pages = KeyValuePages(kvHeads: shape.kvHeads, dHead: shape.headWidth, first: shape.first), from = 0
        for end in parts + [shape.keys] {
            try pages.append(keys: k[.all, .range(from..<end)], values: v[.all, .range(from..<end)], isTransient: isTransient)
            from = end
        }
        return pages
    }

    /// Σ weights · what was stored.
    func loss(_ result: AttentionResult) throws -> Tensor {
        var total = Tensor(0)
        for (output, value) in [(AttentionOutputs.scores, result.scores), (.pattern, result.pattern), (.z, result.z)] {
            guard let value else { continue }
            total = try total + dot(value, output == .scores ? seen(weights(.scores), value) : weights(output))
        }
        return total
    }

    /// The weights of scores that are numbers; those of masked ones zero, and the scores too.
    private func seen(_ weights: Tensor, _ scores: Tensor) throws -> Tensor {
        try Tensor(zip(weights.array, scores.array).map { $1.isFinite ? $0 : 0 }, shape: weights.shape)
    }

    var reference: AttentionLoss {
        get throws {
            var loss = AttentionLoss(shape, q: q.array, k: k.array, v: v.array)
            if outputs.contains(.z) { loss.zWeights = try weights(.z).array.map(Double.init) }
            if outputs.contains(.pattern) { loss.patternWeights = try weights(.pattern).array.map(Double.init) }
            if outputs.contains(.scores) { loss.scoreWeights = try weights(.scores).array.map(Double.init) }
            return loss
        }
    }
}

/// Σ a · b as a product, which has a gradient of its own; masked scores, -inf, count as nothing.
private func dot(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    var a = a
    let hidden = a.array.indices.filter { !a.array[$0].isFinite }
    if !hidden.isEmpty {
        a = try a.reshaped([a.count])
        for index in hidden { try a.set(.at(index), to: 0) }
    }
    let column = try PackedMatrix(b.reshaped([b.count, 1]))
    return try column.product(a.reshaped([1, a.count])).out.reshaped([])
}

/// Forty elements at most, here and there, within 2e-5 of the largest.
private func expectDerivatives(_ gradient: Tensor, _ loss: AttentionLoss, _ path: WritableKeyPath<AttentionLoss, [Double]>,
                               _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    var random = SeededRandom(3)
    let places = gradient.count > 40 ? random.ids(40, below: gradient.count).map(Int.init) : Array(0..<gradient.count)
    let elements = gradient.array, wanted = places.map { loss.derivative(path, $0) }, found = places.map { elements[$0] }
    let largest = wanted.map(abs).max() ?? 0
    expectClose(found, wanted, relative: 1e-5, absolute: 2e-5 * largest + 1e-9, what, sourceLocation: sourceLocation)
}

@Suite(.serialized) struct AttentionGradientTests {
    static let names = ["causal", "blocks and pages", "bidirectional", "window", "left padding", "holes", "grouped", "softcap", "alibi", "relative", "sinks",
                        "large sinks", "fewer queries", "more queries", "three keys", "wide heads", "everything"]

    static func shape(_ name: String) -> ReferenceAttention {
        var s = ReferenceAttention()
        (s.batch, s.heads, s.kvHeads, s.headWidth, s.queries, s.keys, s.scale, s.first) = (2, 3, 1, 14, 7, 7, 0.3, [0, 0])
        switch name {
        case "blocks and pages": (s.queries, s.keys, s.batch, s.first) = (130, 130, 1, [0])
        case "bidirectional": s.causal = false
        case "window": s.window = 3
        case "left padding": s.first = [3, 0]
        case "holes": s.mask = (0..<14).map { $0 % 5 != 2 }
        case "grouped": (s.heads, s.kvHeads, s.headWidth) = (4, 2, 6)
        case "softcap": s.softcap = 1.5
        case "alibi": s.alibi = [0.5, 0.25, 0.1]
        case "relative": s.relative = [[0.5, -1, 0.2, 1, 2], [0.1, 0.2, 0.3, 0.4, 0.5], [-1, -2, 0, 0.5, 1]]
        case "sinks": s.sinks = [0.5, -1, 0]
        case "large sinks": s.sinks = [7, -12, 3]
        case "fewer queries": (s.queries, s.keys) = (4, 70)
        case "more queries": (s.queries, s.keys, s.causal) = (9, 5, false)
        case "three keys": (s.batch, s.heads, s.kvHeads, s.headWidth, s.queries, s.keys, s.first) = (3, 4, 4, 32, 3, 3, [0, 0, 0])
        case "wide heads": (s.headWidth, s.queries, s.keys) = (40, 20, 20)
        case "everything":
            (s.queries, s.keys, s.first, s.softcap, s.window) = (20, 75, [9, 66], 3, 60)
            (s.sinks, s.alibi, s.relative) = ([0.2, -0.3, 1], [0.1, 0.2, 0.05], [[0.1, 0.2, 0.3], [1, 0, -1], [0, 1, 0]])
            s.mask = (0..<150).map { $0 % 7 != 3 }
        default: break
        }
        return s
    }

    private func check(_ name: String, _ outputs: AttentionOutputs, parts: [Int] = []) throws {
        var problem = try Problem(Self.shape(name))
        problem.outputs = outputs
        var spec = try problem.spec()
        let sinks = try spec.sinks.map { try Tensor($0, shape: [$0.count]).tracked() }
        spec.sinksGraph = sinks?.graph
        let relative = try spec.relative.map { try Tensor($0.values, shape: [$0.heads, 2 * $0.reach + 1]).tracked() }
        spec.relative?.graph = relative?.graph
        let result = try attention(spec, from: .queries(problem.q), over: problem.pages(parts: parts), keyMask: problem.mask, storing: outputs)
        let found = try gradients(of: problem.loss(result), to: [problem.q, problem.k, problem.v] + [sinks, relative].compactMap { $0 })
        let loss = try problem.reference
        expectDerivatives(found[0], loss, \.q, "\(name): dq")
        expectDerivatives(found[1], loss, \.k, "\(name): dk")
        expectDerivatives(found[2], loss, \.v, "\(name): dv")
        if sinks != nil { expectDerivatives(found[3], loss, \.sinks, "\(name): sinks") }
        if relative != nil { expectDerivatives(found[found.count - 1], loss, \.relative, "\(name): relative") }
    }

    @Test(arguments: names) func gradientsOfZ(name: String) throws { try check(name, .z) }

    @Test(arguments: names.filter { $0 != "blocks and pages" }) func gradientsOfAllOutputs(name: String) throws {
        try check(name, [.scores, .pattern, .z])
        try check(name, .pattern)
        try check(name, .scores)
    }

    @Test func keysThatCameInPartsGetTheirs() throws {
        try check("causal", .z, parts: [2, 3])
        try check("left padding", .z, parts: [4])
        try check("fewer queries", .z, parts: [60, 66])
    }

    @Test(arguments: ["causal", "left padding", "holes", "grouped", "sinks", "fewer queries", "everything"])
    func cutAtTheScoresAndAtThePattern(name: String) throws {
        var problem = try Problem(Self.shape(name))
        problem.outputs = .z
        let spec = try problem.spec(), pages = try problem.pages(), loss = try problem.reference
        let scores = try #require(try attention(spec, from: .queries(problem.q), over: pages, keyMask: problem.mask, storing: .scores).scores).tracked()
        let pattern = try #require(try attention(spec, from: .scores(scores), over: pages, keyMask: problem.mask, storing: .pattern).pattern).tracked()
        let result = try attention(spec, from: .pattern(pattern), over: pages, keyMask: problem.mask, storing: .z)
        let found = try gradients(of: problem.loss(result), to: [problem.q, problem.k, problem.v, scores, pattern])
        for (index, path) in [\AttentionLoss.q, \.k, \.v].enumerated() { expectDerivatives(found[index], loss, path, "\(name): \(index)") }

        var fromPattern = loss, fromScores = loss
        fromPattern.pattern = pattern.array.map(Double.init)
        // A pattern's zeros have gradients too, where a query sees the key.
        for index in stride(from: 0, to: pattern.count, by: max(1, pattern.count / 60)) where pattern.array[index] != 0 {
            let wanted = fromPattern.derivative(\.pattern, index), got = found[4].array[index]
            #expect(abs(Double(got) - wanted) <= 1e-4, "\(name): pattern \(index)")
        }
        fromScores.scores = scores.array.map(Double.init)
        for index in stride(from: 0, to: scores.count, by: max(1, scores.count / 60)) {
            let wanted = scores.array[index].isFinite ? fromScores.derivative(\.scores, index) : 0, got = found[3].array[index]
            #expect(abs(Double(got) - wanted) <= 1e-4, "\(name): scores \(index)")
        }
    }

    @Test(arguments: names) func threadsChangeNothing(name: String) throws {
        let problem = try Problem(Self.shape(name)), spec = try problem.spec()
        defer { lens_set_threads(0) }
        var first: [Tensor]?
        for threads in [1, 2, 3] {
            lens_set_threads(Int32(threads))
            let result = try attention(spec, from: .queries(problem.q), over: problem.pages(), keyMask: problem.mask, storing: .z)
            let found = try gradients(of: problem.loss(result), to: [problem.q, problem.k, problem.v])
            for (one, other) in zip(first ?? found, found) { #expect(bitDifference(one, other) == nil) }
            first = first ?? found
        }
    }

    /// What is used once and short is not put in pages: the same bits, forward and back, whole and cut.
    @Test(arguments: names) func keysOutsidePagesChangeNothing(name: String) throws {
        let problem = try Problem(Self.shape(name)), spec = try problem.spec()
        let loose = try problem.pages(isTransient: true), paged = try problem.pages()
        #expect((loose.loose != nil) == (problem.shape.keys <= 64 && problem.shape.first.allSatisfy { $0 == 0 }))
        var found: [[Tensor?]] = []
        for pages in [paged, loose] {
            let result = try attention(spec, from: .queries(problem.q), over: pages, keyMask: problem.mask, storing: [.scores, .pattern, .z])
            let all = try gradients(of: problem.loss(result), to: [problem.q, problem.k, problem.v])
            let scores = try #require(result.scores).detached().tracked()
            let cut = try attention(spec, from: .scores(scores), over: pages, keyMask: problem.mask, storing: .pattern)
            let z = try attention(spec, from: .pattern(#require(cut.pattern)), over: pages, keyMask: problem.mask, storing: .z)
            let half = try gradients(of: problem.loss(z), to: [scores, problem.v])
            var longer = pages
            try longer.append(keys: problem.k[.all, .upTo(2)], values: problem.v[.all, .upTo(2)])
            let replaced = try pages.replacingKeys(pages.keys(0..<pages.count) * Tensor(2))
            let kept = [try longer.keys(0..<longer.count), try longer.values(1..<longer.count), try replaced.keys(0..<pages.count), try pages.values(1..<2)]
            found.append([result.scores, result.pattern, result.z, z.z] + all + half + kept)
        }
        for (a, b) in zip(found[0], found[1]) { #expect(bitDifference(a, b) == nil) }
    }

    @Test func keysThatAreNotTrackedAreConstants() throws {
        let problem = try Problem(Self.shape("causal")), spec = try problem.spec()
        var pages = KeyValuePages(kvHeads: 1, dHead: 14, first: [0, 0])
        try pages.append(keys: problem.k[.all, .upTo(5)].detached(), values: problem.v[.all, .upTo(5)].detached())
        try pages.append(keys: problem.k[.all, .from(5)], values: problem.v[.all, .from(5)])
        let result = try attention(spec, from: .queries(problem.q), over: pages, storing: .z)
        let found = try gradients(of: problem.loss(result), to: [problem.q, problem.k, problem.v])
        let whole = try attention(spec, from: .queries(problem.q), over: problem.pages(), storing: .z)
        let all = try gradients(of: problem.loss(whole), to: [problem.q, problem.k, problem.v])
        #expect(bitDifference(found[0], all[0]) == nil)
        for index in [1, 2] {
            #expect(found[index][.all, .upTo(5)].array.allSatisfy { $0 == 0 })
            #expect(bitDifference(try found[index][.all, .from(5)].contiguous(), try all[index][.all, .from(5)].contiguous()) == nil)
        }
    }

    @Test func whatIsReadFromTheStoreIsTracked() throws {
        let problem = try Problem(Self.shape("causal")), spec = try problem.spec()
        let pages = try problem.pages(parts: [3])
        // Keys scaled on their way, as an edit of rotated keys does.
        let edited = try pages.replacingKeys(try pages.keys(0..<7) * Tensor(0.5))
        let result = try attention(spec, from: .queries(problem.q), over: edited, storing: .z)
        let found = try gradients(of: problem.loss(result), to: [problem.k, problem.v])
        var loss = try problem.reference
        loss.k = loss.k.map { $0 * 0.5 }
        expectDerivatives(try found[0] * Tensor(2), loss, \.k, "replaced keys")
        expectDerivatives(found[1], loss, \.v, "values")

        let values = try pages.values(2..<5)
        let direct = try gradients(of: dot(values, randomTensor(values.shape, seed: 9)), to: [problem.v])[0]
        #expect(direct[.all, .range(2..<5)].array == (try randomTensor(values.shape, seed: 9).array))
        #expect(direct[.all, .upTo(2)].array.allSatisfy { $0 == 0 })

        var cut = pages
        try cut.truncate(to: 4)
        let some = try gradients(of: dot(cut.keys(0..<4), randomTensor([2, 4, 1, 14], seed: 8)), to: [problem.k])[0]
        #expect(some[.all, .upTo(4)].array == (try randomTensor([2, 4, 1, 14], seed: 8).array))
        let twice = try pages.selecting(rows: [1, 1]).keys(0..<7)
        let both = try gradients(of: dot(twice, Tensor(repeating: 1, shape: twice.shape)), to: [problem.k])[0]
        #expect(both[0].array.allSatisfy { $0 == 0 } && both[1].array.allSatisfy { $0 == 2 })
    }
}
