// Mixtures of experts: who computes what, what edits of the routing do, ties, and what damaged configurations and weights say.

import Foundation
import LensFiles
import LensTestSupport
import Testing
import TransformerLens

@Suite struct ExpertTests {
    /// An expert sees the tokens whose indices name it, in order of batch and position, and is told which they are.
    @Test(arguments: ["mixtral", "qwen2-moe", "gpt-oss"])
    func anExpertSeesItsTokens(_ name: String) throws {
        let model = try Models.named(name), tokens = try LawModels.tokens(model, batch: 3, pos: 6)
        var seen: [String: [Int]] = [:]
        let cache = try model.run(.tokens(tokens), .init(hooks: [.read("blocks.*.mlp.experts.*.hook_post") { tensor, at in
            #expect(tensor.shape[0] == at.routed?.count && at.expert != nil)
            seen[at.name] = at.routed
        }], cache: .all)).cache
        #expect(!seen.isEmpty)
        for (name, routed) in seen { #expect(try routed == cache.routed(name)) }
    }

    @Test func nobodyIsComputedForNothing() throws {
        let model = try Models.named("mixtral"), tokens = try LawModels.tokens(model, batch: 1, pos: 1)
        let cache = try model.run(.tokens(tokens), .init(cache: "blocks.0.mlp.experts.*.hook_post")).cache
        #expect(cache.count == 5)
        #expect(cache.entries.map { $0.activation.shape[0] }.reduce(0, +) == 2, "two experts for one token, \(cache.names)")
    }

    /// Sending a token to another expert makes it that expert's, under the share it had.
    @Test func editsOfIndices() throws {
        let model = try Models.named("mixtral"), tokens = try LawModels.tokens(model, batch: 1, pos: 4)
        let plain = try model.run(.tokens(tokens), .init(cache: .all)), layer = 1
        let all = Hook.edit("blocks.1.mlp.hook_expert_indices") { indices, _ in
            for position in 0..<4 { try indices.set(.at(0), .at(position), to: Tensor([3, 1], shape: [2])) }
        }
        let edited = try model.run(.tokens(tokens), .init(hooks: [all], cache: .all))
        #expect(try edited.cache.routed("blocks.1.mlp.experts.3.hook_post") == [0, 1, 2, 3])
        let nobody = try edited.cache.routed("blocks.1.mlp.experts.0.hook_post")
        #expect(nobody == [])
        #expect(bitDifference(edited.logits, plain.logits) != nil)
        expectSameBits(try edited.cache["expert_weights", layer], try plain.cache["expert_weights", layer], "weights are before")
        for wrong: Float in [5, -1, 0.5, .nan] {
            let hook = Hook.edit("blocks.0.mlp.hook_expert_indices") { indices, _ in indices[0, 0, 0] = Tensor(wrong) }
            expectError(.usage, "expert that does not exist", "0..<5") { try model.run(.tokens(tokens), .init(hooks: [hook])) }
        }
    }

    /// The same expert twice for a token is its output twice.
    @Test func oneExpertTwice() throws {
        let model = try Models.named("native-experts"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        let hook = Hook.edit("blocks.0.mlp.hook_expert_indices") { indices, _ in indices = try Tensor(zeros: indices.shape) + 2 }
        let cache = try model.run(.tokens(tokens), .init(hooks: [hook], cache: ["blocks.0.mlp.experts.2.hook_post", "blocks.0.mlp.hook_expert_indices"])).cache
        let post = try cache["blocks.0.mlp.experts.2.hook_post"]
        #expect(post.shape[0] == 6)
        expectSameBits(try post.at(.at(0)), try post.at(.at(1)), "twice the same row")
    }

    /// Ablating an expert is ablating its neurons.
    @Test func ablation() throws {
        let model = try Models.named("gpt-oss"), tokens = try LawModels.tokens(model, batch: 2, pos: 5)
        let ablate = Hook.edit("blocks.1.mlp.experts.1.hook_post") { post, _ in post = Tensor(zeros: post.shape) }
        let edited = try model.run(.tokens(tokens), .init(hooks: [ablate], cache: "blocks.1.hook_mlp_out")).cache["mlp_out", 1]
        let plain = try model.run(.tokens(tokens), .init(cache: .all)).cache
        let rows = try plain.routed("blocks.1.mlp.experts.1.hook_post"), routed = try Set(#require(rows))
        for token in 0..<10 {
            let row = token / 5, place = token % 5
            let isSame = try bitDifference(edited.at(.at(row), .at(place)), plain["mlp_out", 1].at(.at(row), .at(place))) == nil
            #expect(isSame == !routed.contains(token))
        }
    }

    /// With sinks a pattern's rows sum to less than one.
    @Test func sinksTakeTheirShare() throws {
        let model = try Models.named("gpt-oss"), tokens = try LawModels.tokens(model, batch: 1, pos: 6)
        let pattern = try model.run(.tokens(tokens), .init(cache: "pattern")).cache["pattern", 1]
        let rows = pattern.array
        for row in stride(from: 0, to: rows.count, by: 6) {
            let sum = rows[row..<row + 6].reduce(0, +)
            #expect(sum > 0 && sum < 0.9999)
        }
    }

    @Test func theBestOfARow() throws {
        let x = try Tensor([3, 1, 3, 2, .nan, -.infinity, 5, .nan, 0, 0, 0, 0], shape: [3, 4])
        let (indices, values) = try x.topK(3)
        #expect(indices == [0, 2, 3, 0, 3, 2, 0, 1, 2], "of equals the first; NaN is largest")
        #expect(values.prefix(3) == [3, 3, 2] && values[5] == 5)
        #expect(try x.topK(0).indices.isEmpty && x.topK(4).indices.prefix(4) == [0, 2, 3, 1])
        expectError(.shape, "n ≥ 5") { try x.topK(5) }
    }

    @Test func removingTheBatchKeepsWhatExpertsSaw() throws {
        let model = try Models.named("mixtral"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        let whole = try model.run(.tokens(tokens), .init(cache: .all)).cache, without = try whole.removingBatchDim()
        expectSameBits(try without["blocks.0.mlp.experts.1.hook_post"], try whole["blocks.0.mlp.experts.1.hook_post"], "experts")
        #expect(try without["expert_weights", 0].shape == [3, 5])
    }

    @Test func namesOfExperts() throws {
        let model = try Models.named("mixtral"), tokens = try LawModels.tokens(model, batch: 1, pos: 3)
        func cached(_ filter: ActivationFilter) throws -> [String] { try model.run(.tokens(tokens), .init(cache: filter)).cache.names }
        #expect(try cached("blocks.1.mlp.experts.?.hook_gate") == (0..<5).map { "blocks.1.mlp.experts.\($0).hook_gate" })
        #expect(try cached("expert_indices") == (0..<2).map { "blocks.\($0).mlp.hook_expert_indices" })
        #expect(actName("pre", layer: 1, type: "mlp.experts.4") == "blocks.1.mlp.experts.4.hook_pre")
        #expect(HookPoint(name: "blocks.1.mlp.experts.4.hook_pre") == HookPoint(.expertPre, layer: 1, expert: 4))
        for wrong in ["blocks.1.mlp.experts.{e}.hook_pre", "blocks.1.mlp.experts.04.hook_pre", "blocks.1.mlp.experts.-1.hook_pre",
                      "blocks.1.mlp.experts..hook_pre", "blocks.1.mlp.experts.99999999999999999999.hook_pre", "mlp.experts.1.hook_pre"] {
            #expect(HookPoint(name: wrong) == nil, "\(wrong)")
        }
        expectError(.name, "no such activation", "did you mean") { try cached("blocks.0.mlp.experts.5.hook_pre") }
        expectError(.name, "no such activation") { try cached("blocks.0.mlp.hook_pre") }
        expectError(.name, "blocks.0.mlp.experts.1.hook_post") { try cached("blocks.0.mlp.experts.1.hook_pos") }
    }

    @Test(arguments: [("num_experts_per_tok", "9"), ("num_experts_per_tok", "0"), ("num_local_experts", "0"), ("num_local_experts", "99999999"),
                      ("swiglu_limit", "0"), ("swiglu_limit", "-1"), ("sliding_window", "0"), ("quantization_config", "{\"quant_method\": \"gptq\"}"),
                      ("quantization_config", "7"), ("num_local_experts", "9223372036854775807"), ("layer_types", "[\"odd\", \"odd\"]")])
    func impossibleConfigurations(_ key: String, _ value: String) throws {
        try withTemporaryFolder { folder in
            var json = try #require(JSON.parse(file: "\(TestFolders.goldens)/gpt-oss/config.json", limit: 1 << 20).objectValue)
            json[key] = try JSON.parse(Array(value.utf8), at: "value")
            try Data(JSON.object(json).utf8()).write(to: URL(fileURLWithPath: folder + "/config.json"))
            expectError(.config) { try ModelFolder(path: folder) }
        }
    }

    /// Both fused spellings of one model's weights load to the same numbers (bf16 or MXFP4 or float32: see the goldens).
    @Test func mxfp4IsWhatItStandsFor() throws {
        let model = try Models.named("gpt-oss-mxfp4")
        let weight = try model.parameters["blocks.0.mlp.experts.1.W_in.weight"]
        #expect(weight.shape == [64, 32])
        #expect(Set(weight.array.map { abs($0) }).count < 60, "few distinct numbers: 4 bits and a few scales")
    }
}
