// The tokens added on top of the model's vocabulary: finding them in text, before and after normalisation, and their
// part in decoding. It refuses ids that the tokens would not have in Hugging Face tokenizers, which gives a token the
// model's id if the model has it and otherwise the next free one, whatever the file says.
import LensFiles

/// Added tokens and how to find them.
struct AddedVocabulary: Sendable {
    private(set) var tokens: [AddedToken] = []
    /// What decoding sees of token i: its normalised form if it is normalised.
    private var decodedForms: [[UInt8]] = []
    /// Whether decoding skips token i when it skips special tokens.
    private var isSkipped: [Bool] = []
    private var indexOfID: [Int: Int] = [:]
    private var indexOfContent: [[UInt8]: Int] = [:]
    /// Tokens looked for in the text as given, and in the normalised text. Values index `tokens`.
    private var plainTrie = TokenTrie()
    private var normalizedTrie = TokenTrie()

    /// Reads the "added_tokens" list.
    init(json: JSON?, vocabulary: Vocabulary, normalizer: Normalizer?, at location: String) throws {
        var next = vocabulary.count
        for (number, item) in (try json?.asArray(at: location) ?? []).enumerated() {
            let place = "\(location)[\(number)]"
            let token = try AddedToken(json: item, at: place)
            if token.content.isEmpty { continue }
            try add(token, vocabulary, next: &next, at: place)
        }
        let special = Set(tokens.lazy.filter(\.special).map { Array($0.content.utf8) })
        for (index, token) in tokens.enumerated() {
            let content = Array(token.content.utf8)
            let form = token.normalized ? try normalizer?.normalized(content) ?? content : content
            decodedForms.append(form)
            isSkipped.append(special.contains(form))
            if token.normalized {
                normalizedTrie.insert(form, value: Int32(truncatingIfNeeded: index))
            } else {
                plainTrie.insert(content, value: Int32(truncatingIfNeeded: index))
            }
        }
    }

    private mutating func add(_ token: AddedToken, _ vocabulary: Vocabulary, next: inout Int, at place: String) throws {
        let content = Array(token.content.utf8)
        let known = indexOfContent[content]
        let inModel = Int(vocabulary.id(of: content))
        let expected = known.map { tokens[$0].id } ?? (inModel >= 0 ? inModel : next)
        guard token.id == expected else {
            throw LensError(.format, "added token with an id of its own", at: "\(place).id",
                            expected: "\(expected) for \(quoted(content))", found: "\(token.id)",
                            advice: "ids of added tokens follow the vocabulary without gaps, unless it has the token")
        }
        if let known {
            tokens[known] = token
            return
        }
        if inModel < 0 {
            if let other = vocabulary.token(token.id) {
                throw LensError(.format, "added token with an id that is taken", at: "\(place).id",
                                found: "\(token.id), the id of \(quoted(other))")
            }
            next += 1
        }
        indexOfContent[content] = tokens.count
        indexOfID[token.id] = tokens.count
        tokens.append(token)
    }

    /// One more than the greatest id.
    var idLimit: Int { (tokens.lazy.map(\.id).max() ?? -1) + 1 }

    func token(_ id: Int) -> AddedToken? { indexOfID[id].map { tokens[$0] } }

    func id(of content: [UInt8]) -> Int? { indexOfContent[content].map { tokens[$0].id } }

    /// What decoding sees of the token with this id, and whether it is skipped with the special ones; nil if none has it.
    func decoded(_ id: Int) -> (form: [UInt8], isSkipped: Bool)? {
        indexOfID[id].map { (decodedForms[$0], isSkipped[$0]) }
    }

    /// Cuts out the tokens that are looked for in the text as given.
    func extractPlain(_ text: inout PieceText) { extract(&text, plainTrie) }

    /// Cuts out the tokens that are looked for in the normalised text.
    func extractNormalized(_ text: inout PieceText) { extract(&text, normalizedTrie) }

    private func extract(_ text: inout PieceText, _ trie: TokenTrie) {
        if trie.isEmpty { return text.cutNothing() }
        text.split { bytes, piece, add in
            let whole = Bytes(rebasing: bytes[piece.start..<piece.end])
            find(in: whole, trie) { start, end, id in add(piece.start + start, piece.start + end, id) }
        }
    }

    /// Tokens found and the text between them, in order. White space taken by a token to its right may hold the
    /// beginning of the next one; then the places go back, as in the reference.
    private func find(in text: Bytes, _ trie: TokenTrie, _ add: (Int, Int, Int32) -> Void) {
        var covered = 0, place = 0
        while let match = trie.firstMatch(in: text, from: place, to: text.count) {
            place = match.end
            let token = tokens[Int(match.value)]
            if token.singleWord && touchesWord(text, match.start, match.end) { continue }
            var start = match.start, end = match.end
            if token.lstrip { start = max(startOfSpace(text, before: start, downTo: 0), covered) }
            if token.rstrip { end = endOfSpace(text, from: end, to: text.count) }
            add(covered, start, -1)
            add(min(start, end), end, Int32(truncatingIfNeeded: token.id))
            covered = end
        }
        add(covered, text.count, -1)
    }

    private func touchesWord(_ text: Bytes, _ start: Int, _ end: Int) -> Bool {
        if start > 0, ScalarClasses.of(scalar(text, before: start).value).has(ScalarClass.word) { return true }
        return end < text.count && ScalarClasses.of(scalar(text, at: end).value).has(ScalarClass.word)
    }
}
