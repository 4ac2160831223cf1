// WordPiece: the longest token a word begins with, then the longest continuation, and so on; one unknown token for the
// whole word if that leads nowhere or if the word is too long.
import LensFiles

struct WordPiece: Sendable {
    let vocabulary: Vocabulary
    private let trie: ByteTrie
    /// The node of the trie where continuations begin; negative if there are none.
    private let continuation: Int32
    private let unknownToken: String
    private let unknownID: Int32
    private let longestWord: Int
    private let pool = WorkspacePool()

    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        vocabulary = try Vocabulary(json: fields.required("vocab"), at: fields.place("vocab"))
        unknownToken = try fields.requiredString("unk_token")
        unknownID = vocabulary.id(of: Array(unknownToken.utf8))
        longestWord = try fields.requiredIndex("max_input_chars_per_word")
        var trie = ByteTrie(minimumCapacity: 4 * vocabulary.count)
        vocabulary.forEach { token, id in if !token.isEmpty { trie.insert(token, value: id) } }
        self.trie = trie
        continuation = trie.node(try fields.requiredString("continuing_subword_prefix").utf8)
    }

    /// Appends the tokens of every piece.
    func encode(_ text: PieceText, into ids: inout [Int]) throws {
        try pool.encode(text, into: &ids) { word, workspace in
            workspace.merger.symbols.removeAll(keepingCapacity: true)
            var tokens = ModelTokens()
            try encode(piece: word, into: &tokens)
            for token in tokens.tokens { workspace.merger.symbols.append(token.id) }
        }
    }

    /// The tokens of one piece, with the bytes they cover.
    func encode(piece: Bytes, into tokens: inout ModelTokens) throws {
        let first = tokens.tokens.count
        var start = 0, length = 0
        for byte in piece where byte & 0xC0 != 0x80 { length += 1 }
        if length > longestWord { start = -1 }
        while start >= 0, start < piece.count {
            let (id, end) = longestToken(piece, from: start)
            if id >= 0 { tokens.append(id, start, end) }
            start = id >= 0 ? end : -1
        }
        guard start < 0 else { return }
        guard unknownID >= 0 else {
            throw LensError(.text, "a word is not in the vocabulary and neither is the unknown token", at: "model.unk_token",
                            found: "\"\(unknownToken)\"")
        }
        tokens.tokens.removeLast(tokens.tokens.count - first)
        tokens.append(unknownID, 0, piece.count)
    }

    private func longestToken(_ piece: Bytes, from start: Int) -> (id: Int32, end: Int) {
        var best: (id: Int32, end: Int) = (-1, start)
        var node = start == 0 ? ByteTrie.root : continuation
        var index = start
        while node >= 0, index < piece.count {
            node = trie.child(node, piece[index])
            index += 1
            if node >= 0, trie.values[Int(node)] >= 0 { best = (trie.values[Int(node)], index) }
        }
        return best
    }
}
