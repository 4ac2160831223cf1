// Reading a BPE model from the "model" object of tokenizer.json. It refuses merges of tokens that are not there.
import LensFiles

extension BPE {
    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        let vocabulary = try Vocabulary(json: fields.required("vocab"), at: "\(location).vocab")
        let prefix = Array(try fields.string("continuing_subword_prefix")?.utf8 ?? "".utf8)
        let pairs = try Self.readMerges(try fields.required("merges").asArray(at: "\(location).merges"),
                                        at: "\(location).merges")
        var table = MergeTable(minimumCapacity: pairs.count)
        var results: [Int32] = []
        results.reserveCapacity(pairs.count)
        var order = MergeOrder.Builder(tokens: vocabulary.idLimit)
        var joined: [UInt8] = []
        for (rank, pair) in pairs.enumerated() {
            let left = try Self.id(of: pair.left, in: vocabulary, rank, location)
            let right = try Self.id(of: pair.right, in: vocabulary, rank, location)
            guard pair.right.count >= prefix.count else {
                throw LensError(.format, "merge whose right part is shorter than continuing_subword_prefix",
                                at: "\(location).merges[\(rank)]", found: quoted(pair.right))
            }
            joined.removeAll(keepingCapacity: true)
            joined.append(contentsOf: pair.left)
            joined.append(contentsOf: pair.right.dropFirst(prefix.count))
            let result = try Self.id(of: joined[...], in: vocabulary, rank, location)
            order.add(left, right, rank: rank, result: result)
            table.set(left, right, rank: rank, result: result)
            results.append(result)
        }
        self.init(vocabulary: vocabulary, merges: table, mergeResults: results)
        mergeOrder = order.order
        continuingSubwordPrefix = prefix
        endOfWordSuffix = Array(try fields.string("end_of_word_suffix")?.utf8 ?? "".utf8)
        unknownToken = try fields.string("unk_token")
        fusesUnknown = try fields.bool("fuse_unk") ?? false
        byteFallback = try fields.bool("byte_fallback") ?? false
        ignoresMerges = try fields.bool("ignore_merges") ?? false
        if let dropout = try fields.double("dropout"), !(0...1).contains(dropout) {
            throw LensError(.format, "impossible dropout", at: "\(location).dropout", expected: "0 to 1",
                            found: "\(dropout)")
        }
        indexBytes()
        findWordStart(results)
    }

    /// The two parts of every merge: pairs, or the older "left right" (whose `#version` lines do not count).
    private static func readMerges(_ merges: [JSON], at location: String) throws
        -> [(left: ArraySlice<UInt8>, right: ArraySlice<UInt8>)] {
        var pairs: [(left: ArraySlice<UInt8>, right: ArraySlice<UInt8>)] = []
        pairs.reserveCapacity(merges.count)
        var spelling: Bool?
        for (index, merge) in merges.enumerated() {
            func fail() -> LensError {
                LensError(.format, "bad merge", at: "\(location)[\(index)]",
                          expected: "two tokens, all as \"a b\" or all as [\"a\", \"b\"]", found: merge.summary)
            }
            let isPair: Bool
            switch merge {
            case .string(let line):
                isPair = false
                let bytes = Array(line.utf8)
                if bytes.starts(with: "#version".utf8) { break }
                guard let space = bytes.firstIndex(of: 0x20), !bytes[(space + 1)...].contains(0x20) else { throw fail() }
                pairs.append((bytes[..<space], bytes[(space + 1)...]))
            case .array(let parts):
                isPair = true
                guard parts.count == 2, let left = parts[0].stringValue, let right = parts[1].stringValue else {
                    throw fail()
                }
                pairs.append((Array(left.utf8)[...], Array(right.utf8)[...]))
            default: throw fail()
            }
            guard spelling ?? isPair == isPair else { throw fail() }
            spelling = isPair
        }
        return pairs
    }

    private static func id(of token: ArraySlice<UInt8>, in vocabulary: Vocabulary, _ rank: Int,
                           _ location: String) throws -> Int32 {
        let id = token.withUnsafeBufferPointer { vocabulary.id(of: $0) }
        guard id >= 0 else {
            throw LensError(.format, "merge of a token that is not in the vocabulary", at: "\(location).merges[\(rank)]",
                            found: quoted(token))
        }
        return id
    }

    private mutating func indexBytes() {
        fallbackTokens = vocabulary.fallbackTokens
        for byte in 0..<256 {
            var character: [UInt8] = []
            withUnsafeBytes(of: UInt8(byte)) { ByteAlphabet.spell($0.bindMemory(to: UInt8.self), into: &character) }
            byteTokens.append(vocabulary.id(of: character))
        }
    }

    /// Sets `wordStart` to `▁` if no merge makes a token with `▁` after another character. Then nothing ever merges
    /// across such a place, and an unknown token pending there is written there, `▁` being known.
    private mutating func findWordStart(_ results: [Int32]) {
        let mark: [UInt8] = [0xE2, 0x96, 0x81]
        guard !ignoresMerges, continuingSubwordPrefix.isEmpty, endOfWordSuffix.isEmpty, vocabulary.id(of: mark) >= 0 else {
            return
        }
        for id in results {
            var token = vocabulary.token(Int(id)) ?? []
            while token.starts(with: mark) { token = token.dropFirst(mark.count) }
            while let place = token.firstIndex(of: mark[0]) {
                token = token[place...]
                if token.starts(with: mark) { return }
                token = token.dropFirst()
            }
        }
        wordStart = mark
    }
}
