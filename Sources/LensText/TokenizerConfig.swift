// What tokenizer_config.json (and special_tokens_map.json, where transformers reads it) says beside the tokenizer itself:
// which tokens play which part, and the chat templates. Everything in it is optional; what is there must have its type.
import LensFiles

/// The parts of a tokenizer's configuration that concern its tokens.
public struct TokenizerConfig: Sendable, Hashable {
    /// The token that begins a text.
    public var bosToken: String?
    /// The token that ends a text.
    public var eosToken: String?
    /// The token that fills up a batch.
    public var padToken: String?
    /// The token for what the vocabulary lacks.
    public var unkToken: String?
    /// The token that separates two texts.
    public var sepToken: String?
    /// The token whose activation stands for the whole text.
    public var clsToken: String?
    /// The token that hides another.
    public var maskToken: String?
    /// Special tokens without a part of their own, and those of parts only one model knows.
    public var additionalSpecialTokens: [String] = []
    /// `added_tokens_decoder`, by id.
    public var addedTokens: [AddedToken] = []
    /// Whether encoding adds the bos token; nil if the file leaves it to the tokenizer's post-processor.
    public var addBOSToken: Bool?
    /// Whether encoding adds the eos token; nil if the file leaves it to the tokenizer's post-processor.
    public var addEOSToken: Bool?
    /// Kept for users who ask; as in Hugging Face `tokenizers`, decoding leaves spaces as they are.
    public var cleanUpTokenizationSpaces: Bool?
    /// The most tokens the model takes; nil if the file does not say, or says a number past counting.
    public var modelMaxLength: Int?
    /// Where batches are padded: `left` or `right`; nil if the file does not say.
    public var paddingSide: String?
    /// The class that transformers would make of it.
    public var tokenizerClass: String?
    /// The chat templates by name; the one that has none is `default`.
    public var chatTemplates: [ChatTemplateSource] = []
    /// The file's other members, for the converters.
    var others = JSONObject()

    public init() {}

    /// Reads `json`, and special tokens from `specialTokensMap`, which transformers reads only where
    /// `added_tokens_decoder` is missing, and which then goes first.
    init(json: JSON?, at location: String, specialTokensMap: JSON? = nil, at mapLocation: String = "") throws {
        guard let json = json ?? specialTokensMap.map({ _ in JSON.object(JSONObject()) }) else { return }
        let fields = try Fields(json, at: location)
        let isMapRead = fields.object["added_tokens_decoder"] == nil
        let map = try isMapRead ? specialTokensMap.map { try Fields($0, at: mapLocation) } : nil
        func token(_ key: String) throws -> String? { try map.flatMap { try Self.token($0, key) } ?? Self.token(fields, key) }
        bosToken = try token("bos_token")
        eosToken = try token("eos_token")
        padToken = try token("pad_token")
        unkToken = try token("unk_token")
        sepToken = try token("sep_token")
        clsToken = try token("cls_token")
        maskToken = try token("mask_token")
        additionalSpecialTokens = try Self.additional(fields) + (map.map { try Self.additional($0) } ?? [])
        addedTokens = try Self.addedTokens(fields)
        addBOSToken = try Self.choice(fields, "add_bos_token")
        addEOSToken = try Self.choice(fields, "add_eos_token")
        cleanUpTokenizationSpaces = try fields.bool("clean_up_tokenization_spaces")
        modelMaxLength = try fields.double("model_max_length").flatMap { $0 >= 1 && $0 < 1e15 ? Int($0) : nil }
        paddingSide = try fields.string("padding_side")
        tokenizerClass = try fields.string("tokenizer_class")
        chatTemplates = try ChatTemplateSource.read(fields)
        others = fields.object
    }

    /// A member for one converter.
    func flag(_ key: String) throws -> Bool? { try Fields(.object(others), at: "tokenizer_config").bool(key) }
    func integer(_ key: String) throws -> Int? { try Fields(.object(others), at: "tokenizer_config").int(key) }

    /// This configuration where it says something, else `other`.
    func filled(from other: TokenizerConfig) -> TokenizerConfig {
        var config = self
        config.bosToken = bosToken ?? other.bosToken
        config.eosToken = eosToken ?? other.eosToken
        config.padToken = padToken ?? other.padToken
        config.unkToken = unkToken ?? other.unkToken
        config.sepToken = sepToken ?? other.sepToken
        config.clsToken = clsToken ?? other.clsToken
        config.maskToken = maskToken ?? other.maskToken
        config.addBOSToken = addBOSToken ?? other.addBOSToken
        config.addEOSToken = addEOSToken ?? other.addEOSToken
        config.additionalSpecialTokens += other.additionalSpecialTokens
        if chatTemplates.isEmpty { config.chatTemplates = other.chatTemplates }
        return config
    }

    /// The special tokens that play a part, under their keys, in transformers' order.
    var namedTokens: [(key: String, token: String)] {
        [("bos_token", bosToken), ("eos_token", eosToken), ("unk_token", unkToken), ("sep_token", sepToken),
         ("pad_token", padToken), ("cls_token", clsToken), ("mask_token", maskToken)].compactMap { key, token in
            token.map { (key, $0) }
        }
    }

    /// A flag whose null means no: it is there, and false.
    private static func choice(_ fields: Fields, _ key: String) throws -> Bool? {
        if case .null? = fields.object[key] { return false }
        return try fields.bool(key)
    }

    /// A token written as its text, or as an object with its text as "content".
    private static func token(_ fields: Fields, _ key: String) throws -> String? {
        try fields.optional(key).map { try text(of: $0, at: fields.place(key)) }
    }

    private static func text(of value: JSON, at location: String) throws -> String {
        if case .object = value { return try Fields(value, at: location).requiredString("content") }
        return try value.asString(at: location)
    }

    /// `extra_special_tokens` or, before it was called so, `additional_special_tokens`; and `…_token` of other names.
    private static func additional(_ fields: Fields) throws -> [String] {
        var tokens: [String] = []
        let named = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
        for (key, value) in fields.object.pairs where key.hasSuffix("_token") && !named.contains(key) {
            if case .string(let text) = value { tokens.append(text) }
        }
        let isEmpty = fields.optional("extra_special_tokens").map { $0.arrayValue?.isEmpty ?? $0.objectValue?.isEmpty ?? false } ?? true
        let key = isEmpty ? "additional_special_tokens" : "extra_special_tokens"
        guard let value = fields.optional(key) else { return tokens }
        let list = try value.objectValue?.values ?? value.asArray(at: fields.place(key))
        return try tokens + list.enumerated().map { try text(of: $1, at: "\(fields.place(key))[\($0)]") }
    }

    private static func addedTokens(_ fields: Fields) throws -> [AddedToken] {
        guard let json = fields.optional("added_tokens_decoder") else { return [] }
        let place = fields.place("added_tokens_decoder")
        let tokens = try json.asObject(at: place).pairs.map { key, value in
            guard let id = Int(key), id >= 0, id < Int(Int32.max) else {
                throw LensError(.format, "impossible id of an added token", at: place, expected: "0 to \(Int32.max - 1)", found: key)
            }
            let token = try Fields(value, at: "\(place).\(key)"), special = try token.bool("special") ?? false
            return AddedToken(id: id, content: try token.requiredString("content"), singleWord: try token.bool("single_word") ?? false,
                              lstrip: try token.bool("lstrip") ?? false, rstrip: try token.bool("rstrip") ?? false,
                              normalized: try token.bool("normalized") ?? !special, special: special)
        }
        return tokens.sorted { $0.id < $1.id }
    }
}
