// Names of activations: TransformerLens' shorthands, full names, and globs over them.

import LensFiles

/// The full name of an activation from its shorthand (TransformerLens' `get_act_name`).
///
/// `actName("k", layer: 6, type: "a")` and `actName("k6")` are `blocks.6.attn.hook_k`; `actName("resid_pre", layer: 2)`
/// is `blocks.2.hook_resid_pre`; `actName("scale", layer: 4, type: "ln1")` is `blocks.4.ln1.hook_scale`;
/// `actName("embed")` is `hook_embed`; a full name comes back as it is, TransformerLens 4's canonical one
/// (`blocks.3.attn.q.hook_out`) as the site's own, but for `mlp.in.hook_out`, which means one thing or another by the model.
public func actName(_ name: String, layer: Int? = nil, type: String? = nil) -> String {
    if layer == nil, name.contains(".") || name.hasPrefix("hook_") {
        let own = CanonicalNames.ownNames(of: name)
        return own.count == 1 ? own[0] : name
    }
    var short = name, layer = layer, type = type
    if let compact = compactName(name) { (short, layer, type) = (compact.name, compact.layer, compact.type) }
    short = activationAliases[short] ?? short
    if attentionNames.contains(short) {
        type = "attn"
    } else if mlpNames.contains(short), type?.hasPrefix("mlp.") != true {
        type = "mlp"
    } else if let given = type {
        type = typeAliases[given] ?? given
    }
    let prefix = (layer.map { "blocks.\($0)." } ?? "") + (type.map { $0.isEmpty ? "" : $0 + "." } ?? "")
    let isFinalNorm = layer == nil && (short == "scale" || short == "normalized")
    return (isFinalNorm ? "ln_final." : "") + prefix + "hook_" + short
}

private let attentionNames: Set<String> = ["k", "v", "q", "z", "rot_k", "rot_q", "result", "pattern", "attn_scores"]
private let mlpNames: Set<String> = ["pre", "post", "mid", "pre_linear", "expert_weights", "expert_indices"]
private let typeAliases = ["a": "attn", "m": "mlp", "b": "", "block": "", "blocks": "", "attention": "attn"]
private let activationAliases = ["attn": "pattern", "attn_logits": "attn_scores", "key": "k", "query": "q", "value": "v",
                                 "mlp_pre": "pre", "mlp_mid": "mid", "mlp_post": "post"]

/// `k6`, `pattern2`, `scale4ln1`, `resid_pre5`: letters, a layer, perhaps a layer type.
private func compactName(_ name: String) -> (name: String, layer: Int, type: String?)? {
    let letters = name.prefix { $0.isLowercase && $0.isASCII || $0 == "_" }
    let digits = name[letters.endIndex...].prefix { $0.isASCII && $0.isNumber }
    guard !letters.isEmpty, let layer = Int(digits) else { return nil }
    let rest = String(name[digits.endIndex...])
    return (String(letters), layer, rest.isEmpty ? nil : rest)
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters and `?` for one.
public func globMatches(_ pattern: String, _ name: String) -> Bool {
    let pattern = Array(pattern.utf8), name = Array(name.utf8)
    let star = UInt8(ascii: "*"), any = UInt8(ascii: "?")
    var p = 0, n = 0
    var backtrack: (p: Int, n: Int)?
    while n < name.count {
        if p < pattern.count, pattern[p] == star {
            backtrack = (p + 1, n)
            p += 1
        } else if p < pattern.count, pattern[p] == any || pattern[p] == name[n] {
            p += 1
            n += 1
        } else if let (starAfter, tried) = backtrack {
            backtrack = (starAfter, tried + 1)
            p = starAfter
            n = tried + 1
        } else {
            return false
        }
    }
    return pattern[p...].allSatisfy { $0 == star }
}

/// Which activations a cache or a hook wants.
///
/// As a string: a full name, a shorthand (`pattern`, `resid_pre5`), a glob (`blocks.*.hook_z`; `*` crosses dots) or `all`.
/// TransformerLens 4's canonical names and globs over them will do too (`blocks.*.attn.q.hook_out`; there `*` stays between its
/// dots, or `blocks.*.hook_out` would be every output of every part).
public struct ActivationFilter: ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
    private enum Rule {
        case all
        case pattern(String)
        case predicate((String) -> Bool)
    }
    private let rules: [Rule]
    /// Whether it is for nothing.
    package var isNone: Bool { rules.isEmpty }

    private init(_ rules: [Rule]) { self.rules = rules }

    /// What TransformerLens caches with its flags off: every site but those that exist only where they are named
    /// (`hook_result`, `hook_q_input`, `hook_k_input`, `hook_v_input`, `hook_attn_in`, `hook_mlp_in`, `hook_tokens`).
    public static var all: ActivationFilter { ActivationFilter([.all]) }
    /// Nothing.
    public static var none: ActivationFilter { ActivationFilter([]) }
    /// Every activation that one of `patterns` names.
    public static func names(_ patterns: [String]) -> ActivationFilter {
        ActivationFilter(patterns.map { $0 == "all" ? .all : .pattern($0) })
    }
    /// Every activation whose full name `predicate` accepts; it is asked about the on-demand sites too.
    public static func matching(_ predicate: @escaping (String) -> Bool) -> ActivationFilter {
        ActivationFilter([.predicate(predicate)])
    }

    public init(stringLiteral value: String) { self = .names([value]) }
    public init(arrayLiteral elements: String...) { self = .names(elements) }

    /// The points it picks out of `points`, in their order.
    /// - Throws: `LensError(.name)` for a name or pattern that picks nothing, with the nearest name.
    public func resolve(in points: [HookPoint]) throws -> [HookPoint] {
        guard !rules.isEmpty else { return [] }
        var chosen: Set<HookPoint> = []
        let known = Set(points)
        for rule in rules {
            switch rule {
            case .all: chosen.formUnion(points.filter { !$0.site.row.isOnDemand })
            case .predicate(let predicate): chosen.formUnion(points.filter { predicate($0.name) })
            case .pattern(let pattern): chosen.formUnion(try Self.resolve(pattern, in: points, known))
            }
        }
        return points.filter(chosen.contains)
    }

    private static func resolve(_ pattern: String, in points: [HookPoint], _ known: Set<HookPoint>) throws -> [HookPoint] {
        if pattern.contains("*") || pattern.contains("?") {
            let isCanonical = CanonicalNames.mayMatch(pattern)
            let matched = points.filter { point in
                globMatches(pattern, point.name) && (!point.site.row.isOnDemand || namesSite(pattern))
                    || isCanonical && canonicalGlobMatches(pattern, point, known)
            }
            if !matched.isEmpty { return matched }
        } else {
            let full = actName(pattern)
            let own = CanonicalNames.ownNames(of: pattern)
            for name in own.isEmpty ? [full] : own {
                guard let point = HookPoint(name: name), known.contains(point) else { continue }
                if own.isEmpty || canonicalName(of: point, known) == pattern { return [point] }
            }
            // A shorthand names no stack: it is every stack's that has such a site.
            let everyLayer = own.isEmpty ? points.filter { point in
                let name = point.site.name(layer: point.layer)
                return point.layer != nil && (name == full || actName(pattern, layer: point.layer) == name)
            } : []
            if !everyLayer.isEmpty { return everyLayer }
        }
        throw unknownName(pattern, points)
    }

    /// Whether a glob matches a point's canonical name, part by part.
    private static func canonicalGlobMatches(_ pattern: String, _ point: HookPoint, _ known: Set<HookPoint>) -> Bool {
        guard let name = canonicalName(of: point, known) else { return false }
        let parts = pattern.split(separator: ".", omittingEmptySubsequences: false)
        let names = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == names.count && zip(parts, names).allSatisfy { globMatches(String($0), String($1)) }
    }

    private static func canonicalName(of point: HookPoint, _ known: Set<HookPoint>) -> String? {
        let isGated = point.layer.map { known.contains(HookPoint(.mlpPreLinear, stack: point.stack, layer: $0)) } ?? false
        return CanonicalNames.canonicalName(of: point.name, isGated: isGated)
    }

    /// Whether the last part of a glob says more than `hook_`: only then does it name the on-demand sites it matches.
    private static func namesSite(_ pattern: String) -> Bool {
        let last = pattern.split(separator: ".", omittingEmptySubsequences: false).last ?? ""
        let literals = last.split { $0 == "*" || $0 == "?" }
        return literals.contains { !"hook_".hasPrefix($0) }
    }

    private static func unknownName(_ pattern: String, _ points: [HookPoint]) -> LensError {
        let full = actName(pattern)
        let isSite = HookPoint(name: full) != nil
        let layers = points.compactMap(\.layer).max().map { $0 + 1 } ?? 0
        let shorthands = points.map { String($0.site.rawValue.split(separator: ".").last?.dropFirst("hook_".count) ?? "") }
        let near = nearestName(to: pattern, among: points.map(\.name) + shorthands)
        return LensError(.name, isSite ? "this model has no such activation" : "no activation has this name", at: pattern,
                         expected: "a hook name of this model (\(layers) layers), a shorthand, a glob or all",
                         advice: near.map { "did you mean \($0)?" } ?? "`tlens info MODEL` lists the names")
    }
}
