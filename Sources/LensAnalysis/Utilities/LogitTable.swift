// The likeliest tokens of a row of logits, as a table (TransformerLens' `logits_to_df`).

import LensFiles
import LensTensor

/// Rows of a table of logits, likeliest first.
public struct LogitTable: Sendable {
    public struct Row: Sendable, Hashable {
        public let tokenIndex: Int
        /// nil without a tokenizer.
        public let tokenString: String?
        public let logit: Float
        public let logProb: Float
        public let probability: Float
    }

    public let rows: [Row]

    /// `[{"token_index": …, "token_string": …, "logit": …, "log_prob": …, "probability": …}]`
    public var json: JSON {
        .array(rows.map { row in
            var fields = JSONObject([("token_index", .int(row.tokenIndex))])
            fields["token_string"] = row.tokenString.map(JSON.string)
            for (name, value) in [("logit", row.logit), ("log_prob", row.logProb), ("probability", row.probability)] {
                fields[name] = value.isFinite ? .double(Double(value)) : .null
            }
            return .object(fields)
        })
    }
}

/// The table of a row of logits `[d_vocab]`, the first of equals first.
/// - Parameters:
///   - tokenizer: for the tokens' texts.
///   - topK: the likeliest only.
/// - Throws: `LensError(.shape)` if it is not one row, `(.usage)` for a negative topK.
public func logitsToDf(_ logits: Tensor, tokenizer: (any Tokenizing)? = nil, topK: Int? = nil) throws -> LogitTable {
    guard logits.rank == 1 else { throw LensError(.shape, "a table of logits", expected: "[d_vocab]", found: "\(logits.shape)") }
    guard topK ?? 0 >= 0 else { throw LensError(.usage, "how many rows", expected: "at least 0", found: "\(topK ?? 0)") }
    let values = logits.array, logProbs = try logits.logSoftmax().array, probs = try logits.softmax().array
    let order = values.indices.sorted { a, b in logProbs[a] != logProbs[b] ? logProbs[a] > logProbs[b] : a < b }
    return LogitTable(rows: try order.prefix(topK ?? order.count).map { token in
        LogitTable.Row(tokenIndex: token, tokenString: try tokenizer?.decode(tokens: [token], skipSpecialTokens: false), logit: values[token],
                       logProb: logProbs[token], probability: probs[token])
    })
}
