// What a configuration adds to a tokenizer's vocabulary, as transformers does when it loads a folder: the tokens of
// added_tokens_decoder, then special tokens that are no added tokens yet. A token the model has keeps its id; another
// gets the next free one.
import LensFiles

enum ConfiguredTokens {
    /// `json` with the configuration's tokens among its "added_tokens".
    static func adding(_ config: TokenizerConfig, to json: JSON) throws -> JSON {
        guard case .object(var whole) = json, let model = whole["model"]?.objectValue else { return json }
        var added = try (whole["added_tokens"].flatMap { $0.isNull ? nil : $0 } ?? []).asArray(at: "added_tokens")
        var known: Set<ExactString> = [], greatest = -1
        for item in added {
            if let text = item["content"]?.stringValue { known.insert(ExactString(text)) }
            greatest = max(greatest, item["id"]?.intValue ?? -1)
        }
        let ids = ModelIDs(model["vocab"])
        let named = Set(config.namedTokens.map { ExactString($0.token) })
        func add(_ token: AddedToken) {
            guard !token.content.isEmpty, known.insert(ExactString(token.content)).inserted else { return }
            let id = ids.id(of: token.content) ?? max(greatest + 1, ids.count)
            greatest = max(greatest, id)
            let special = token.special || named.contains(ExactString(token.content))
            added.append(["id": .int(id), "content": .string(token.content), "single_word": .bool(token.singleWord),
                          "lstrip": .bool(token.lstrip), "rstrip": .bool(token.rstrip),
                          "normalized": .bool(token.normalized), "special": .bool(special)])
        }
        let before = added.count
        config.addedTokens.forEach(add)
        for token in config.namedTokens.map(\.token) + config.additionalSpecialTokens {
            add(AddedToken(id: 0, content: token, singleWord: false, lstrip: false, rstrip: false, normalized: false, special: true))
        }
        if added.count == before { return json }
        whole["added_tokens"] = .array(added.sorted { ($0["id"]?.intValue ?? 0) < ($1["id"]?.intValue ?? 0) })
        return .object(whole)
    }
}

/// The ids of a model's own vocabulary, as tokenizer.json has it: an object, or Unigram's list of pairs.
private struct ModelIDs {
    private let object: JSONObject
    private var places: [ExactString: Int] = [:]
    let count: Int

    init(_ vocab: JSON?) {
        object = vocab?.objectValue ?? JSONObject()
        for (id, pair) in (vocab?.arrayValue ?? []).enumerated() {
            if let text = pair.arrayValue?.first?.stringValue { places[ExactString(text)] = id }
        }
        count = max(object.count, vocab?.arrayValue?.count ?? 0)
    }

    func id(of token: String) -> Int? { object[token]?.intValue ?? places[ExactString(token)] }
}
