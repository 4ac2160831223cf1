// What tokenizer_config.json (and special_tokens_map.json, where it is silent) says beside the tokenizer itself: which
// tokens play which part. Everything in it is optional; what is there must have its type.
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
    /// Whether encoding adds the bos token; nil if the file leaves it to the tokenizer's post-processor.
    public var addBOSToken: Bool?
    /// Whether encoding adds the eos token; nil if the file leaves it to the tokenizer's post-processor.
    public var addEOSToken: Bool?
    /// Kept for users who ask; as in Hugging Face `tokenizers`, decoding leaves spaces as they are.
    public var cleanUpTokenizationSpaces: Bool?

    public init() {}

    /// Reads `json`, and the special tokens it does not name from `specialTokensMap`.
    init(json: JSON?, at location: String, specialTokensMap: JSON? = nil, at mapLocation: String = "") throws {
        guard let json = json ?? specialTokensMap.map({ _ in JSON.object(JSONObject()) }) else { return }
        let fields = try Fields(json, at: location)
        let map = try specialTokensMap.map { try Fields($0, at: mapLocation) }
        func token(_ key: String) throws -> String? { try Self.token(fields, key) ?? map.flatMap { try Self.token($0, key) } }
        bosToken = try token("bos_token")
        eosToken = try token("eos_token")
        padToken = try token("pad_token")
        unkToken = try token("unk_token")
        addBOSToken = try fields.bool("add_bos_token")
        addEOSToken = try fields.bool("add_eos_token")
        cleanUpTokenizationSpaces = try fields.bool("clean_up_tokenization_spaces")
    }

    /// A token written as its text, or as an object with its text as "content".
    private static func token(_ fields: Fields, _ key: String) throws -> String? {
        guard let value = fields.optional(key) else { return nil }
        if case .object = value { return try Fields(value, at: fields.place(key)).requiredString("content") }
        return try value.asString(at: fields.place(key))
    }
}
