// Which weights of a mixture of experts read the norm before it, and which write to the residual stream. What an expert writes is
// weighed before it is added, which changes nothing about the mean of what is written.

extension ModelConfig {
    /// The experts of `blocks.3`; nil where the layer has none.
    func experts(of block: String) -> Experts? {
        block.split(separator: ".").last.flatMap { Int($0) }.flatMap { experts(in: $0) }
    }

    /// Names of a layer's gated MLPs that are experts, and whether they have biases.
    private func experts(_ block: String, _ experts: Experts) -> [(name: String, hasBiases: Bool)] {
        (0..<experts.count).map { ("\(block).mlp.experts.\($0)", experts.hasBiases) }
            + (experts.shared == nil ? [] : [("\(block).mlp.shared_expert", false)])
    }

    /// Matrices lie `[out, in]`.
    func expertReaders(_ block: String, _ experts: Experts) -> [StreamWeight] {
        let router = "\(block).mlp.W_gate"
        var readers = [StreamWeight(name: "\(router).weight", axis: 1, bias: experts.hasRouterBias ? "\(router).bias" : nil)]
        for (name, hasBiases) in self.experts(block, experts) {
            for part in ["W_in", "W_gate"] {
                readers.append(StreamWeight(name: "\(name).\(part).weight", axis: 1, bias: hasBiases ? "\(name).\(part).bias" : nil))
            }
        }
        if experts.shared?.isGated == true { readers.append(StreamWeight(name: "\(block).mlp.shared_expert_gate.weight", axis: 1)) }
        return readers
    }

    func expertWriters(_ block: String, _ experts: Experts) -> [StreamWeight] {
        self.experts(block, experts).flatMap { name, hasBiases -> [StreamWeight] in
            [StreamWeight(name: "\(name).W_out.weight", axis: 0)] + (hasBiases ? [StreamWeight(name: "\(name).W_out.bias", axis: 0)] : [])
        }
    }

    /// Whether a norm's bias has nowhere to go: products of experts that have none.
    var expertsLackBiases: Bool {
        guard let experts = mlp?.experts, norm?.kind == .layer else { return false }
        return !experts.hasBiases || !experts.hasRouterBias || experts.shared != nil
    }
}
