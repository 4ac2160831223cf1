// Words merged from left to right against a literal merging by rank, over random tables of merges: every table that
// training could make, and many that none would (tokens made in several ways, tokens no word has, runs of one letter).
import Testing
import LensFiles
import LensTestSupport
@testable import LensText

@Suite struct LongWordTests {
    /// Merges of letters, and what is known of their order.
    private struct Merges {
        var table: MergeTable
        var pairs: [(left: Int32, right: Int32, result: Int32)] = []
        var tokens: Int
        var order: MergeOrder

        /// - Parameter repeats: whether a merge may make a token that another makes already.
        init(letters: Int, count: Int, longest: Int, repeats: Bool, using random: inout SeededRandom) {
            var texts = (0..<letters).map { [$0] }
            var ids = Dictionary(uniqueKeysWithValues: texts.enumerated().map { ($1, Int32($0)) })
            table = MergeTable(minimumCapacity: count)
            var seen: Set<[Int32]> = []
            for _ in 0..<20 * count where pairs.count < count {
                // The newest tokens more often, so that there are long ones.
                func pick(_ random: inout SeededRandom) -> Int {
                    let any = Int.random(in: 0..<texts.count, using: &random)
                    return Bool.random(using: &random) ? any : max(any, Int.random(in: 0..<texts.count, using: &random))
                }
                let left = pick(&random), right = pick(&random), text = texts[left] + texts[right]
                guard text.count <= longest, repeats || ids[text] == nil,
                      seen.insert([Int32(left), Int32(right)]).inserted else { continue }
                let result = ids[text] ?? Int32(texts.count)
                if ids[text] == nil {
                    ids[text] = result
                    texts.append(text)
                }
                table.set(Int32(left), Int32(right), rank: pairs.count, result: result)
                pairs.append((Int32(left), Int32(right), result))
            }
            tokens = texts.count
            var builder = MergeOrder.Builder(tokens: tokens)
            for (rank, pair) in pairs.enumerated() { builder.add(pair.left, pair.right, rank: rank, result: pair.result) }
            order = builder.order
        }

        /// The leftmost pair of the lowest rank, again and again.
        func merged(_ word: [Int32]) -> [Int32] {
            var symbols = word
            while true {
                var best: (merge: Merge, place: Int)?
                for place in symbols.indices.dropLast() {
                    let merge = table.find(symbols[place], symbols[place + 1])
                    if merge.exists, merge.rank < best?.merge.rank ?? .max { best = (merge, place) }
                }
                guard let best else { return symbols }
                symbols.replaceSubrange(best.place...best.place + 1, with: [best.merge.result])
            }
        }
    }

    /// Words of every kind: random, of few letters, runs, periods, and runs with something before and after.
    private func words(letters: Int, using random: inout SeededRandom) -> [[Int32]] {
        func letter() -> Int32 { Int32.random(in: 0..<Int32(letters), using: &random) }
        func some(_ count: ClosedRange<Int>) -> [Int32] { (0..<Int.random(in: count, using: &random)).map { _ in letter() } }
        var words: [[Int32]] = []
        for _ in 0..<6 { words.append(some(1...60)) }
        for _ in 0..<3 {
            let run = Array(repeating: letter(), count: Int.random(in: 1...40, using: &random))
            words += [run, some(0...3) + run + some(1...3)]
        }
        for _ in 0..<3 {
            let period = some(2...5)
            words.append(some(0...2) + Array(repeatElement(period, count: 9).joined()) + some(0...2))
        }
        return words
    }

    @Test(arguments: [false, true])
    func asALiteralMerging(repeats: Bool) {
        var random = SeededRandom(repeats ? 11 : 12), tables = 0, longer = 0, unused = 0
        for round in 0..<3_000 {
            let letters = 1 + round % 5
            let merges = Merges(letters: letters, count: 1 + round % 37, longest: 3 + round % 23, repeats: repeats, using: &random)
            guard merges.order == .rising, let long = LongWords(merges: merges.table, ranks: merges.pairs.count, tokens: merges.tokens) else {
                continue
            }
            tables += 1
            unused += (0..<merges.tokens).contains { !long.has(Int32($0)) } ? 1 : 0
            for word in words(letters: letters, using: &random) {
                let expected = merges.merged(word)
                #expect(long.tokens(of: word) == expected, "\(merges.pairs) \(word)")
                longer += expected.contains { long.count($0) > 4 } ? 1 : 0
            }
        }
        // The comparison is one of what it is meant to be of.
        #expect(tables > 1_000 && longer > 500 && unused > 20, "\(tables) \(longer) \(unused)")
    }

    /// Tables whose merges come in an order that no training gives are left to the heap.
    @Test func otherTablesAreRefused() {
        // "abc" of other first symbols than "abc": `bc` is a first symbol of some words and a merge's result.
        var table = MergeTable(minimumCapacity: 2)
        table.set(0, 1, rank: 0, result: 3)
        table.set(3, 2, rank: 1, result: 4)
        let long = LongWords(merges: table, ranks: 2, tokens: 5)
        #expect(long?.tokens(of: [0, 1, 2, 0, 1]) == [4, 3])
        #expect(long?.tokens(of: [0, 3, 2]) == nil)
        // One token of two spellings.
        var twice = MergeTable(minimumCapacity: 2)
        twice.set(0, 1, rank: 0, result: 4)
        twice.set(2, 3, rank: 1, result: 4)
        #expect(LongWords(merges: twice, ranks: 2, tokens: 5) == nil)
    }
}
