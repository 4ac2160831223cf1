// TransformerLens' `ioi_eval`: does the model name the indirect object rather than the subject?

import LensFiles
import LensModel
import LensTensor

/// What a model made of the prompts.
public struct IOIEvaluation: Sendable, Hashable {
    /// Mean of the indirect object's logit less the subject's.
    public let logitDifference: Double
    /// Share of prompts where it is above 0.
    public let accuracy: Double
    public let count: Int
}

extension Evals {
    /// Evaluates `dataset`: names of several tokens are compared at the first in which the two prompts differ.
    ///
    /// That place is found by tokenizing each prompt with either name at its end, which holds for tokenizers that add tokens
    /// of their own too (3.9 counts back from the end by the length of the name alone, beginning-of-sequence token included).
    /// - Parameters:
    ///   - prependBOS: whether prompts begin with the beginning-of-sequence token.
    /// - Throws: `LensError(.usage)` for names that cannot be told apart, prompts that do not end with theirs or do not fit.
    public static func ioiEval(_ model: Transformer, tokenizer: any Tokenizing, dataset: IOIDataset, prependBOS: Bool = true, batchSize: Int = 8,
                               progress: (Int, Int) -> Void = { _, _ in }) throws -> IOIEvaluation {
        guard !dataset.samples.isEmpty else { throw LensError(.usage, "no prompts to evaluate") }
        if prependBOS, tokenizer.bosID == nil {
            throw LensError(.usage, "no beginning-of-sequence token to prepend", expected: "a tokenizer with one", advice: "prependBOS: false")
        }
        let bos = prependBOS ? tokenizer.bosID.map { [$0] } ?? [] : []
        let prompts = try dataset.samples.map { try prompt($0, tokenizer, bos) }
        var differences = [Float](repeating: 0, count: prompts.count), done = 0
        // Equal lengths together: no padding. Few distinct prompts come up often, and are run once.
        var memo: [[Int]: [Int]] = [:]
        for (index, prompt) in prompts.enumerated() { memo[prompt.tokens, default: []].append(index) }
        let byLength = Dictionary(grouping: memo.keys, by: \.count)
        for length in byLength.keys.sorted() {
            let rows = (byLength[length] ?? []).sorted { $0.lexicographicallyPrecedes($1) }
            for start in stride(from: 0, to: rows.count, by: max(1, batchSize)) {
                let batch = Array(rows[start..<min(rows.count, start + max(1, batchSize))])
                guard let logits = try model.run(.tokens(IntTensor(rows: batch))).logits else { continue }
                for (row, tokens) in batch.enumerated() {
                    for index in memo[tokens] ?? [] {
                        let prompt = prompts[index]
                        let right = try logits.at(.at(row), .at(prompt.place), .at(prompt.right)).item()
                        differences[index] = try right - logits.at(.at(row), .at(prompt.place), .at(prompt.wrong)).item()
                        done += 1
                    }
                }
                progress(done, prompts.count)
            }
        }
        let count = Double(differences.count)
        return IOIEvaluation(logitDifference: differences.reduce(0.0) { $0 + Double($1) } / count,
                             accuracy: Double(differences.count { $0 > 0 }) / count, count: differences.count)
    }

    private struct Prompt {
        let tokens: [Int]
        /// The position whose logits predict the first token in which the names differ, and those tokens.
        let place: Int, right: Int, wrong: Int
    }

    private static func prompt(_ sample: IOIDataset.Sample, _ tokenizer: any Tokenizing, _ bos: [Int]) throws -> Prompt {
        guard sample.text.hasSuffix(sample.indirectObject) else {
            throw LensError(.usage, "a prompt must end with the indirect object", at: sample.text, expected: "\"\(sample.indirectObject)\" at its end")
        }
        let right = try bos + tokenizer.encode(text: sample.text, addSpecialTokens: false)
        let other = String(sample.text.dropLast(sample.indirectObject.count)) + sample.subject
        let wrong = try bos + tokenizer.encode(text: other, addSpecialTokens: false)
        guard let place = zip(right, wrong).enumerated().first(where: { $1.0 != $1.1 })?.offset, place > 0 else {
            throw LensError(.usage, "names that cannot be told apart", at: sample.text, expected: "neither the beginning of the other, in tokens",
                            found: "\(sample.indirectObject) and \(sample.subject)")
        }
        return Prompt(tokens: right, place: place - 1, right: right[place], wrong: wrong[place])
    }
}
