// Tokens to text where the model's vocabulary is larger than its tokenizer's, as embeddings rounded up to a multiple are.

import LensFiles
import LensModel
import LensText

extension HookedRunning {
    /// The text of tokens. Rows of the embedding that are no token of the tokenizer have none: they add nothing.
    /// - Throws: `LensError(.text)` for a token outside the model's vocabulary, `(.usage)` without a tokenizer.
    public func decoded(_ tokens: [Int], skipSpecialTokens: Bool = false) throws -> String {
        let tokenizer = try requiredTokenizer()
        let rows = tokenizer.vocabularySize..<max(tokenizer.vocabularySize, model.config.dVocab)
        return try tokenizer.decode(tokens: tokens.filter { !rows.contains($0) }, skipSpecialTokens: skipSpecialTokens)
    }
}
