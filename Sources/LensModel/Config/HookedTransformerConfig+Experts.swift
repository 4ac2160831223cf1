// Experts in TransformerLens' field names: `num_experts`, `experts_per_token`, `norm_topk_prob`, and what it knows by the name of
// an architecture (GPT-OSS). What it has no field for is written under names of our own: `d_expert`, `expert_routing`,
// `expert_gate_alpha`, `expert_gate_limit`, `expert_biases`, `router_bias`, `d_shared_expert`, `shared_expert_gate`, `sparse_layers`.

import LensFiles

extension ModelConfig {
    /// - Parameter width: `d_mlp`.
    /// - Throws: `LensError(.config)` for one of the two numbers without the other.
    static func experts(_ reader: ConfigReader, width: Int) throws -> Experts? {
        let renormalised = try reader.bool("norm_topk_prob", default: false)
        let isGPTOSS = reader.value("original_architecture")?.stringValue == "GptOssForCausalLM"
        let count = try reader.optionalSize("num_experts"), perToken = try reader.optionalSize("experts_per_token")
        let own = try ownExpertFields(reader, isGPTOSS: isGPTOSS)
        guard let count, let perToken else {
            guard count == nil, perToken == nil else { throw reader.invalid("experts_per_token", expected: "num_experts and experts_per_token, or neither") }
            return nil
        }
        var experts = Experts(count: count, perToken: perToken, width: own.width ?? width,
                              routing: own.choosesFirst ? .topKThenSoftmax : .softmaxThenTopK(renormalised: renormalised))
        if let limit = own.limit { experts.gate = .clamped(alpha: own.alpha, limit: limit) }
        experts.hasBiases = own.hasBiases
        experts.hasRouterBias = own.hasRouterBias
        experts.shared = own.shared
        experts.isSparse = own.isSparse ?? [true]
        return experts
    }

    private struct OwnFields {
        let width: Int?, choosesFirst: Bool, alpha: Double, limit: Double?, hasBiases: Bool, hasRouterBias: Bool
        let shared: Experts.Shared?, isSparse: [Bool]?
    }

    private static func ownExpertFields(_ reader: ConfigReader, isGPTOSS: Bool) throws -> OwnFields {
        let routing = try reader.string("expert_routing", default: isGPTOSS ? "top_k_then_softmax" : "softmax_then_top_k")
        guard ["top_k_then_softmax", "softmax_then_top_k"].contains(routing) else {
            throw reader.invalid("expert_routing", expected: "top_k_then_softmax or softmax_then_top_k")
        }
        let limit = try reader.value("expert_gate_limit")?.asDouble(at: "\(reader.location): expert_gate_limit") ?? (isGPTOSS ? 7 : nil)
        let isGated = try reader.bool("shared_expert_gate", default: false)
        let sparse = try reader.value("sparse_layers")?.asArray(at: "\(reader.location): sparse_layers")
        return OwnFields(width: try reader.optionalSize("d_expert"), choosesFirst: routing == "top_k_then_softmax",
                         alpha: try reader.double("expert_gate_alpha", default: 1.702), limit: limit,
                         hasBiases: try reader.bool("expert_biases", default: isGPTOSS), hasRouterBias: try reader.bool("router_bias", default: isGPTOSS),
                         shared: try reader.optionalSize("d_shared_expert").map { .init(width: $0, isGated: isGated) },
                         isSparse: try sparse?.map { try $0.asBool(at: "\(reader.location): sparse_layers") })
    }

    var expertFields: [(String, JSON)] {
        guard let experts = mlp?.experts else { return [] }
        var fields: [(String, JSON)] = [
            ("num_experts", .int(experts.count)), ("experts_per_token", .int(experts.perToken)), ("d_expert", .int(experts.width)),
            ("expert_biases", .bool(experts.hasBiases)), ("router_bias", .bool(experts.hasRouterBias)),
        ]
        if experts.isSparse.contains(false) { fields.append(("sparse_layers", .array((0..<nLayers).map { .bool(experts.isSparse(in: $0)) }))) }
        switch experts.routing {
        case .softmaxThenTopK(let renormalised):
            fields += [("expert_routing", "softmax_then_top_k"), ("norm_topk_prob", .bool(renormalised))]
        case .topKThenSoftmax: fields.append(("expert_routing", "top_k_then_softmax"))
        }
        if case .clamped(let alpha, let limit) = experts.gate {
            fields += [("expert_gate_alpha", .double(alpha)), ("expert_gate_limit", .double(limit))]
        }
        if let shared = experts.shared { fields += [("d_shared_expert", .int(shared.width)), ("shared_expert_gate", .bool(shared.isGated))] }
        return fields
    }
}
