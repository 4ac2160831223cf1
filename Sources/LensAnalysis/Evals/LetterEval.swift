// Multiple-choice questions answered by the most likely letter: TransformerLens' `mmlu_eval`, zero-shot.

import LensFiles
import LensModel
import LensTensor

/// How many a model got right.
public struct LetterEvaluation: Sendable, Hashable {
    public let correct: Int
    public let total: Int
    /// The letter chosen for each question, from 0.
    public let predictions: [Int]
    /// Of each subject, in the order they came.
    public let subjects: [Subject]
    public var accuracy: Double { total > 0 ? Double(correct) / Double(total) : 0 }

    public struct Subject: Sendable, Hashable {
        public let name: String
        public internal(set) var correct: Int
        public internal(set) var total: Int
        public var accuracy: Double { total > 0 ? Double(correct) / Double(total) : 0 }
    }
}

extension Evals {
    /// Chooses, for each question, the letter whose token is most likely after the prompt (the first of equals).
    ///
    /// - Parameters:
    ///   - tokens: the tokens of a prompt, with what the model's family puts before text.
    /// - Throws: `LensError(.text)` for a letter without a token, `(.usage)` without questions; what `tokens` and the model throw.
    public static func letterEval(_ model: Transformer, tokenizer: any Tokenizing, questions: [LetterQuestion],
                                  progress: (Int, Int) -> Void = { _, _ in }, tokens: (String) throws -> [Int]) throws -> LetterEvaluation {
        guard !questions.isEmpty else { throw LensError(.usage, "no questions to evaluate") }
        let most = questions.map(\.choices.count).max() ?? 0
        let letters = try LetterQuestion.letters.prefix(most).map { try token(of: $0, tokenizer) }
        var predictions: [Int] = [], subjects: [LetterEvaluation.Subject] = []
        for (index, question) in questions.enumerated() {
            var run = Transformer.Options()
            run.onlyLastLogits = true
            let row = try tokens(question.prompt)
            guard let logits = try model.run(.tokens(IntTensor(rows: [row])), run).logits else { continue }
            let last = try logits.at(.at(0), .at(-1))
            var best = 0, highest = -Float.infinity
            for choice in question.choices.indices {
                let value = try last.at(.at(letters[choice])).item()
                if value > highest { (best, highest) = (choice, value) }
            }
            predictions.append(best)
            let place = subjects.firstIndex { $0.name == question.subject } ?? subjects.count
            if place == subjects.count { subjects.append(.init(name: question.subject, correct: 0, total: 0)) }
            subjects[place].total += 1
            if best == question.answer { subjects[place].correct += 1 }
            progress(index + 1, questions.count)
        }
        return LetterEvaluation(correct: subjects.reduce(0) { $0 + $1.correct }, total: questions.count, predictions: predictions, subjects: subjects)
    }

    /// The token of a letter as it stands after "Answer:": with a space if that is one token, else without.
    private static func token(of letter: String, _ tokenizer: any Tokenizing) throws -> Int {
        let spaced = try tokenizer.encode(text: " " + letter, addSpecialTokens: false)
        if spaced.count == 1 { return spaced[0] }
        guard let token = try tokenizer.encode(text: letter, addSpecialTokens: false).first else {
            throw LensError(.text, "a letter without a token", at: letter)
        }
        return token
    }
}
