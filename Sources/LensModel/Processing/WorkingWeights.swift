// The weights of a model while they are rewritten; from a file, each is read when it is needed. Of a matrix only what is to
// become of it is written down; it is rewritten once, where it lies if no other model holds it. Vectors, and matrices that a step rewrites number by number, are unpacked in
// double precision, one block's at a time.

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
    /// What all weights are kept in afterwards; nil: float32 where they are rewritten, else as they were.
    private let format: WeightFormat?
    /// What has been read, and what is finished.
    private var parameters: Parameters
    /// What has not been read yet.
    private let stored: StoredParameters
    private var unread: Set<String>
    private var open: [String: WorkingTensor] = [:]
    private var edited: Set<String> = []
    /// What is to become of matrices that are not open.
    private var rewrites: [String: MatrixRewrite] = [:]

    init(_ stored: StoredParameters, keeping format: WeightFormat?) {
        config = stored.config
        original = stored.config
        wasQuantized = stored.isQuantized
        self.format = format
        parameters = Parameters(unfinished: [:], for: stored.config)
        self.stored = stored
        unread = stored.names
    }

    init(_ parameters: consuming Parameters, _ config: ModelConfig, keeping format: WeightFormat?) {
        self.config = config
        original = config
        wasQuantized = parameters.isQuantized
        self.format = format
        self.parameters = parameters
        stored = StoredParameters(config, at: config.modelName, isQuantized: false, names: []) { name, _ in throw LensError(.weights, "missing parameter", at: name) }
        unread = []
    }

    /// Reads a parameter that has not been read.
    private func fetch(_ name: String) throws {
        guard unread.remove(name) != nil else { return }
        parameters.values[name] = try stored.read(name, keeping: nil)
    }

    /// A parameter as it has become; zeros for an absent bias.
    func read(_ name: String) throws -> WorkingTensor {
        if let tensor = open[name] { return tensor }
        try fetch(name)
        var tensor = try WorkingTensor(parameters[name])
        if let rewrite = rewrites.removeValue(forKey: name), let spec = parameters.specs[name] {
            try tensor.rewrite(rewrite, of: spec)
            edited.insert(name)
        }
        open[name] = tensor
        return tensor
    }

    /// Whether the model has a parameter of this name, be it an absent bias.
    func has(_ name: String) -> Bool { parameters.has(name) }

    /// Whether a bias is absent, or holds nothing but zeros.
    func isZero(_ name: String) throws -> Bool {
        if open[name] == nil, !parameters.holds(name), !unread.contains(name) { return true }
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

    /// Multiplies what a matrix takes in: row i of W[inputs, outputs] by `factors[i]`.
    func scale(_ name: String, by factors: [Double]) throws {
        // Means that were taken are not the scaled rows'.
        let isCentered = rewrites[name].map { $0.centersInputs || $0.centersOutputs } ?? false
        try change(name, unpacked: isCentered, MatrixRewrite(scale: factors)) { rewrite in
            rewrite.scale = rewrite.scale.map { zip($0, factors).map(*) } ?? factors
        }
    }

    /// Takes means away along the side of a weight that lies along the residual stream; a bias that is zero stays so.
    func center(_ weight: StreamWeight) throws {
        guard let spec = parameters.specs[weight.name], spec.matrixShape != nil || spec.isTable else {
            if try !isZero(weight.name) { try edit(weight.name) { $0.center(0) } }
            return
        }
        try center(weight.name, weight.side)
    }

    /// Takes the means over a matrix's inputs or its outputs away.
    func center(_ name: String, _ side: StreamWeight.Side) throws {
        var rewrite = MatrixRewrite()
        func addCentering(_ rewrite: inout MatrixRewrite) {
            switch side {
            case .inputs: rewrite.centersInputs = true
            case .outputs: rewrite.centersOutputs = true
            }
        }
        addCentering(&rewrite)
        try change(name, unpacked: false, rewrite, addCentering)
    }

    private func change(_ name: String, unpacked: Bool, _ step: MatrixRewrite, _ body: (inout MatrixRewrite) -> Void) throws {
        guard let spec = parameters.specs[name], unpacked || open[name] != nil else { return body(&rewrites[name, default: MatrixRewrite()]) }
        try edit(name) { try $0.rewrite(step, of: spec) }
    }

    /// `row · W`, of W[inputs, outputs] as it has become.
    func product(of row: [Double], with name: String) throws -> [Double] {
        try fetch(name)
        if let matrix = parameters.weightMatrix(name), open[name] == nil {
            return try matrix.product(of: row, after: rewrites[name] ?? MatrixRewrite())
        }
        guard let (shape, inputs, _) = parameters.specs[name]?.sides else { return try read(name).values }  // unreachable: it is read
        return try WorkingTensor(read(name).values, shape: shape).product(of: row, along: inputs)
    }

    /// Adds to a bias; a bias that is absent stays so if nothing is added.
    func addToBias(_ name: String, _ addend: [Double]) throws {
        guard addend.contains(where: { $0 != 0 }) else { return }
        try edit(name) { $0.add(addend) }
    }

    /// Rewrites the matrices, and packs what is open.
    func close() throws {
        if rewrites["unembed.W_U"] != nil || rewrites[original.tokenEmbeddingName] != nil { try splitEmbeddings() }
        for (name, rewrite) in rewrites.sorted(by: { $0.key < $1.key }) where !rewrite.isNothing {
            try fetch(name)
            try parameters.rewrite(name, rewrite, keeping: format ?? .float32)
        }
        rewrites = [:]
        for name in edited.sorted() {
            guard let tensor = open.removeValue(forKey: name) else { continue }
            try parameters.replace(name, with: tensor.values, keeping: format ?? .float32)
        }
        open = [:]
        edited = []
    }

    /// Makes W_E of W_U, with what is to become of it, where they were tied and are no longer.
    private func splitEmbeddings() throws {
        let table = original.tokenEmbeddingName
        guard original.tiesEmbeddings, !config.tiesEmbeddings, !parameters.holds(table) else { return }
        try fetch("unembed.W_U")
        var rewrite = rewrites.removeValue(forKey: table) ?? MatrixRewrite()
        if original.tiedEmbeddingScale != 1 {
            // In float32, as the model multiplies it.
            let factor = Double(Float(original.tiedEmbeddingScale))
            rewrite.scale = rewrite.scale?.map { $0 * factor } ?? [Double](repeating: factor, count: original.dEmbed ?? original.dModel)
        }
        try parameters.copyTable(table, from: "unembed.W_U", rewrite, keeping: format ?? .float32)
    }

    /// From here on the parameters are those of the configuration as it has become: what it has no place for is dropped, what
    /// it has a new place for starts absent.
    func adoptConfig() {
        let names = Set(config.parameterSpecs.map(\.name))
        unread.formIntersection(names)
        parameters = Parameters(unfinished: parameters.values.filter { names.contains($0.key) }, for: config)
    }

    /// The parameters, all closed, those read that nobody asked for.
    func finish() throws -> Parameters {
        try close()
        try splitEmbeddings()
        for name in unread.sorted() { parameters.values[name] = try stored.read(name, keeping: format) }
        unread = []
        if let format { try parameters.keep(format) }
        return try stored.located { try Parameters(parameters.values, for: config) }
    }
}
