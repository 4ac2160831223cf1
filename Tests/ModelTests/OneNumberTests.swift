// Law 2: one number, one way. The bits of every activation of a real token are the same alone and in a batch, padded on
// either side, in one pass, in chunks and token by token, on one thread and on two.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct OneNumberTests {
    /// Models, with the lengths of the rows that share a batch.
    static let short = LawModels.names.map { ($0, [7, 1, 4, 9]) }
    static let stretched = LawModels.lengthDependent.map { ($0, [13, 1, 4, 9]) }
    static let long = LawModels.long.map { ($0, [130, 64, 65, 3, 200]) }

    private func everything(_ model: Transformer) -> ActivationFilter { .names(model.config.hookNames) }

    @Test(arguments: short + long + stretched, [PaddingSide.left, .right])
    func aRowAloneAndInABatch(_ model: (name: String, lengths: [Int]), _ side: PaddingSide) throws {
        let lengths = model.lengths, transformer = try LawModels.named(model.name)
        let rows = try lengths.enumerated().map { try LawModels.tokens(transformer, batch: 1, pos: $1, seed: UInt64($0)).row(0) }
        let longest = lengths.max() ?? 0
        func padded(_ row: [Int], _ filler: Int) -> [Int] {
            let filling = Array(repeating: filler, count: longest - row.count)
            return side == .left ? filling + row : row + filling
        }
        let tokens = try IntTensor(rows: rows.map { padded($0, 5) })
        let mask = try IntTensor(rows: rows.map { padded(Array(repeating: 1, count: $0.count), 0) })
        let isLong = longest > 64
        let filter: ActivationFilter = isLong ? "all" : everything(transformer)
        let together = try transformer.run(.tokens(tokens), .init(cache: filter, attentionMask: mask))
        for (index, row) in rows.enumerated() {
            let alone = try transformer.run(.tokens(IntTensor(rows: [row])), .init(cache: filter))
            let real = side == .left ? longest - row.count..<longest : 0..<row.count
            expectSameBits(try together.logits?.at(.at(index), .range(real)), try alone.logits?.at(.at(0)), "row \(index): logits")
            for name in alone.cache.names {
                expectSameBits(try together.cache.part(transformer.config, name, row: index, real), try alone.cache.part(transformer.config, name, row: 0, 0..<row.count), "row \(index): \(name)")
            }
        }
    }

    /// Padding tokens on both sides of a row, and what stands there, make no difference.
    @Test(arguments: LawModels.names)
    func holesOnlyAtPads(_ name: String) throws {
        let model = try LawModels.named(name), row = [3, 1, 4, 1, 5]
        let alone = try model.run(.tokens(IntTensor(rows: [row])), .init(cache: .all))
        for filler in [0, 7] {
            let tokens = try IntTensor(rows: [Array(repeating: filler, count: 2) + row + Array(repeating: filler, count: 3)])
            let mask = try IntTensor(rows: [[0, 0, 1, 1, 1, 1, 1, 0, 0, 0]])
            let padded = try model.run(.tokens(tokens), .init(cache: .all, attentionMask: mask))
            for name in alone.cache.names {
                expectSameBits(try padded.cache.part(model.config, name, row: 0, 2..<7), try alone.cache.part(model.config, name, row: 0, 0..<row.count), "filled with \(filler): \(name)")
            }
        }
    }

    @Test(arguments: LawModels.causal + LawModels.long)
    func aPrefixAlone(_ name: String) throws {
        let model = try LawModels.named(name), pos = LawModels.long.contains(name) ? 150 : 14
        let tokens = try LawModels.tokens(model, batch: 1, pos: pos)
        let whole = try model.run(.tokens(tokens), .init(cache: .all))
        for length in Set([1, 2, 3, 5, 8, 13, 63, 64, 65, 127, 128, 129]) where length <= pos {
            let alone = try model.run(.tokens(IntTensor(rows: [Array(tokens.row(0)[..<length])])), .init(cache: .all))
            for name in alone.cache.names {
                expectSameBits(try whole.cache.part(model.config, name, row: 0, 0..<length), try alone.cache.part(model.config, name, row: 0, 0..<length), "\(length) tokens: \(name)")
            }
        }
    }

    /// One pass against chunks over a key-value cache; chunks of 1 are decoding.
    @Test(arguments: LawModels.causal.map { ($0, [[1], [2, 3], [5, 1, 1]], [0, 2]) }
          + LawModels.long.map { ($0, [[1], [64], [50, 1, 70], [63, 2]], [0, 3, 70]) })
    func inChunks(_ model: (name: String, chunkings: [[Int]], paddings: [Int])) throws {
        let transformer = try LawModels.named(model.name), pos = LawModels.long.contains(model.name) ? 140 : 9
        let tokens = try LawModels.tokens(transformer, batch: 2, pos: pos)
        for padding in model.paddings {
            // The second row is padded on the left.
            let mask = try IntTensor(rows: [Array(repeating: 1, count: pos), Array(repeating: 0, count: padding) + Array(repeating: 1, count: pos - padding)])
            let whole = try transformer.run(.tokens(tokens), .init(cache: everything(transformer), attentionMask: mask))
            for chunks in model.chunkings {
                var keyValues: KeyValueCache? = KeyValueCache(for: transformer.config, batch: 2)
                var start = 0, turn = 0
                while start < pos {
                    let end = min(pos, start + chunks[turn % chunks.count])
                    let piece = try IntTensor(rows: tokens.rows.map { Array($0[start..<end]) })
                    let real = try IntTensor(rows: mask.rows.map { Array($0[start..<end]) })
                    let part = try transformer.run(.tokens(piece), .init(cache: everything(transformer), attentionMask: real), keyValues: &keyValues)
                    try expectSame(transformer.config, part, whole, start..<end, padding: [0, padding], "chunks \(chunks), padding \(padding), positions \(start)..<\(end)")
                    start = end
                    turn += 1
                }
                #expect(keyValues?.count == pos)
            }
        }
    }

    /// A pass over `new` positions against one over all: at real positions, row by row.
    private func expectSame(_ config: ModelConfig, _ piece: Transformer.Output, _ whole: Transformer.Output, _ new: Range<Int>, padding: [Int], _ what: String) throws {
        for (row, pad) in padding.enumerated() where pad < new.upperBound {
            let real = max(pad, new.lowerBound)..<new.upperBound
            let local = real.lowerBound - new.lowerBound..<new.count
            expectSameBits(try piece.logits?.at(.at(row), .range(local)), try whole.logits?.at(.at(row), .range(real)), "\(what), row \(row): logits")
            for name in whole.cache.names {
                let keys = pad..<new.upperBound
                expectSameBits(try piece.cache.part(config, name, row: row, local, keys: keys), try whole.cache.part(config, name, row: row, real, keys: keys),
                               "\(what), row \(row): \(name)")
            }
        }
    }

    /// The last position's logits alone are those of all positions, also where the last block computes nothing else, rows are
    /// padded, and steps over a key-value cache follow.
    @Test(arguments: LawModels.names + LawModels.long + LawModels.lengthDependent, [[], [0, 1, 2], [8, 9], [4]])
    func onlyTheLastLogits(_ name: String, _ masked: [Int]) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 3, pos: 10)
        let mask = try IntTensor(rows: (0..<3).map { row in (0..<10).map { row == 1 && masked.contains($0) ? 0 : 1 } })
        var options = Transformer.Options(attentionMask: mask)
        let all = try model.run(.tokens(tokens), .init(cache: .all, attentionMask: mask))
        options.onlyLastLogits = true
        let last = try model.run(.tokens(tokens), options).logits
        #expect(last?.shape == [3, 1, model.config.dVocabOut])
        expectSameBits(last, try all.logits?.at(.all, .from(-1)), "last logits")
        // Whoever looks at the last block sees all of its positions.
        for site in ["resid_pre", "q", "resid_post"] {
            let point = "blocks.\(model.config.nLayers - 1).\(site == "q" ? "attn.hook_q" : "hook_" + site)"
            options.cache = .names([point])
            let watched = try model.run(.tokens(tokens), options)
            expectSameBits(watched.logits, last, "\(point): logits")
            expectSameBits(try watched.cache[point], try all.cache[point], point)
        }
        guard LawModels.causal.contains(name) || LawModels.long.contains(name) else { return }
        options.cache = .none
        var keyValues: KeyValueCache? = KeyValueCache(for: model.config, batch: 3)
        for chunk in [0..<6, 6..<9, 9..<10] {
            options.attentionMask = try IntTensor(rows: mask.rows.map { Array($0[chunk]) })
            let piece = try model.run(.tokens(IntTensor(rows: tokens.rows.map { Array($0[chunk]) })), options, keyValues: &keyValues)
            expectSameBits(piece.logits, try all.logits?.at(.all, .range(chunk.upperBound - 1..<chunk.upperBound)), "after \(chunk)")
        }
    }

    @Test(arguments: LawModels.names)
    func todayAndTomorrow(_ name: String) throws {
        let model = try LawModels.named(name), tokens = try LawModels.tokens(model, batch: 2, pos: 9)
        let first = try model.run(.tokens(tokens), .init(cache: .all))
        for _ in 0..<3 { expectSameBits(try model.run(.tokens(tokens), .init(cache: .all)).cache, first.cache, "again") }
    }
}
