// A LoRA adapter's `adapter_config.json` (PEFT): how much of it is added where. It refuses what is more than adding a product
// of two small matrices, by name: DoRA, adapters that change the base model's own weights when they begin, …

import LensFiles

/// What an adapter's configuration says of its numbers.
struct LoRAConfig: Sendable {
    let rank: Int
    let alpha: Double
    /// Divided by the root of the rank, not by the rank (rsLoRA).
    let scalesByRoot: Bool
    /// Modules with a rank or an alpha of their own, by name or pattern.
    let ranks: [(pattern: ModulePattern, value: Double)]
    let alphas: [(pattern: ModulePattern, value: Double)]

    /// - Throws: `LensError`: `.file` or `.format` if it cannot be read, `.config` naming what is not understood.
    init(path: String) throws {
        let reader = try ConfigReader(JSON.parse(file: path, limit: 16 << 20, allowNonFinite: true), at: path)
        guard try reader.string("peft_type") == "LORA" else { throw reader.invalid("peft_type", expected: "LORA") }
        rank = try reader.int("r", default: 8)
        alpha = try reader.double("lora_alpha", default: 8)
        scalesByRoot = try reader.bool("use_rslora", default: false)
        guard rank > 0 else { throw reader.invalid("r", expected: "at least 1") }
        ranks = try Self.patterns(reader, "rank_pattern")
        alphas = try Self.patterns(reader, "alpha_pattern")
        for key in ["use_dora", "use_qalora", "lora_bias"] { try reader.require(key, false) }
        for key in ["alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "megatron_config", "monteclora_config", "target_parameters",
                    "trainable_token_indices", "use_bdlora", "velora_config"] where reader.value(key)?.arrayValue?.isEmpty != true {
            try reader.require(key, nil)
        }
        // Ways to begin that also take something away from the base model's weights.
        if let start = reader.value("init_lora_weights")?.stringValue, !["gaussian", "orthogonal", "eva"].contains(start) {
            throw reader.invalid("init_lora_weights", expected: "true, false, gaussian, orthogonal or eva")
        }
        if let start = reader.value("loftq_config")?.objectValue, !start.isEmpty { throw reader.invalid("loftq_config", expected: "nothing") }
        try reader.finish(ignoring: Self.neutralKeys)
    }

    /// What a module's product is multiplied by, where it has that rank.
    func scale(of module: String, rank: Int) -> Float {
        let alpha = alphas.first { $0.pattern.matches(module) }?.value ?? alpha
        return Float(alpha / (scalesByRoot ? Double(rank).squareRoot() : Double(rank)))
    }

    /// The rank a module must have.
    func rank(of module: String) -> Int { ranks.first { $0.pattern.matches(module) }.flatMap { Int(exactly: $0.value) } ?? rank }

    private static func patterns(_ reader: ConfigReader, _ key: String) throws -> [(ModulePattern, Double)] {
        guard let value = reader.value(key) else { return [] }
        let place = "\(reader.location): \(key)"
        return try value.asObject(at: place).pairs.map { (try ModulePattern($0.key, at: place), try $0.value.asDouble(at: "\(place): \($0.key)")) }
    }

    /// Keys that say what was trained and how: what is stored shows which modules it is for.
    private static let neutralKeys: Set<String> = [
        "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
        "layers_pattern", "layers_to_transform", "lora_dropout", "lora_ga_config", "megatron_core", "modules_to_save", "peft_version", "qalora_group_size", "revision",
        "target_modules", "task_type", "runtime_config", "enable_lora", "merge_weights", "peft_type",
    ]
}

/// A key of `rank_pattern` or `alpha_pattern`: a regular expression that the end of a module's name matches, after a dot or all
/// of it (`get_pattern_key` in PEFT). Expressions that could take forever are refused.
struct ModulePattern: Sendable {
    private let text: String

    init(_ text: String, at location: String) throws {
        let stars = text.filter { "*+?{".contains($0) }.count
        guard text.utf8.count <= 256, stars <= 4, ![")*", ")+", "){", ")?"].contains(where: text.contains), (try? Regex("(?:\(text))")) != nil else {
            throw LensError(.config, "pattern of modules that is not supported", at: location, expected: "a name, or a simple regular expression", found: text)
        }
        self.text = text
    }

    func matches(_ module: String) -> Bool {
        // Made again for each use: Regex is no Sendable. Its text was checked.
        guard module != text, !module.hasSuffix(".\(text)") else { return true }
        guard let regex = try? Regex("(.*\\.)?(\(text))") else { return false }
        return (try? regex.wholeMatch(in: module)) ?? nil != nil
    }
}
