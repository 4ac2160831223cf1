// Activations of experts in tests: their rows are tokens, so what belongs to a row of the batch is found by the experts of each.

import LensTestSupport
import Testing
import TransformerLens

extension ActivationCache {
    /// Which of batch × pos each row of an expert's activation is, by the indices cached beside it; nil for other sites.
    func routed(_ name: String) throws -> [Int]? {
        guard let point = HookPoint(name: name), let expert = point.expert, let layer = point.layer else { return nil }
        let indices = try self["expert_indices", layer], perToken = indices.shape[2], values = indices.array
        return (0..<indices.shape[0] * indices.shape[1]).flatMap { token in
            (0..<perToken).filter { values[token * perToken + $0] == Float(expert) }.map { _ in token }
        }
    }

    /// The part of an activation that belongs to positions `positions` of one row of the batch; of its keys, to `keys`.
    func part(_ config: ModelConfig, _ name: String, row: Int, _ positions: Range<Int>, keys: Range<Int>? = nil) throws -> Tensor {
        let activation = try self[name]
        if let routed = try routed(name) {
            let pos = try self["expert_indices", HookPoint(name: name)?.layer ?? 0].shape[1]
            return try activation.gatherRows(routed.indices.filter { routed[$0] / pos == row && positions.contains(routed[$0] % pos) })
        }
        return try activation.view(config.axes(of: #require(HookPoint(name: name)).site).map { axis in
            switch axis {
            case .batch: .at(row)
            case .pos: .range(positions)
            case .keyPos: .range(keys ?? positions)
            default: .all
            }
        })
    }
}
