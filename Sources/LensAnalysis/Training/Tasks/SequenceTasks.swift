// Tasks on generated sequences: random tokens repeated (which trains induction heads) and balanced brackets.

import LensFiles

extension GeneratedData {
    /// Random tokens, then the same again (Olsson et al. 2022): the second time every token can be known. Only what can be
    /// known counts. Token `vocabulary` stands before everything.
    /// - Parameters:
    ///   - length: tokens before they repeat; rows have `1 + 2 × length`.
    /// - Throws: `LensError(.usage)` for sizes out of range.
    public static func repeatedTokens(vocabulary: Int = 64, length: Int = 16, heldOut: Int = 256, seed: UInt64 = 0) throws -> GeneratedData {
        guard (2...1 << 20).contains(vocabulary), (2...1 << 16).contains(length) else {
            throw LensError(.usage, "repeated tokens out of range", expected: "at least 2 tokens to draw from, at least 2 to repeat", found: "\(vocabulary), \(length)")
        }
        return try GeneratedData(vocabularySize: vocabulary + 1, outputSize: vocabulary, length: 1 + 2 * length, seed: seed, heldOut: heldOut,
                                 identity: ["task": "repeated", "vocabulary": .int(vocabulary), "length": .int(length), "seed": .string("\(seed)")]) { random in
            let row = (0..<length).map { _ in random.int(below: vocabulary) }
            let tokens = [vocabulary] + row + row
            // The repetition's first token cannot be known; from its second on each can.
            let targets = tokens.indices.map { $0 > length && $0 < 2 * length ? tokens[$0 + 1] : TrainingBatch.ignored }
            return (tokens, targets)
        }
    }

    /// `(`, `)` and whether they balance: begin (2), brackets (`(` 3, `)` 4), end (5), where the answer is asked for: 1 if
    /// every bracket is closed in order, else 0. Half of the rows balance; of the others half are one exchange of two brackets
    /// away from a row that does, the rest random with as many of each.
    /// - Parameter length: brackets in a row; even.
    /// - Throws: `LensError(.usage)` for a length out of range.
    public static func balancedBrackets(length: Int = 16, heldOut: Int = 256, seed: UInt64 = 0) throws -> GeneratedData {
        guard (2...1 << 16).contains(length), length % 2 == 0 else {
            throw LensError(.usage, "brackets out of range", expected: "an even number from 2", found: "\(length)")
        }
        return try GeneratedData(vocabularySize: 6, outputSize: 2, length: length + 2, seed: seed, heldOut: heldOut,
                                 identity: ["task": "brackets", "length": .int(length), "seed": .string("\(seed)")]) { random in
            var row = balanced(length, &random)
            switch random.int(below: 4) {
            case 0:
                let i = random.int(below: length), j = random.int(below: length)
                row.swapAt(i, j)
            case 1: row.shuffle(using: &random.generator)
            default: break
            }
            let answer = isBalanced(row) ? 1 : 0
            return ([2] + row.map { $0 ? 3 : 4 } + [5], Array(repeating: TrainingBatch.ignored, count: length + 1) + [answer])
        }
    }

    /// A random balanced row, all equally likely (the cycle lemma, Dvoretzky and Motzkin 1947); true is `(`.
    static func balanced(_ length: Int, _ random: inout RandomStream) -> [Bool] {
        // With one `(` more, exactly one rotation stays above zero; it begins with that `(`.
        var row = Array(repeating: true, count: length / 2 + 1) + Array(repeating: false, count: length / 2)
        row.shuffle(using: &random.generator)
        var height = 0, lowest = 0, start = 0
        for (index, opens) in row.enumerated() {
            height += opens ? 1 : -1
            if height <= lowest { (lowest, start) = (height, index + 1) }
        }
        return Array((row[start...] + row[..<start]).dropFirst())
    }

    static func isBalanced(_ row: [Bool]) -> Bool {
        var height = 0
        for opens in row {
            height += opens ? 1 : -1
            if height < 0 { return false }
        }
        return height == 0
    }
}
