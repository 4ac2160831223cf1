// The rows of a generation so far: tokens, who has ended and why, each row's sampler; and what goes into the next pass.

import LensFiles
import LensTensor

/// The rows so far.
struct GenerationRows {
    let input: GenerationInput
    private let options: GenerationOptions
    private let vocabulary: Int
    private let longest: Int
    private var samplers: [Sampler]
    private(set) var newTokens: [[Int]]
    private(set) var finishReasons: [FinishReason?]
    private(set) var logProbabilities: [[Float]]
    /// New positions, ended rows' included.
    private(set) var steps = 0
    let filler: Int

    init(_ input: GenerationInput, _ options: GenerationOptions, vocabulary: Int) {
        self.input = input
        self.options = options
        self.vocabulary = vocabulary
        let lengths = input.lengths, tokens = input.tokens
        longest = lengths.max() ?? 0
        samplers = tokens.indices.map { row in
            let held = options.keyValues.map { zip($0.tokens[row], $0.isReal[row]).filter(\.1).map(\.0) } ?? []
            return Sampler(options.sampling, seed: options.seeds?[row], prompt: held + tokens[row])
        }
        newTokens = tokens.map { _ in [] }
        logProbabilities = newTokens.map { _ in [] }
        finishReasons = tokens.map { _ in nil }
        filler = options.eosTokens.min() ?? 0
    }

    var batch: Int { newTokens.count }
    var allEnded: Bool { finishReasons.allSatisfy { $0 != nil } }

    // MARK: Input of a pass

    /// The prompts, padded on the left, and which of their places are real (nil if all are).
    func prompt() throws -> (input: Transformer.Input, mask: IntTensor?) { try sequence(withNew: false) }

    /// Each row's last token; ended rows go on with the filler: nobody reads what comes of it.
    func lastTokens() throws -> IntTensor {
        try IntTensor(rows: newTokens.map { [$0.count == steps ? $0.last ?? filler : filler] })
    }

    /// Everything so far, for a pass that keeps no keys and values.
    func everything() throws -> (input: Transformer.Input, mask: IntTensor?) { try sequence(withNew: true) }

    /// Prompts and new tokens, `[batch, longest + steps]`.
    func sequences() throws -> IntTensor {
        try IntTensor(rows: input.tokens.indices.map { row in
            Array(repeating: 0, count: longest - input.tokens[row].count) + input.tokens[row] + padded(row)
        })
    }

    private func padded(_ row: Int) -> [Int] { newTokens[row] + Array(repeating: filler, count: steps - newTokens[row].count) }

    private func sequence(withNew: Bool) throws -> (input: Transformer.Input, mask: IntTensor?) {
        let lengths = input.lengths, more = withNew ? steps : 0
        let mask = try lengths.contains { $0 != longest } ? IntTensor(rows: lengths.map { length in
            Array(repeating: 0, count: longest - length) + Array(repeating: 1, count: length + more)
        }) : nil
        switch input {
        case .tokens(let rows):
            return (.tokens(try IntTensor(rows: rows.indices.map { row in
                Array(repeating: 0, count: longest - lengths[row]) + rows[row] + (withNew ? padded(row) : [])
            })), mask)
        case .embeddings(let rows):
            var all = Tensor(zeros: [rows.count, longest, rows.first?.shape.last ?? 0])
            for (row, embeddings) in rows.enumerated() { try all.set(.at(row), .from(longest - lengths[row]), to: embeddings) }
            let then = try more > 0 ? IntTensor(rows: rows.indices.map(padded)) : nil
            return (.embeddings(all, then: then), mask)
        }
    }

    // MARK: Choosing

    /// Chooses each row's next token from `logits: [batch, 1, d_vocab_out]`. - Returns: nil for rows that had ended.
    mutating func choose(from logits: Tensor) throws -> [Int?] {
        let width = logits.shape[2]
        let chosen = try logits.withUnsafeElements { elements in
            try (0..<batch).map { row -> Int? in
                guard finishReasons[row] == nil else { return nil }
                let own = UnsafeBufferPointer(rebasing: elements[row * width..<(row + 1) * width])
                let token = try samplers[row].next(own)
                guard token < vocabulary else {
                    throw LensError(.usage, "the model chose an output that is no token", expected: "0..<\(vocabulary)", found: "\(token)")
                }
                return token
            }
        }
        if options.outputs.contains(.logProbabilities) {
            let all = try logits.reshaped([batch, width]).logSoftmax()
            for (row, token) in chosen.enumerated() {
                if let token { logProbabilities[row].append(try all.at(.at(row), .at(token)).item()) }
            }
        }
        steps += 1
        for (row, token) in chosen.enumerated() {
            guard let token else { continue }
            newTokens[row].append(token)
            if options.eosTokens.contains(token) {
                finishReasons[row] = .eos
            } else if try options.stopping?(row, newTokens[row]) == true {
                finishReasons[row] = .stop
            }
        }
        return chosen
    }

    /// Ends the rows that have not ended.
    mutating func finish(_ reason: FinishReason) {
        for row in finishReasons.indices where finishReasons[row] == nil { finishReasons[row] = reason }
    }
}
