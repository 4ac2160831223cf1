// Byte-pair encoding (Sennrich et al. 2016), over characters or, after the byte-level stage, over bytes: the first
// symbols of a word, what becomes of characters the vocabulary lacks, and the word as a whole. Merging is in
// BPEMerger.swift, reading the model from tokenizer.json in BPELoading.swift.
// Dropout, a device of training, is ignored.
import LensFiles

/// A BPE model as Hugging Face tokenizers defines it.
struct BPE: Sendable {
    var vocabulary: Vocabulary
    var merges: MergeTable
    /// The id made by the merge of each rank.
    var mergeResults: [Int32]
    var continuingSubwordPrefix: [UInt8] = []
    var endOfWordSuffix: [UInt8] = []
    var unknownToken: String?
    var fusesUnknown = false
    var byteFallback = false
    /// A word that is a token itself is that token, whatever the merges say.
    var ignoresMerges = false
    /// What is known of the ranks.
    var mergeOrder = MergeOrder.any
    /// The UTF-8 of a character that no token has after another character, and that is a token itself: text can be cut
    /// before each run of it without changing a token. Empty if the model has none. (SentencePiece's `▁`: without
    /// this a whole text would be one word.)
    var wordStart: [UInt8] = []
    /// The token of each byte, as the one-character token of the byte-level alphabet; -1 where there is none.
    var byteTokens: [Int32] = []
    /// The token `<0x..>` of each byte; -1 where there is none.
    var fallbackTokens: [Int32] = []
    private let pool = WorkspacePool()
    private let longWords = LongWordsWhenNeeded()
    /// From this many symbols on, and a quarter of the ranks, a word is worth making `longWords` for.
    static let veryLongWord = 4096

    init(vocabulary: Vocabulary, merges: MergeTable, mergeResults: [Int32]) {
        self.vocabulary = vocabulary
        self.merges = merges
        self.mergeResults = mergeResults
    }

    /// Appends the tokens of every piece.
    func encode(_ text: PieceText, into ids: inout [Int]) throws {
        try pool.withWorkspace { workspace in
            try text.bytes.withUnsafeBufferPointer { bytes in
                for piece in text.pieces {
                    if piece.token >= 0 {
                        ids.append(Int(piece.token))
                    } else if text.isByteLevel || wordStart.isEmpty {
                        let word = Bytes(rebasing: bytes[piece.start..<piece.end])
                        try encodeWord(word, isByteLevel: text.isByteLevel, &workspace, into: &ids)
                    } else {
                        try encodeByWords(Bytes(rebasing: bytes[piece.start..<piece.end]), &workspace, into: &ids)
                    }
                }
            }
        }
    }

    /// A piece cut before every run of `wordStart`.
    private func encodeByWords(_ piece: Bytes, _ workspace: inout ModelWorkspace, into ids: inout [Int]) throws {
        var start = 0, index = 0, afterStart = false
        while index < piece.count {
            if isWordStart(piece, at: index) {
                if !afterStart && index > start {
                    try encodeWord(Bytes(rebasing: piece[start..<index]), isByteLevel: false, &workspace, into: &ids)
                    start = index
                }
                afterStart = true
                index += wordStart.count
            } else {
                afterStart = false
                index += 1
            }
        }
        try encodeWord(Bytes(rebasing: piece[start..<piece.count]), isByteLevel: false, &workspace, into: &ids)
    }

    @inline(__always)
    private func isWordStart(_ piece: Bytes, at index: Int) -> Bool {
        guard piece[index] == wordStart[0], index + wordStart.count <= piece.count else { return false }
        for offset in 1..<wordStart.count where piece[index + offset] != wordStart[offset] { return false }
        return true
    }

    /// One word: from the cache if it was seen, else by merging.
    private func encodeWord(_ word: Bytes, isByteLevel: Bool, _ workspace: inout ModelWorkspace,
                            into ids: inout [Int]) throws {
        let isShort = word.count <= WordCache.longestWord
        let hash = isShort ? ByteTable.hash(word) : 0
        if isShort {
            let known = workspace.cache.find(word, hash: hash)
            if known >= 0 { return workspace.cache.append(known, to: &ids) }
        }
        if isByteLevel {
            try tokenizeBytes(word, &workspace)
        } else {
            try tokenizeCharacters(word, &workspace.merger)
        }
        for symbol in workspace.merger.symbols { ids.append(Int(symbol)) }
        if isShort { workspace.cache.insert(word, hash: hash, workspace.merger.symbols) }
        if workspace.merger.symbols.capacity > 1 << 16 { workspace.merger.symbols = [] }
    }

    /// A word in raw bytes, whose symbols are single bytes if the vocabulary has them all.
    private func tokenizeBytes(_ word: Bytes, _ workspace: inout ModelWorkspace) throws {
        let isPlain = !ignoresMerges && continuingSubwordPrefix.isEmpty && endOfWordSuffix.isEmpty
        if isPlain && word.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
            workspace.merger.symbols.removeAll(keepingCapacity: true)
            for byte in word { workspace.merger.symbols.append(byteTokens[Int(byte)]) }
            return merge(&workspace.merger)
        }
        var spelling = workspace.spelling
        spelling.removeAll(keepingCapacity: true)
        ByteAlphabet.spell(word, into: &spelling)
        try spelling.withUnsafeBufferPointer { try tokenizeCharacters($0, &workspace.merger) }
        workspace.spelling = spelling.capacity > 1 << 16 ? [] : spelling
    }

    /// A word in characters.
    private func tokenizeCharacters(_ word: Bytes, _ merger: inout BPEMerger) throws {
        merger.symbols.removeAll(keepingCapacity: true)
        if ignoresMerges {
            let whole = vocabulary.id(of: word)
            if whole >= 0 { return merger.symbols.append(whole) }
        }
        try appendFirstSymbols(of: word, to: &merger)
        merge(&merger)
    }

    /// The tokens of one piece, spelled out, with the bytes they cover.
    func encode(piece: Bytes, into tokens: inout ModelTokens) throws {
        if ignoresMerges {
            let whole = vocabulary.id(of: piece)
            if whole >= 0 { return tokens.append(whole, 0, piece.count) }
        }
        var merger = BPEMerger()
        merger.keepsLengths = true
        try appendFirstSymbols(of: piece, to: &merger)
        merge(&merger)
        var start = 0
        for (symbol, length) in zip(merger.symbols, merger.lengths) {
            tokens.append(symbol, start, start + Int(length))
            start += Int(length)
        }
    }

    private func merge(_ merger: inout BPEMerger) {
        if mergeOrder == .rising, merger.symbols.count >= max(Self.veryLongWord, mergeResults.count / 4),
           let words = longWords.get({
            LongWords(merges: merges, ranks: mergeResults.count, tokens: vocabulary.idLimit)
        }), merger.merge(with: words) { return }
        merger.merge(with: merges, results: mergeResults, order: mergeOrder)
    }

    /// One symbol per character, or what stands for a character the vocabulary lacks. A pending unknown token is
    /// written when the next known character comes, and so after the bytes of one in between, as the reference does it.
    private func appendFirstSymbols(of word: Bytes, to merger: inout BPEMerger) throws {
        var unknown: Int32 = -1, unknownLength = 0
        var index = 0
        while index < word.count {
            let end = min(index + scalarLength(word[index]), word.count), length = end - index
            let character = Bytes(rebasing: word[index..<end])
            let isDecorated = index > 0 && !continuingSubwordPrefix.isEmpty || end == word.count && !endOfWordSuffix.isEmpty
            let decorated = isDecorated ? decorate(character, isFirst: index == 0, isLast: end == word.count) : []
            index = end
            let id = isDecorated ? vocabulary.id(of: decorated) : vocabulary.id(of: character)
            if id >= 0 {
                if unknown >= 0 { merger.append(unknown, unknownLength) }
                unknown = -1
                merger.append(id, length)
            } else if byteFallback && appendFallback(isDecorated ? decorated : Array(character), to: &merger) {
                continue
            } else if unknownToken != nil {
                if unknown >= 0 && !fusesUnknown { merger.append(unknown, unknownLength) }
                unknownLength = unknown >= 0 && fusesUnknown ? unknownLength + length : length
                unknown = try unknownID()
            }
        }
        if unknown >= 0 { merger.append(unknown, unknownLength) }
    }

    private func decorate(_ character: Bytes, isFirst: Bool, isLast: Bool) -> [UInt8] {
        (isFirst ? [] : continuingSubwordPrefix) + Array(character) + (isLast ? endOfWordSuffix : [])
    }

    /// Appends the byte tokens; false, and nothing appended, if the vocabulary lacks one of them.
    private func appendFallback(_ bytes: [UInt8], to merger: inout BPEMerger) -> Bool {
        guard bytes.allSatisfy({ fallbackTokens[Int($0)] >= 0 }) else { return false }
        for byte in bytes { merger.append(fallbackTokens[Int(byte)], 1) }
        return true
    }

    private func unknownID() throws -> Int32 {
        let token = unknownToken ?? ""
        let id = vocabulary.id(of: Array(token.utf8))
        guard id >= 0 else {
            throw LensError(.text, "a character is not in the vocabulary and neither is the unknown token",
                            at: "model.unk_token", found: "\"\(token)\"")
        }
        return id
    }
}
