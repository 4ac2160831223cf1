// From a SentencePiece model to the tokenizer.json that Hugging Face's converters make of it: LlamaConverter for BPE,
// GemmaConverter, T5Converter, XLMRobertaConverter by the class that tokenizer_config.json names, SpmConverter else.
import LensFiles

/// What the vocabulary of a SentencePiece model (or of a GGUF file that carries one) comes to.
struct SentencePieceConverter {
    /// Which of Hugging Face's converters.
    enum Family { case llama, gemma, unigram, t5, xlmRoberta }

    var texts: [String]
    var scores: [Double]
    var types: [SentencePieceModel.PieceType]
    var unkID: Int
    var bosID: Int?
    var eosID: Int?
    var padID: Int?
    var byteFallback: Bool
    var charsmap: [UInt8]
    var addPrefixSpace: Bool
    /// Whether every text between special tokens gets a space before it, as tokenizers had it at first.
    var isLegacy = true
    var family: Family
    /// Merges that the file lists itself.
    var merges: [JSON]?

    init(_ model: SentencePieceModel, config: TokenizerConfig) throws {
        texts = model.pieces.map(\.text)
        scores = model.pieces.map { Double($0.score) }
        types = model.pieces.map(\.type)
        unkID = model.unkID
        bosID = model.piece(model.bosID) == nil ? nil : model.bosID
        eosID = model.piece(model.eosID) == nil ? nil : model.eosID
        padID = model.piece(model.padID) == nil ? nil : model.padID
        byteFallback = model.byteFallback
        charsmap = model.charsmap
        addPrefixSpace = try config.flag("add_prefix_space") ?? model.addDummyPrefix
        isLegacy = try config.flag("legacy") ?? true
        family = Self.family(model.kind, config.tokenizerClass ?? "")
        if family == .t5 { try addExtraIDs(try config.integer("extra_ids") ?? 100) }
        if family == .xlmRoberta { try renumberForXLMRoberta() }
    }

    /// A converter of a vocabulary that is not in a SentencePiece file.
    init(family: Family, texts: [String], scores: [Double], types: [SentencePieceModel.PieceType], unkID: Int) {
        (self.family, self.texts, self.scores, self.types, self.unkID) = (family, texts, scores, types, unkID)
        (byteFallback, charsmap, addPrefixSpace) = (family == .llama, [], true)
    }

    private static func family(_ kind: SentencePieceModel.Kind, _ tokenizerClass: String) -> Family {
        if kind == .bpe { return tokenizerClass.hasPrefix("Gemma") ? .gemma : .llama }
        if tokenizerClass.hasPrefix("T5") { return .t5 }
        return tokenizerClass.hasPrefix("XLMRoberta") ? .xlmRoberta : .unigram
    }

    /// T5's sentinels, which its SentencePiece file lacks, in falling order.
    private mutating func addExtraIDs(_ count: Int) throws {
        guard (0...10_000).contains(count) else {
            throw LensError(.format, "impossible number of extra ids", at: "tokenizer_config.extra_ids", expected: "0 to 10000",
                            found: "\(count)")
        }
        for number in (0..<count).reversed() { append("<extra_id_\(number)>") }
    }

    /// fairseq's order: <s>, <pad>, </s>, <unk>, the pieces from the third on, <mask>.
    private mutating func renumberForXLMRoberta() throws {
        guard texts.count > 3 else { throw LensError(.format, "too few pieces for XLM-RoBERTa", found: "\(texts.count)") }
        texts = ["<s>", "<pad>", "</s>", "<unk>"] + texts[3...]
        scores = [0, 0, 0, 0] + scores[3...]
        types = [.control, .control, .control, .unknown] + types[3...]
        append("<mask>")
        (bosID, padID, eosID, unkID) = (0, 1, 2, 3)
    }

    private mutating func append(_ text: String) {
        texts.append(text)
        scores.append(0)
        types.append(.control)
    }

    /// The tokenizer.json and the special tokens.
    func converted() -> ConvertedTokenizer {
        var config = TokenizerConfig()
        config.unkToken = texts[unkID]
        config.bosToken = bosID.map { texts[$0] }
        config.eosToken = eosID.map { texts[$0] }
        config.padToken = padID.map { texts[$0] }
        if family == .xlmRoberta {
            (config.clsToken, config.sepToken, config.maskToken) = ("<s>", "</s>", "<mask>")
        }
        return ConvertedTokenizer(json: TokenizerJSON.whole(
            added: added(), normalizer: normalizer(), preTokenizer: preTokenizer(), postProcessor: postProcessor(),
            decoder: decoder(), model: model()), config: config)
    }

    private var isBPE: Bool { family == .llama || family == .gemma }

    private func model() -> JSON {
        if !isBPE { return TokenizerJSON.unigram(Array(zip(texts, scores)), unkID: unkID, byteFallback: byteFallback) }
        return TokenizerJSON.bpe(vocab: TokenizerJSON.vocabulary(texts),
                                 merges: merges ?? DerivedMerges.merges(ofTexts: texts, score: scores),
                                 unk: texts[unkID], fuseUnk: true, byteFallback: true)
    }

    /// Control and user-defined pieces and the unknown one, by id; of a text that occurs twice the last, whose id it has.
    private func added() -> [JSON] {
        let special: Set<String> = family == .gemma ? ["<start_of_turn>", "<end_of_turn>"] : []
        var last: [ExactString: Int] = [:]
        for (id, text) in texts.enumerated() { last[ExactString(text)] = id }
        return texts.indices.compactMap { id in
            let type = types[id]
            guard type == .control || type == .userDefined || id == unkID, !texts[id].isEmpty,
                  last[ExactString(texts[id])] == id else { return nil }
            return TokenizerJSON.added(id, texts[id], special: type != .userDefined || special.contains(texts[id]),
                                       lstrip: family == .xlmRoberta && id == texts.count - 1)
        }
    }

    private var scheme: String { !addPrefixSpace ? "never" : isLegacy ? "always" : "first" }

    private func normalizer() -> JSON {
        switch family {
        case .gemma: return TokenizerJSON.replace(" ", "▁")
        case .llama:
            if !isLegacy { return nil }
            let prepend: [JSON] = addPrefixSpace ? [["type": "Prepend", "prepend": "▁"]] : []
            return TokenizerJSON.sequence("normalizers", prepend + [TokenizerJSON.replace(" ", "▁")])
        case .unigram, .t5, .xlmRoberta:
            let map: [JSON] = charsmap.isEmpty ? [] : [["type": "Precompiled", "precompiled_charsmap": .string(Base64.encode(charsmap))]]
            return TokenizerJSON.sequence("normalizers", map + [
                ["type": "Strip", "strip_left": false, "strip_right": true],
                ["type": "Replace", "pattern": ["Regex": " {2,}"], "content": "▁"],
            ])
        }
    }

    private func preTokenizer() -> JSON {
        switch family {
        case .gemma:
            return ["type": "Split", "pattern": ["String": " "], "behavior": "MergedWithPrevious", "invert": false]
        case .llama: return isLegacy ? nil : TokenizerJSON.metaspace(scheme, split: false)
        case .unigram, .t5, .xlmRoberta: return TokenizerJSON.metaspace(scheme, split: true)
        }
    }

    private func decoder() -> JSON {
        if !isBPE { return TokenizerJSON.metaspace(scheme, split: true) }
        let strip: JSON = ["type": "Strip", "content": " ", "start": 1, "stop": 0]
        let parts: [JSON] = [TokenizerJSON.replace("▁", " "), ["type": "ByteFallback"], ["type": "Fuse"]]
        return TokenizerJSON.sequence("decoders", parts + (family == .llama && addPrefixSpace ? [strip] : []))
    }

    private func postProcessor() -> JSON {
        func token(_ id: Int?) -> (String, Int)? { id.map { (texts[$0], $0) } }
        switch family {
        case .llama, .gemma: return bosID == nil ? nil : TokenizerJSON.template(before: token(bosID), after: nil)
        case .t5: return TokenizerJSON.template(before: nil, after: token(eosID))
        case .xlmRoberta: return TokenizerJSON.template(before: token(bosID), after: token(eosID))
        // Without a class to go by: a model that has no bos was made as T5's was.
        case .unigram: return bosID == nil && eosID != nil ? TokenizerJSON.template(before: nil, after: token(eosID)) : nil
        }
    }
}
