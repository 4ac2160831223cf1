// Which tokens end generation, as a model's folder says it.

import LensFiles

/// What `generation_config.json`, else `config.json`, names as `eos_token_id`: a number or a list. nil if neither does.
/// - Throws: `LensError(.config)` for something else in its place.
func endTokens(inFolder path: String) throws -> Set<Int>? {
    for name in ["generation_config.json", "config.json"] {
        let file = "\(path)/\(name)"
        guard fileExists(file), let value = try JSON.parse(file: file, limit: 16 << 20)["eos_token_id"], !value.isNull else { continue }
        if let one = value.intValue { return [one] }
        guard let list = value.arrayValue, let ids = try? list.map({ try $0.asInt(at: file) }) else {
            throw LensError(.config, "tokens that end a text", at: "\(file): eos_token_id", expected: "a number or a list of them", found: value.summary)
        }
        return Set(ids)
    }
    return nil
}
