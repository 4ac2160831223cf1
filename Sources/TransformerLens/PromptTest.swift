// Whether a model can answer a prompt, for a first look (TransformerLens' `test_prompt`): rank, logit and probability of each
// token of an answer, beside the likeliest tokens. Where TransformerLens prints, this returns; `description` is what it prints.

import LensAnalysis
import LensFiles
import LensModel
import LensTensor

/// How a prompt's answers did.
public struct PromptTest: Sendable {
    /// A token at a place.
    public struct Token: Sendable, Hashable {
        public let id: Int
        public let text: String
        /// How many tokens are likelier.
        public let rank: Int
        public let logit: Float
        public let probability: Float
    }

    /// One predicted place.
    public struct Place: Sendable {
        /// Of each answer, its token here.
        public let answers: [Token]
        /// The likeliest tokens.
        public let top: [Token]
    }

    /// The prompt's tokens, as texts.
    public let prompt: [String]
    /// Each answer's tokens, as texts.
    public let answers: [[String]]
    /// One place for each token of the answer; of several answers, the first only.
    public let places: [Place]

    /// The ranks of the answers' tokens, place by place.
    public var ranks: [[Int]] { places.map { $0.answers.map(\.rank) } }
}

extension HookedRunning {
    /// Tests a prompt with one answer of any length, token by token.
    public func testPrompt(_ prompt: String, answer: String, prependSpaceToAnswer: Bool = true, prependBOS: Bool? = nil, topK: Int = 10) throws -> PromptTest {
        try testPrompt(prompt, answers: [answer], prependSpaceToAnswer: prependSpaceToAnswer, prependBOS: prependBOS, topK: topK)
    }

    /// Tests a prompt with several answers, of which only the first tokens are compared.
    ///
    /// - Parameters:
    ///   - prependSpaceToAnswer: whether answers that do not begin with a space get one.
    ///   - topK: how many of the likeliest tokens to name.
    /// - Throws: `LensError(.usage)` for an answer without tokens, or no answers; what converting text throws.
    public func testPrompt(_ prompt: String, answers given: [String], prependSpaceToAnswer: Bool = true, prependBOS: Bool? = nil,
                           topK: Int = 10) throws -> PromptTest {
        let texts = given.map { prependSpaceToAnswer && !$0.hasPrefix(" ") ? " " + $0 : $0 }
        let promptTokens = try toTokens(prompt, prependBOS: prependBOS).array, answers = try texts.map { try toTokens($0, prependBOS: false).array }
        guard !answers.isEmpty, !answers.contains(where: \.isEmpty), !promptTokens.isEmpty, topK >= 0 else {
            throw LensError(.usage, "nothing to test", expected: "a prompt and answers of at least one token, topK of at least 0")
        }
        let continued = answers.count == 1 ? answers[0] : []
        let logits = try logits([promptTokens + continued.dropLast()])
        let places = try (0..<max(1, continued.count)).map { step in
            let row = try logits.at(0, .at(promptTokens.count - 1 + step))
            return try place(row.contiguous(), continued.isEmpty ? answers.map { $0[0] } : [continued[step]], topK)
        }
        return PromptTest(prompt: try toStrTokens(promptTokens), answers: try answers.map { try toStrTokens($0) }, places: places)
    }

    private func place(_ logits: Tensor, _ answers: [Int], _ topK: Int) throws -> PromptTest.Place {
        let values = logits.array, probs = try logits.softmax().array
        func token(_ id: Int) throws -> PromptTest.Token {
            guard values.indices.contains(id) else { throw LensError(.usage, "not an output of this model", expected: "0..<\(values.count)", found: "\(id)") }
            return PromptTest.Token(id: id, text: try toString(id), rank: values.count { $0 > values[id] }, logit: values[id], probability: probs[id])
        }
        return PromptTest.Place(answers: try answers.map(token), top: try logitsToDf(logits, topK: topK).rows.map { try token($0.tokenIndex) })
    }
}

extension PromptTest: CustomStringConvertible {
    /// What TransformerLens prints.
    public var description: String {
        func list(_ texts: [String]) -> String { "[" + texts.map { "'\($0)'" }.joined(separator: ", ") + "]" }
        var lines = ["Tokenized prompt: \(list(prompt))"]
        lines.append(answers.count == 1 ? "Tokenized answer: \(list(answers[0]))" : "Tokenized answers: [\(answers.map(list).joined(separator: ", "))]")
        for place in places {
            lines.append("Performance on answer token\(answers.count > 1 ? "s" : ""):")
            for token in place.answers { lines.append("Rank: \(padded("\(token.rank)", 8, left: false)) \(numbers(token))") }
            for (index, token) in place.top.enumerated() { lines.append("Top \(index)th token. \(numbers(token))") }
        }
        let ranks = places.map { place in place.answers.map { "('\($0.text)', \($0.rank))" } }
        let shown = answers.count == 1 ? ranks.map { $0[0] } : ranks.map { "[" + $0.joined(separator: ", ") + "]" }
        lines.append("Ranks of the answer tokens: [\(shown.joined(separator: ", "))]")
        return lines.joined(separator: "\n")
    }

    private func numbers(_ token: Token) -> String {
        "Logit: \(padded(hundredths(Double(token.logit)), 5)) Prob: \(padded(hundredths(100 * Double(token.probability)) + "%", 6)) Token: |\(token.text)|"
    }

    private func padded(_ text: String, _ width: Int, left: Bool = true) -> String {
        let spaces = String(repeating: " ", count: max(0, width - text.count))
        return left ? spaces + text : text + spaces
    }

    /// With two digits after the point.
    private func hundredths(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let all = Int((abs(value) * 100).rounded(.toNearestOrEven)), rest = all % 100
        return (value < 0 && all > 0 ? "-" : "") + "\(all / 100)." + (rest < 10 ? "0" : "") + "\(rest)"
    }
}
