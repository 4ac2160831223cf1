// Rotary embeddings as `config.json` spells them: the old keys (`rope_theta`, `rope_scaling`), the new (`rope_parameters`), and
// every scaling that Hugging Face has for decoders.

import LensFiles
import LensModel
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What a rotation's own object leaves to the keys around it.
struct RotaryDefaults {
    var dim: Int
    var base: Double = 10_000
    /// The part of `dim` that turns.
    var factor: Double = 1
    /// `max_position_embeddings`.
    var context: Int?
    /// `original_max_position_embeddings` beside the object, which comes first.
    var originalContext: Int?
    /// Whether YaRN's `truncate` is read: Hugging Face does not see it in an object for one kind of layer.
    var readsTruncate = true
    /// Other names of kinds of scaling.
    var aliases: [String: String] = [:]
}

extension ConfigReader {
    /// Rotary embedding, in the old spelling (`rope_theta`, `rope_scaling`) or the new (`rope_parameters`).
    /// - Parameters:
    ///   - dim: channels that turn, before the factor.
    ///   - baseKey, factorKey: what older files of the family call them.
    ///   - defaultFactor: the part of `dim` that turns where no file says; defaultBase likewise.
    ///   - aliases: names that kinds of scaling have in the family's older files.
    /// - Throws: `LensError(.config)` for an unknown kind of scaling or a missing factor.
    func rotary(dim: Int, baseKey: String = "rope_theta", factorKey: String = "partial_rotary_factor", defaultFactor: Double = 1,
                defaultBase: Double = 10_000, aliases: [String: String] = [:]) throws -> Rotary {
        let defaults = try rotaryDefaults(dim: dim, base: double(baseKey, default: defaultBase), factor: double(factorKey, default: defaultFactor), aliases: aliases)
        let old = try nested("rope_scaling"), new = try nested("rope_parameters")
        if old != nil, new != nil {
            throw LensError(.config, "two spellings of rotary embedding", at: "\(location): rope_scaling",
                            expected: "rope_scaling or rope_parameters", advice: "remove the one that is not meant")
        }
        guard let details = new ?? old else { return Rotary(dim: try rotaryDim(defaults), base: defaults.base) }
        return try details.rotaryDetails(defaults)
    }

    /// The keys around a rotation's object.
    func rotaryDefaults(dim: Int, base: Double, factor: Double = 1, aliases: [String: String] = [:]) throws -> RotaryDefaults {
        RotaryDefaults(dim: dim, base: base, factor: factor, context: has("max_position_embeddings") ? try int("max_position_embeddings") : nil,
                       originalContext: has("original_max_position_embeddings") ? try int("original_max_position_embeddings") : nil, aliases: aliases)
    }

    /// The object of `rope_parameters` or `rope_scaling`, read to its end.
    func rotaryDetails(_ defaults: RotaryDefaults) throws -> Rotary {
        var defaults = defaults
        defaults.factor = try double("partial_rotary_factor", default: defaults.factor)
        defaults.base = try double("rope_theta", default: defaults.base)
        let type = try string(has("rope_type") ? "rope_type" : "type", default: "default")
        _ = value("type")
        let dim = try rotaryDim(defaults), scaling = try rotaryScaling(defaults.aliases[type] ?? type, defaults, pairs: dim / 2)
        try finish(ignoring: ["original_max_position_embeddings"])
        return Rotary(dim: dim, base: defaults.base, scaling: scaling)
    }

    private func rotaryScaling(_ type: String, _ defaults: RotaryDefaults, pairs: Int) throws -> Rotary.Scaling {
        switch type {
        case "default": return .none
        case "linear": return .linear(factor: try positive("factor"))
        case "dynamic":
            // What stretches it is the length it was made for; Hugging Face reads no other key.
            guard let context = defaults.context else { throw missing("max_position_embeddings") }
            return .dynamic(factor: try positive("factor"), originalContext: context)
        case "llama3":
            return .llama3(factor: try positive("factor"), lowFrequencyFactor: try positive("low_freq_factor"),
                           highFrequencyFactor: try positive("high_freq_factor"), originalContext: try originalContext(defaults))
        case "yarn": return .yarn(try yarn(defaults))
        case "longrope": return .longRoPE(try longRoPE(defaults, pairs: pairs))
        default: throw invalid(has("rope_type") ? "rope_type" : "type", expected: "one of default, linear, dynamic, llama3, yarn, longrope")
        }
    }

    private func missing(_ key: String) -> LensError { LensError(.config, "missing configuration key", at: "\(location): \(key)") }

    private func originalContext(_ defaults: RotaryDefaults) throws -> Int {
        let own = has("original_max_position_embeddings") ? try int("original_max_position_embeddings") : nil
        guard let context = defaults.originalContext ?? own ?? defaults.context else { throw missing("original_max_position_embeddings") }
        guard context > 1 else { throw invalid("original_max_position_embeddings", expected: "at least 2") }
        return context
    }

    /// `factor`, or how many times the context is the original one.
    private func stretch(_ defaults: RotaryDefaults, from original: Int) throws -> Double {
        if has("factor") { return try positive("factor") }
        guard let context = defaults.context, context > 0 else { throw missing("factor") }
        return Double(context) / Double(original)
    }

    private func yarn(_ defaults: RotaryDefaults) throws -> Rotary.YaRN {
        let original = try originalContext(defaults), factor = try stretch(defaults, from: original)
        func scale(_ mscale: Double) -> Double { factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1 }
        let mscale = try double("mscale", default: 0), mscaleAllDim = try double("mscale_all_dim", default: 0)
        let usual = mscale != 0 && mscaleAllDim != 0 ? scale(mscale) / scale(mscaleAllDim) : scale(1)
        var yarn = Rotary.YaRN(factor: factor, attentionFactor: has("attention_factor") ? try positive("attention_factor") : usual, originalContext: original)
        // Zero is Hugging Face's default too.
        let fast = try double("beta_fast", default: 32), slow = try double("beta_slow", default: 1)
        (yarn.betaFast, yarn.betaSlow) = (fast == 0 ? 32 : fast, slow == 0 ? 1 : slow)
        yarn.truncates = try bool("truncate", default: true) || !defaults.readsTruncate
        return yarn
    }

    private func longRoPE(_ defaults: RotaryDefaults, pairs: Int) throws -> Rotary.LongRoPE {
        let original = try originalContext(defaults), factor = try stretch(defaults, from: original)
        let usual = factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
        var lists: [[Double]] = []
        for key in ["short_factor", "long_factor"] {
            let list = try doubles(key)
            guard list.count == pairs, list.allSatisfy({ $0 > 0 }) else { throw invalid(key, expected: "\(pairs) numbers above 0, one for each frequency") }
            lists.append(list)
        }
        return Rotary.LongRoPE(shortFactors: lists[0], longFactors: lists[1],
                               attentionFactor: has("attention_factor") ? try positive("attention_factor") : usual, originalContext: original)
    }

    /// The channels that turn.
    private func rotaryDim(_ defaults: RotaryDefaults) throws -> Int {
        guard let turning = Int(exactly: (Double(defaults.dim) * defaults.factor).rounded(.towardZero)) else {
            throw LensError(.config, "impossible rotary embedding", at: "\(location): partial_rotary_factor",
                            expected: "a number up to 1", found: "\(defaults.factor)")
        }
        return turning
    }

    /// The rotations of models whose windowed layers have one of their own: one object for each kind of layer in new files; in
    /// older ones `rope_scaling` is the other layers' alone.
    /// - Returns: `local`: of windowed layers; nil: the others'.
    func rotariesByLayer(dim: Int, base: Double, localBase: Double) throws -> (global: Rotary, local: Rotary?) {
        guard let both = try nested("rope_parameters") else {
            let global = try rotary(dim: dim, defaultBase: base), local = Rotary(dim: dim, base: localBase)
            return (global, local == global ? nil : local)
        }
        // Older keys beside the new ones are what those were made from.
        _ = (value("rope_theta"), value("rope_scaling"))
        var defaults = try rotaryDefaults(dim: dim, base: base)
        defaults.readsTruncate = false
        let global = try both.nested("full_attention")?.rotaryDetails(defaults) ?? Rotary(dim: dim, base: base)
        defaults.base = localBase
        let local = try both.nested("sliding_attention")?.rotaryDetails(defaults) ?? Rotary(dim: dim, base: localBase)
        try both.finish()
        return (global, local == global ? nil : local)
    }
}
