// Names of activations: full names, shorthands and globs, in caches and filters; what an unknown one says.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct NameTests {
    private func cached(_ filter: ActivationFilter, _ name: String = "llama-full") throws -> [String] {
        let model = try LawModels.named(name)
        return try model.run(.tokens(LawModels.tokens(model, batch: 1, pos: 3)), .init(cache: filter)).cache.names
    }

    /// `get_act_name` of TransformerLens 3.9.0.
    @Test(arguments: [("k6", "blocks.6.attn.hook_k"), ("pattern2", "blocks.2.attn.hook_pattern"), ("attn2", "blocks.2.attn.hook_pattern"),
                      ("attn_logits3", "blocks.3.attn.hook_attn_scores"), ("resid_pre1", "blocks.1.hook_resid_pre"),
                      ("scale4ln1", "blocks.4.ln1.hook_scale"), ("scale1ln2", "blocks.1.ln2.hook_scale"), ("embed", "hook_embed"),
                      ("pos_embed", "hook_pos_embed"), ("normalized", "ln_final.hook_normalized"), ("scale", "ln_final.hook_scale"),
                      ("pre0", "blocks.0.mlp.hook_pre"), ("mlp_post7", "blocks.7.mlp.hook_post"), ("key5", "blocks.5.attn.hook_k"),
                      ("value1", "blocks.1.attn.hook_v"), ("query1", "blocks.1.attn.hook_q"), ("mlp_out3", "blocks.3.hook_mlp_out"),
                      ("result12", "blocks.12.attn.hook_result"), ("q_input1", "blocks.1.hook_q_input"), ("rot_k0", "blocks.0.attn.hook_rot_k"),
                      ("blocks.3.attn.hook_z", "blocks.3.attn.hook_z"), ("hook_embed", "hook_embed"), ("unembed.hook_in", "unembed.hook_in")])
    func shorthandsAreTransformerLens(_ short: String, _ full: String) {
        #expect(actName(short) == full)
    }

    @Test func shorthandsWithLayers() {
        #expect(actName("k", layer: 6, type: "a") == "blocks.6.attn.hook_k")
        #expect(actName("resid_pre", layer: 2) == "blocks.2.hook_resid_pre")
        #expect(actName("scale", layer: 4, type: "ln1") == "blocks.4.ln1.hook_scale")
        #expect(actName("normalized", layer: 0, type: "ln2") == "blocks.0.ln2.hook_normalized")
        #expect(actName("pattern", layer: 1) == "blocks.1.attn.hook_pattern")
    }

    @Test func everyFullNameIsItsPoint() throws {
        for name in LawModels.names {
            for point in try LawModels.named(name).config.hookPoints {
                #expect(HookPoint(name: point.name) == point)
                #expect(actName(point.name) == point.name)
            }
        }
        for wrong in ["blocks.0", "blocks.x.attn.hook_z", "blocks.0.attn.hook_zz", "blocks.00.attn.hook_z", "blocks.-1.attn.hook_z", "hook_resid_pre",
                      "", ".", "..", "blocks.{i}.attn.hook_z", "blocks.0.hook_embed", "blocks.99999999999999999999.attn.hook_z",
                      "blocks.9223372036854775807.attn.hook_z"] {
            #expect(HookPoint(name: wrong) == nil, "\(wrong)")
        }
    }

    @Test func filtersPickInFiringOrder() throws {
        #expect(try cached("pattern") == ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_pattern"])
        #expect(try cached("pattern1") == ["blocks.1.attn.hook_pattern"])
        #expect(try cached("blocks.*.hook_z") == [0, 1].map { "blocks.\($0).attn.hook_z" })
        #expect(try cached("blocks.?.attn.hook_z") == [0, 1].map { "blocks.\($0).attn.hook_z" })
        #expect(try cached("*resid_p*") == ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"])
        #expect(try cached(["z0", "embed", "z0", "blocks.0.attn.hook_*k"])
            == ["hook_embed", "blocks.0.attn.hook_k", "blocks.0.attn.hook_rot_k", "blocks.0.attn.hook_z"])
        #expect(try cached("blocks.*.hook_*_input").count == 6)
        #expect(try cached("result") == [0, 1].map { "blocks.\($0).attn.hook_result" })
        #expect(try cached(.matching { $0.hasSuffix("hook_z") || $0 == "hook_tokens" }) == ["hook_tokens", "blocks.0.attn.hook_z", "blocks.1.attn.hook_z"])
        #expect(try cached(.none).isEmpty)
        #expect(try cached(.names([])).isEmpty)
        #expect(try cached(["all", "hook_tokens"]) == ["hook_tokens"] + cached(.all))
        #expect(try cached("scale1ln2") == ["blocks.1.ln2.hook_scale"])
        #expect(try cached("scale") == ["ln_final.hook_scale"])
    }

    @Test(arguments: [("blocks.0.attn.hook_zz", "blocks.0.attn.hook_z"), ("patern", "pattern"), ("hook_embedd", "hook_embed"),
                      ("blocks.0.hook_resid_pr", "blocks.0.hook_resid_pre"), ("blocks.2.attn.hook_z", "blocks.0.attn.hook_z")])
    func anUnknownNameNamesTheNearest(_ wrong: String, _ near: String) throws {
        expectError(.name, wrong, "did you mean", near) { try cached(.names([wrong])) }
        let model = try LawModels.named("llama-full"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        expectError(.name, wrong, near) { try model.run(.tokens(tokens), .init(hooks: [.read(.names([wrong])) { _, _ in }])) }
    }

    @Test func aSiteThisModelLacksIsAnError() throws {
        expectError(.name, "no such activation") { try cached("hook_pos_embed") }
        expectError(.name, "no such activation") { try cached("blocks.0.hook_attn_in", "llama-grouped") }
        expectError(.name, "no such activation") { try cached("blocks.0.hook_resid_mid", "native-parallel") }
        expectError(.name) { try cached("blocks.*.nothing") }
        expectError(.name) { try cached("") }
        expectError(.name) { try cached("pattern7") }
    }

    @Test func cachesAreAskedByAnyName() throws {
        let model = try LawModels.named("llama-full")
        let cache = try model.run(.tokens(LawModels.tokens(model, batch: 2, pos: 3)), .init(cache: ["all", "result"])).cache
        for (name, activation) in cache.entries { expectSameBits(try cache[name], activation, name) }
        expectSameBits(try cache["pattern", 1], try cache["blocks.1.attn.hook_pattern"], "pattern, 1")
        expectSameBits(try cache["pattern", -1], try cache["blocks.1.attn.hook_pattern"], "pattern, -1")
        expectSameBits(try cache["pattern", -2], try cache["blocks.0.attn.hook_pattern"], "pattern, -2")
        expectSameBits(try cache["pattern1"], try cache["blocks.1.attn.hook_pattern"], "pattern1")
        expectSameBits(try cache["scale", 1, "ln2"], try cache["blocks.1.ln2.hook_scale"], "scale, 1, ln2")
        expectSameBits(try cache["scale1ln2"], try cache["blocks.1.ln2.hook_scale"], "scale1ln2")
        expectSameBits(try cache["embed"], try cache["hook_embed"], "embed")
        expectSameBits(try cache["scale"], try cache["ln_final.hook_scale"], "scale")
        #expect(cache.contains("hook_embed") && !cache.contains("hook_pos_embed") && cache.count == cache.names.count && !cache.isEmpty)
        expectError(.name, "blocks.2.attn.hook_pattern", "did you mean") { try cache["pattern", 2] }
        expectError(.name, "not in the cache") { try cache["pattern", -3] }
        expectError(.name, "did you mean blocks.1.attn.hook_") { try cache["blocks.1.attn.hook_y"] }
    }

    /// TransformerLens 4's canonical names (`TransformerBridge`), and what they are here.
    static let canonical = [
        ("embed.hook_out", "hook_embed"), ("pos_embed.hook_out", "hook_pos_embed"), ("blocks.1.hook_in", "blocks.1.hook_resid_pre"),
        ("blocks.1.hook_out", "blocks.1.hook_resid_post"), ("blocks.0.ln2.hook_in", "blocks.0.hook_resid_mid"),
        ("blocks.0.attn.hook_out", "blocks.0.hook_attn_out"), ("blocks.0.mlp.hook_out", "blocks.0.hook_mlp_out"),
        ("blocks.2.attn.q.hook_out", "blocks.2.attn.hook_q"), ("blocks.0.attn.k.hook_out", "blocks.0.attn.hook_k"),
        ("blocks.0.attn.v.hook_out", "blocks.0.attn.hook_v"), ("blocks.0.attn.o.hook_in", "blocks.0.attn.hook_z"),
        ("blocks.0.mlp.in.hook_out", "blocks.0.mlp.hook_pre"), ("blocks.0.mlp.out.hook_in", "blocks.0.mlp.hook_post"),
        ("unembed.hook_out", "unembed.hook_out"), ("unembed.hook_in", "unembed.hook_in"),
    ]

    @Test(arguments: canonical)
    func canonicalNamesAreOtherNames(_ canonical: String, _ own: String) throws {
        let model = try LawModels.named("gpt2-tiny"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        #expect(try cached(.names([canonical]), "gpt2-tiny") == [own])
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        expectSameBits(try cache[canonical], try cache[own], canonical)
        var seen: [String] = []
        _ = try model.run(.tokens(tokens), .init(hooks: [.read(.names([canonical])) { _, at in seen.append(at.name) }]))
        #expect(seen == [own])
        if !canonical.contains("mlp.in") { #expect(actName(canonical) == own) }
    }

    @Test func canonicalNamesOfGatedMLPs() throws {
        let model = try LawModels.named("llama-full"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        #expect(try cached("blocks.0.mlp.gate.hook_out") == ["blocks.0.mlp.hook_pre"])
        #expect(try cached("blocks.0.mlp.in.hook_out") == ["blocks.0.mlp.hook_pre_linear"])
        #expect(try cached("blocks.*.mlp.in.hook_out") == [0, 1].map { "blocks.\($0).mlp.hook_pre_linear" })
        expectError(.name) { try cached("blocks.0.mlp.gate.hook_out", "gpt2-tiny") }
        let cache = try model.run(.tokens(tokens), .init(cache: .all)).cache
        expectSameBits(try cache["blocks.0.mlp.in.hook_out"], try cache["blocks.0.mlp.hook_pre_linear"], "what the gate multiplies")
        let gateOnly = try model.run(.tokens(tokens), .init(cache: "blocks.0.mlp.hook_pre")).cache
        expectError(.name, "mlp.in.hook_out") { try gateOnly["blocks.0.mlp.in.hook_out"] }
        expectError(.name) { try cached("blocks.0.ln2.hook_in", "native-parallel") }
    }

    /// In a glob over canonical names `*` stays between its dots; where a name is in both worlds it is the same site.
    @Test func globsOverCanonicalNames() throws {
        #expect(try cached("blocks.*.attn.q.hook_out") == [0, 1].map { "blocks.\($0).attn.hook_q" })
        #expect(try cached("blocks.*.hook_out") == [0, 1].map { "blocks.\($0).hook_resid_post" })
        #expect(try cached("blocks.0.attn.?.hook_out") == ["q", "k", "v"].map { "blocks.0.attn.hook_\($0)" })
        #expect(try cached("*.hook_out") == ["hook_embed", "unembed.hook_out"])
        #expect(try cached("blocks.0.attn.hook_*").allSatisfy { $0.hasPrefix("blocks.0.attn.") }, "canonical names widen no other glob")
        expectError(.name) { try cached("blocks.*.nothing.hook_out") }
    }

    @Test(arguments: [("*", "", true), ("*", "a.b", true), ("a*", "ba", false), ("*a*b", "xaxxb", true), ("?", "", false), ("a?c", "abc", true),
                      ("a**c", "ac", true), ("", "", true), ("", "a", false), ("*ab", "aab", true), ("a*b*c", "abcbd", false)])
    func globs(_ pattern: String, _ name: String, _ matches: Bool) {
        #expect(globMatches(pattern, name) == matches)
    }
}
