// The parameters of a model: matrices packed for products, the rest as tensors, tied embeddings once. Read and replaced
// under TransformerLens' names and shapes; a matrix is unpacked only when someone asks for it.

import LensFiles
import LensTensor

/// A parameter as it is kept.
public enum Parameter: Sendable {
    case tensor(Tensor)
    case matrix(PackedMatrix)
    /// A table of embeddings in another format than float32: the packed matrix of its transpose.
    case table(PackedMatrix)
}

/// All parameters of a model, by TransformerLens' names.
public struct Parameters: Sendable {
    let specs: [String: ParameterSpec]
    private let order: [String]
    var values: [String: Parameter]
    let config: ModelConfig
    /// What activations are in products with those that are quantised.
    public internal(set) var activations = ActivationFormat.float32

    /// - Throws: `LensError(.weights)` for a missing, unknown or mis-shaped parameter.
    public init(_ values: [String: Parameter], for config: ModelConfig) throws {
        try config.validate()
        let list = config.parameterSpecs
        self.config = config
        specs = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0) })
        order = list.map(\.name)
        self.values = values
        for name in values.keys.sorted() where specs[name] == nil { throw Self.unknown(name, order) }
        for spec in list {
            guard let value = values[spec.name] else {
                if spec.isOptional { continue }
                throw LensError(.weights, "missing parameter", at: spec.name, expected: "shape \(spec.shape)")
            }
            try Self.check(value, spec)
        }
    }

    /// Parameters of which some may be missing still.
    init(unfinished values: [String: Parameter], for config: ModelConfig) {
        let list = config.parameterSpecs
        self.config = config
        specs = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0) })
        order = list.map(\.name)
        self.values = values
    }

    /// From tensors in TransformerLens' shapes.
    /// - Parameter format: how they are kept, where that is possible: `q8_0` needs rows of whole blocks, for one.
    public init(tensors: [String: Tensor], for config: ModelConfig, keeping format: WeightFormat = .float32) throws {
        try config.validate()
        let list = config.parameterSpecs
        let specs = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0) })
        var values: [String: Parameter] = [:]
        for (name, tensor) in tensors {
            guard let spec = specs[name] else { throw Self.unknown(name, list.map(\.name)) }
            values[name] = try Self.kept(tensor, spec, format)
        }
        try self.init(values, for: config)
    }

    /// Names in TransformerLens' order, absent biases (which are zero) included.
    public var names: [String] { order }

    /// Numbers held, tied embeddings and absent biases not counted twice or at all.
    public var count: Int {
        values.keys.compactMap { specs[$0] }.reduce(0) { $0 + $1.shape.reduce(1, *) }
    }

    /// Bytes held.
    public var byteCount: Int {
        values.values.reduce(0) { $0 + $1.byteCount }
    }

    /// A parameter in TransformerLens' shape, unpacked; absent biases as zeros. For grouped heads `W_K` is the expanded
    /// one, `_W_K` the kept one.
    /// - Throws: `LensError(.name)` for an unknown name.
    public subscript(_ name: String) -> Tensor {
        get throws {
            if let spec = specs[name] { return try unpacked(spec) }
            for short in ["W_K", "W_V", "b_K", "b_V"] where name.hasSuffix(".attn.\(short)") {
                if let spec = specs[name.dropLast(short.count) + "_" + short] { return try expandingHeads(unpacked(spec)) }
            }
            throw LensError(.name, "no such parameter", at: name,
                            advice: nearestName(to: name, among: order).map { "did you mean \($0)?" })
        }
    }

    /// The parameters with one replaced, in TransformerLens' shape, and kept as float32. Everything else is shared, not copied.
    public func replacing(_ name: String, with tensor: Tensor) throws -> Parameters {
        guard let spec = specs[name] else { throw Self.unknown(name, order) }
        var copy = self
        let table = config.tokenEmbeddingName
        if name == "unembed.W_U", values[table] == nil, config.tiesEmbeddings { copy.values[table] = .tensor(try self[table]) }
        copy.values[name] = try Self.kept(tensor, spec)
        return copy
    }

    /// The parameters of another configuration: those of `config` that this one has too are shared, `tensors` gives the rest.
    func carried(to config: ModelConfig, with tensors: [String: Tensor]) throws -> Parameters {
        let list = config.parameterSpecs
        var carried: [String: Parameter] = [:]
        for spec in list {
            if let tensor = tensors[spec.name] {
                carried[spec.name] = try Self.kept(tensor, spec)
            } else if specs[spec.name]?.shape == spec.shape {
                carried[spec.name] = values[spec.name]
            }
        }
        var result = try Parameters(carried, for: config)
        result.activations = activations
        return result
    }

    /// Whether the configuration has a parameter of this name.
    package func has(_ name: String) -> Bool { specs[name] != nil }

    /// Whether a parameter is there; an absent bias is zero.
    func holds(_ name: String) -> Bool { values[name] != nil }

    /// Columns `ids` of W_U as rows, `[ids.count, d_model]`, without unpacking the rest.
    /// - Throws: `LensError(.shape)` for an id outside the vocabulary.
    package func unembeddingColumns(_ ids: [Int]) throws -> Tensor { try matrix("unembed.W_U").gatherColumns(ids) }

    /// A vector or table as kept; nil for an absent (zero) bias.
    func tensor(_ name: String) -> Tensor? {
        if case .tensor(let tensor)? = values[name] { return tensor }
        return nil
    }

    /// A table that rows are looked up in; nil for one that is not there.
    func table(_ name: String) -> EmbeddingTable? {
        switch values[name] {
        case .tensor(let tensor)?: return .plain(tensor)
        case .table(let matrix)?: return .packed(matrix)
        default: return nil
        }
    }

    /// A packed matrix, as products take it.
    func matrix(_ name: String) throws -> PackedMatrix {
        if case .matrix(let matrix)? = values[name] { return matrix.multiplying(activations) }
        throw LensError(.weights, "missing parameter", at: name)
    }

    // MARK: Shapes

    private func unpacked(_ spec: ParameterSpec) throws -> Tensor {
        switch values[spec.name] {
        case .tensor(let tensor)?: return tensor
        case nil where spec.name == config.tokenEmbeddingName && config.tiesEmbeddings:
            return try matrix("unembed.W_U").transposed(times: Float(config.tiedEmbeddingScale))
        case nil: return Tensor(zeros: spec.shape)
        case .table(let matrix)?: return try matrix.transposed()
        case .matrix(let matrix)?:
            if spec.kind == .linear { return try matrix.transposed() }
            let plain = try matrix.unpacked()
            guard spec.kind == .headsOut else { return try plain.reshaped(spec.shape) }
            return try plain.reshaped([spec.shape[1], spec.shape[0], spec.shape[2]]).permuted(1, 0, 2).contiguous()
        }
    }

    /// Keys' or values' parameter with each kv head repeated for its group.
    private func expandingHeads(_ tensor: Tensor) throws -> Tensor {
        let group = config.nHeads / config.kvHeads
        let rest = Array(tensor.shape.dropFirst())
        return try tensor.reshaped([config.kvHeads, 1] + rest).broadcast(to: [config.kvHeads, group] + rest)
            .reshaped([config.nHeads] + rest)
    }

    /// A tensor in TransformerLens' shape as it is kept where `format` is asked for.
    static func kept(_ tensor: Tensor, _ spec: ParameterSpec, _ format: WeightFormat = .float32) throws -> Parameter {
        guard tensor.shape == spec.shape else {
            throw LensError(.weights, "parameter of the wrong shape", at: spec.name, expected: "\(spec.shape)", found: "\(tensor.shape)")
        }
        let format = spec.format(format)
        guard let (rows, columns) = spec.matrixShape else { return try Parameter.tensor(tensor.contiguous()).keeping(format) }
        if spec.kind == .linear { return .matrix(try PackedMatrix(tensor.permuted(1, 0), format: format)) }
        let plain = spec.kind == .headsOut ? try tensor.permuted(1, 0, 2) : tensor
        return .matrix(try PackedMatrix(plain.reshaped([rows, columns]), format: format))
    }

    private static func check(_ value: Parameter, _ spec: ParameterSpec) throws {
        switch (value, spec.matrixShape) {
        case (.tensor(let tensor), nil):
            guard tensor.shape == spec.shape else {
                throw LensError(.weights, "parameter of the wrong shape", at: spec.name, expected: "\(spec.shape)", found: "\(tensor.shape)")
            }
        case (.matrix(let matrix), let (rows, columns)?):
            guard (matrix.rows, matrix.columns) == (rows, columns) else {
                throw LensError(.weights, "parameter of the wrong shape", at: spec.name, expected: "[\(rows), \(columns)]",
                                found: "[\(matrix.rows), \(matrix.columns)]")
            }
        case (.table(let matrix), nil):
            guard [matrix.columns, matrix.rows] == spec.shape else {
                throw LensError(.weights, "parameter of the wrong shape", at: spec.name, expected: "\(spec.shape)", found: "\([matrix.columns, matrix.rows])")
            }
        default: throw LensError(.weights, "parameter kept in the wrong form", at: spec.name)
        }
    }

    private static func unknown(_ name: String, _ known: [String]) -> LensError {
        LensError(.weights, "unknown parameter", at: name, expected: "a parameter of this configuration",
                  advice: nearestName(to: name, among: known).map { "did you mean \($0)?" })
    }
}
