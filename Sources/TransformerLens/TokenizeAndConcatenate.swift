// Many texts as rows of one length, for training and evaluation: TransformerLens' utils.tokenize_and_concatenate.

import LensFiles
import LensText

extension Tokenizer {
    /// Texts one after another, an end-of-sequence token between two, cut into rows of `maxLength`.
    ///
    /// Each text is tokenized by itself, so no token is cut. What is left after the last whole row is dropped, except that
    /// texts shorter than one row give one row, filled up with the pad token (the end-of-sequence token where there is
    /// none). As in TransformerLens, that holds for every batch of texts by itself.
    /// - Parameters:
    ///   - addBOSToken: whether every row begins with the beginning-of-sequence token (which counts).
    ///   - batchSize: how many texts belong together; Hugging Face `datasets` takes 1000.
    /// - Throws: `LensError(.usage)` without an end-of-sequence token, or a beginning-of-sequence token where it is wanted.
    public func tokenizeAndConcatenate(_ texts: [String], maxLength: Int = 1024, addBOSToken: Bool = true,
                                       batchSize: Int = 1000) throws -> [[Int]] {
        let length = addBOSToken ? maxLength - 1 : maxLength
        guard length > 0, batchSize > 0 else {
            throw LensError(.usage, "rows without room for text", expected: "at least \(addBOSToken ? 2 : 1) tokens a row", found: "\(maxLength)")
        }
        guard let eos = eosID else { throw LensError(.usage, "no end-of-sequence token to put between texts", expected: "a tokenizer with one") }
        guard let bos = addBOSToken ? bosID : eos else {
            throw LensError(.usage, "no beginning-of-sequence token to begin rows with", expected: "a tokenizer with one",
                            advice: "addBOSToken: false")
        }
        var rows: [[Int]] = []
        for start in stride(from: 0, to: texts.count, by: batchSize) {
            var tokens: [Int] = []
            for (index, text) in texts[start..<min(texts.count, start + batchSize)].enumerated() {
                if index > 0 { tokens.append(eos) }
                tokens += try encode(text: text, addSpecialTokens: false)
            }
            if tokens.count < length { tokens += Array(repeating: padID ?? eos, count: length - tokens.count) }
            for row in 0..<(tokens.count / length) {
                rows.append((addBOSToken ? [bos] : []) + tokens[(row * length)..<((row + 1) * length)])
            }
        }
        return rows
    }
}
