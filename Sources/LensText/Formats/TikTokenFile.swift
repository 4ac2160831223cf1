// tiktoken rank files: a line for each token, its bytes in base 64 and its rank. As Hugging Face's TikTokenConverter:
// every way to cut a token into two tokens is a merge, and whole words that are tokens are taken as they are.
import LensFiles

/// A tiktoken file, and what it does not say itself.
enum TikTokenFile {
    /// The known files, by the beginning of their names: the pattern, and special tokens that follow the ranks.
    private static let families: [(name: String, pattern: SplitPattern, special: [String])] = [
        ("gpt2", .gpt2, ["<|endoftext|>"]), ("r50k", .gpt2, ["<|endoftext|>"]), ("p50k", .gpt2, []),
        ("cl100k", .cl100k, []), ("o200k", .o200k, []), ("qwen", .qwen2, []),
    ]

    /// A tokenizer of the file's tokens.
    ///
    /// - Parameters:
    ///   - name: the file's name, by which known families are told.
    ///   - pattern: nil: the family's, or cl100k's.
    ///   - special: special tokens, whose ids follow the ranks; nil: the family's, and what the configuration names.
    static func converted(_ bytes: [UInt8], name: String, pattern: SplitPattern?, special: [String]?,
                          config: TokenizerConfig) throws -> ConvertedTokenizer {
        let ranks = try read(bytes)
        let family = families.first { name.hasPrefix($0.name) }
        var vocabulary = JSONObject()
        let texts = ranks.map { spelled($0.token) }
        for (text, entry) in zip(texts, ranks) { vocabulary[text] = .int(entry.rank) }
        let merges = DerivedMerges.merges(of: ranks.map(\.token), rank: ranks.map { Double($0.rank) }) { _ in true }
        let model = TokenizerJSON.bpe(vocab: vocabulary, merges: merges.map { [.string(texts[$0.left]), .string(texts[$0.right])] },
                                      ignoreMerges: true)
        let names = special ?? named(config, count: ranks.count) ?? family?.special ?? []
        let added = names.enumerated().map { TokenizerJSON.added(ranks.count + $0, $1, special: true) }
        let pre = TokenizerJSON.sequence("pretokenizers", [
            TokenizerJSON.split(regex: (pattern ?? family?.pattern ?? .cl100k).regex), TokenizerJSON.byteLevel(useRegex: false),
        ])
        var defaults = TokenizerConfig()
        if names.contains("<|endoftext|>") { (defaults.bosToken, defaults.eosToken) = ("<|endoftext|>", "<|endoftext|>") }
        return ConvertedTokenizer(json: TokenizerJSON.whole(
            added: added, preTokenizer: pre, postProcessor: TokenizerJSON.trimOffsets, decoder: TokenizerJSON.byteLevelDecoder,
            model: model), config: defaults)
    }

    /// Whether the first line looks like one of a rank file.
    static func isTikToken(_ bytes: [UInt8]) -> Bool {
        guard let line = bytes.prefix(4_096).split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false).first else {
            return false
        }
        return (try? entry(line.last == 0x0D ? line.dropLast() : line, 1)) != nil
    }

    /// The special tokens that a configuration lists past the ranks; gaps are filled as Hugging Face fills them.
    private static func named(_ config: TokenizerConfig, count: Int) -> [String]? {
        guard let last = config.addedTokens.last?.id, last >= count, last < count + 100_000 else { return nil }
        let byID = Dictionary(config.addedTokens.map { ($0.id, $0.content) }) { $1 }
        return (count...last).map { byID[$0] ?? "<|reserved_token_\($0)|>" }
    }

    private static func spelled(_ token: [UInt8]) -> String {
        var text: [UInt8] = []
        token.withUnsafeBufferPointer { ByteAlphabet.spell($0, into: &text) }
        return String(decoding: text, as: UTF8.self)
    }

    private static func entry(_ line: ArraySlice<UInt8>, _ number: Int) throws -> (token: [UInt8], rank: Int) {
        let parts = line.split(separator: 0x20, omittingEmptySubsequences: true)
        guard parts.count == 2, let token = Base64.decode(parts[0]), !token.isEmpty,
              let rank = Int(String(decoding: parts[1], as: UTF8.self)), rank >= 0, rank < Int(Int32.max) else {
            throw LensError(.format, "not a line of a tiktoken file", at: "line \(number)",
                            expected: "a token in base 64 and its rank", found: String(decoding: line.prefix(60), as: UTF8.self))
        }
        return (token, rank)
    }

    /// The tokens by rising rank, each of them and each rank once.
    private static func read(_ bytes: [UInt8]) throws -> [(token: [UInt8], rank: Int)] {
        var entries: [(token: [UInt8], rank: Int)] = []
        for (number, line) in VocabularyFiles.lines(bytes).enumerated() where !line.isEmpty {
            entries.append(try entry(line, number + 1))
        }
        guard !entries.isEmpty else { throw LensError(.format, "tiktoken file without tokens") }
        entries.sort { $0.rank < $1.rank }
        var seen: Set<[UInt8]> = []
        for (index, entry) in entries.enumerated() {
            guard seen.insert(entry.token).inserted, index == 0 || entries[index - 1].rank < entry.rank else {
                throw LensError(.format, "token or rank given twice in a tiktoken file", found: "rank \(entry.rank)")
            }
        }
        return entries
    }
}
