// The weights of a model while they are rewritten: one block at a time is unpacked, in double precision; what a block has
// become is packed before the next is unpacked, and what it was is let go (unless another model holds it).

import LensFiles
import LensTensor

/// Parameters being rewritten. Not for use by several tasks.
final class WorkingWeights {
    /// The configuration, as it becomes.
    var config: ModelConfig
    /// The configuration there was.
    let original: ModelConfig
    /// Whether any of the weights were in quantised blocks.
    let wasQuantized: Bool
    /// What rewritten weights are kept in.
    let format: WeightFormat
    /// What has not been touched yet, and what is finished.
    private var parameters: Parameters
    private var open: [String: WorkingTensor] = [:]
    private var edited: Set<String> = []

    init(_ parameters: consuming Parameters, _ config: ModelConfig, keeping format: WeightFormat = .float32) {
        self.config = config
        original = config
        wasQuantized = parameters.isQuantized
        self.format = format
        self.parameters = parameters
    }

    /// A parameter; zeros for an absent bias.
    func read(_ name: String) throws -> WorkingTensor {
        if let tensor = open[name] { return tensor }
        let tensor = try WorkingTensor(parameters[name])
        open[name] = tensor
        return tensor
    }

    /// Whether the model has a parameter of this name, be it an absent bias.
    func has(_ name: String) -> Bool { parameters.has(name) }

    /// Whether a bias is absent, or holds nothing but zeros.
    func isZero(_ name: String) throws -> Bool {
        if open[name] == nil, !parameters.holds(name) { return true }
        return try read(name).isZero
    }

    /// Puts a parameter in place of what there is.
    func write(_ name: String, _ tensor: WorkingTensor) {
        open[name] = tensor
        edited.insert(name)
    }

    /// Rewrites a parameter.
    func edit(_ name: String, _ body: (inout WorkingTensor) throws -> Void) throws {
        var tensor = try read(name)
        // The only reference: rewritten in place.
        open[name] = nil
        try body(&tensor)
        write(name, tensor)
    }

    /// Adds to a bias; a bias that is absent stays so if nothing is added.
    func addToBias(_ name: String, _ addend: [Double]) throws {
        guard addend.contains(where: { $0 != 0 }) else { return }
        try edit(name) { $0.add(addend) }
    }

    /// Packs what has been rewritten.
    func close() throws {
        for name in edited.sorted() {
            guard let tensor = open.removeValue(forKey: name) else { continue }
            try parameters.replace(name, with: tensor.values, keeping: format)
        }
        open = [:]
        edited = []
    }

    /// From here on the parameters are those of the configuration as it has become: what it has no place for is dropped,
    /// what it has a new place for starts absent, tied embeddings become two.
    func adoptConfig() throws { parameters = try parameters.adapted(to: config) }

    /// The parameters, all closed.
    func finish() throws -> Parameters {
        try close()
        return parameters
    }
}
