// TransformerLens 4's canonical names (`blocks.3.attn.q.hook_out`), as other names of the sites here. One table: wherever a name
// is taken (filters, hooks, cache look-ups, `actName`) either will do; what comes back has the site's own name.
//
// Names that both worlds have (`unembed.hook_in`, `unembed.hook_out`, `attn.hook_pattern`, `ln1.hook_scale`, …) mean the same in
// both and are not here. `mlp.in` is the layer before the activation function in a plain MLP, and what the gate multiplies in a
// gated one: that name waits for a model.

/// TransformerLens 4's canonical names.
enum CanonicalNames {
    /// Within a block: the canonical name, and the site's.
    private static let inBlock = [
        ("hook_in", "hook_resid_pre"), ("hook_out", "hook_resid_post"), ("ln2.hook_in", "hook_resid_mid"),
        ("attn.hook_out", "hook_attn_out"), ("mlp.hook_out", "hook_mlp_out"),
        ("attn.q.hook_out", "attn.hook_q"), ("attn.k.hook_out", "attn.hook_k"), ("attn.v.hook_out", "attn.hook_v"),
        ("attn.o.hook_in", "attn.hook_z"), ("mlp.out.hook_in", "mlp.hook_post"), ("mlp.gate.hook_out", "mlp.hook_pre"),
    ]
    /// The one that depends on the MLP.
    private static let mlpIn = "mlp.in.hook_out"
    /// Outside blocks.
    private static let outside = [("embed.hook_out", "hook_embed"), ("pos_embed.hook_out", "hook_pos_embed")]

    /// The sites' names that a canonical name may stand for, the likelier first; none for other names.
    static func ownNames(of name: String) -> [String] {
        if let own = outside.first(where: { $0.0 == name })?.1 { return [own] }
        guard let (prefix, rest) = split(name) else { return [] }
        if rest == mlpIn { return [prefix + "mlp.hook_pre_linear", prefix + "mlp.hook_pre"] }
        return inBlock.filter { $0.0 == rest }.map { prefix + $0.1 }
    }

    /// The canonical name of a site's name; nil if it has none of its own.
    /// - Parameter isGated: whether the layer's MLP is gated.
    static func canonicalName(of name: String, isGated: Bool) -> String? {
        if let canonical = outside.first(where: { $0.1 == name })?.0 { return canonical }
        guard let (prefix, rest) = split(name) else { return nil }
        if rest == (isGated ? "mlp.hook_pre_linear" : "mlp.hook_pre") { return prefix + mlpIn }
        return inBlock.first { $0.1 == rest }.map { prefix + $0.0 }
    }

    /// Whether a glob may be over canonical names: those end in `hook_in` or `hook_out`, and few others do.
    static func mayMatch(_ pattern: String) -> Bool { pattern.hasSuffix(".hook_in") || pattern.hasSuffix(".hook_out") }

    /// `blocks.3.` and what comes after it; nil for names outside blocks.
    private static func split(_ name: String) -> (prefix: String, rest: String)? {
        let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, Int(parts[1]) != nil else { return nil }
        return ("\(parts[0]).\(parts[1]).", String(parts[2]))
    }
}
