// Saving a model under TransformerLens' names, and loading what was saved: a folder with `config.json`
// (HookedTransformerConfig's fields) and `model.safetensors` (the state dict).

import LensFiles
import LensHooks
import LensTensor

extension Transformer {
    /// From a TransformerLens state dict. Buffers that TransformerLens keeps among its parameters are passed over.
    /// - Parameters:
    ///   - stored: the configuration of what the file holds, where only its first layers or positions are loaded.
    ///   - format: how the weights are kept.
    /// - Throws: `LensError(.weights)` for a missing, unknown or mis-shaped parameter.
    public init(config: ModelConfig, savedParameters tensors: any TensorSource, stored: ModelConfig? = nil,
                keeping format: WeightFormat = .float32) throws {
        try self.init(config: config, parameters: config.savedParameters(tensors, stored: stored ?? config).all(keeping: format))
    }

    /// Writes `config.json` and `model.safetensors` into `folder` (made if missing), under TransformerLens' names and shapes.
    /// Each file is written beside its place and renamed.
    /// - Parameter format: how numbers are written: float32, float16 or bfloat16 (rounded to nearest).
    /// - Throws: `LensError(.file)`; `LensError(.usage)` for another format, or for a model that TransformerLens has no words for.
    public func save(to folder: String, as format: WeightFormat = .float32) throws {
        let types: [WeightFormat: ElementType] = [.float32: .f32, .float16: .f16, .bfloat16: .bf16]
        guard let type = types[format] else {
            throw LensError(.usage, "weights are not saved in this format", at: folder, expected: "f32, f16 or bf16", found: format.rawValue)
        }
        guard config.position != .none else {
            throw LensError(.usage, "TransformerLens has no name for a model without positions", at: folder)
        }
        guard config.kind == .decoder, !config.postNorm, config.dEmbed == nil else {
            throw LensError(.usage, "TransformerLens' configuration cannot say what this model is", at: folder,
                            advice: "keep the folder it was loaded from")
        }
        try makeFolder(folder)
        let tensors = try parameters.names.filter { !$0.hasSuffix("b_gate") || parameters.tensor($0) != nil }.map { name in
            let spec = try parameters[name].shape
            return try TensorContent(name, type, shape: spec) { write in
                try parameters[name].withUnsafeElements { elements in
                    guard format != .float32, let base = elements.baseAddress else { return try write(UnsafeRawBufferPointer(elements)) }
                    let encoded = try format.encoded(base, .float32, rows: 1, width: elements.count, rowStride: elements.count, columnStride: 1)
                    try encoded.withUnsafeBytes { try write($0) }
                }
            }
        }
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: "\(folder)/model.safetensors")
        let writer = try AtomicFileWriter(path: "\(folder)/config.json")
        try writer.write(config.hookedTransformerConfig.utf8(pretty: true))
        try writer.commit()
    }
}

extension ModelConfig {
    /// The parameters of a TransformerLens state dict, not yet read.
    /// - Parameter stored: the configuration of what the file holds.
    /// - Throws: `LensError(.weights)` for an unknown or mis-shaped parameter.
    package func savedParameters(_ tensors: any TensorSource, stored: ModelConfig) throws -> StoredParameters {
        try validate()
        try stored.checkLayers(against: tensors)
        let buffers = ["blocks.*.attn.mask", "blocks.*.attn.IGNORE", "blocks.*.attn.rotary_sin", "blocks.*.attn.rotary_cos"]
        let storedSpecs = Dictionary(uniqueKeysWithValues: stored.parameterSpecs.map { ($0.name, $0) })
        var sources: [String: String] = [:]
        for name in tensors.names where !buffers.contains(where: { globMatches($0, name) }) {
            guard let spec = storedSpecs[name] else {
                throw LensError(.weights, "unknown parameter", at: "\(tensors.location): \(name)", expected: "a parameter of this configuration",
                                advice: nearestName(to: name, among: stored.parameterSpecs.map(\.name)).map { "did you mean \($0)?" })
            }
            // Before it is read: a file can say a tensor is larger than any memory.
            let shape = try tensors.requireEntry(name).shape
            guard shape == spec.shape else {
                throw LensError(.weights, "parameter of the wrong shape", at: "\(tensors.location): \(name)", expected: "\(spec.shape)", found: "\(shape)")
            }
            sources[name] = name
        }
        return savedParameters(from: sources, tensors, stored: storedSpecs)
    }

    /// Parameters that are tensors of a file, under whatever names.
    /// - Parameters:
    ///   - sources: the names of the tensors of parameters.
    ///   - stored: the parameters of what the file holds, which may be more layers and positions.
    ///   - fitted: gives a tensor the parameter's shape.
    package func savedParameters(from sources: [String: String], _ tensors: any TensorSource, stored: [String: ParameterSpec],
                                 fitted: @escaping (Tensor, ParameterSpec) throws -> Tensor = { tensor, _ in tensor }) -> StoredParameters {
        let specs = Dictionary(uniqueKeysWithValues: parameterSpecs.map { ($0.name, $0) })
        return StoredParameters(self, at: tensors.location, isQuantized: false, names: sources.keys.filter { specs[$0] != nil }) { name, format in
            guard let spec = specs[name], let whole = stored[name], let source = sources[name] else { throw LensError(.weights, "missing parameter", at: name) }
            let tensor = try fitted(Tensor(stored: source, in: tensors), whole)
            return try Parameters.kept(spec.shape == whole.shape ? tensor : tensor.at(.upTo(spec.shape[0])).copied(), spec, format ?? .float32)
        }
    }
}

extension Tensor {
    /// A stored tensor, converted to float32.
    /// - Throws: `LensError(.weights)` for a type that is no number; what reading throws.
    public init(stored name: String, in source: any TensorSource) throws {
        let entry = try source.requireEntry(name)
        // A weight: it is not for the pool. Some of it at a time, so that it is never in memory twice.
        var result = try Tensor(uninitialized: entry.shape, recycled: false)
        let location = "\(source.location): \(name)", perRead = 1 << 18
        try result.withUnsafeMutableElements { destination in
            guard let target = destination.baseAddress else { return }
            for start in stride(from: 0, to: entry.elementCount, by: perRead) {
                let part = try source.bytes(of: name, elements: start..<min(entry.elementCount, start + perRead))
                try part.withUnsafeBytes { raw in
                    guard let base = raw.baseAddress else { return }
                    try Self.convert(base, entry.dtype, min(perRead, entry.elementCount - start), to: target + start, at: location)
                }
            }
        }
        self = result
    }

    private static func convert(_ base: UnsafeRawPointer, _ dtype: ElementType, _ count: Int, to target: UnsafeMutablePointer<Float>, at location: String) throws {
        func integers<T: FixedWidthInteger>(_: T.Type) {
            for i in 0..<count {
                target[i] = Float(base.loadUnaligned(fromByteOffset: i * MemoryLayout<T>.size, as: T.self))
            }
        }
        switch dtype {
        case .f32: LensTensor.convert(base, .float32, count: count, to: target)
        case .f16: LensTensor.convert(base, .float16, count: count, to: target)
        case .bf16: LensTensor.convert(base, .bfloat16, count: count, to: target)
        case .f64: LensTensor.convert(base, .float64, count: count, to: target)
        case .i64: integers(Int64.self)
        case .i32: integers(Int32.self)
        case .u8, .bool: integers(UInt8.self)
        default:
            throw LensError(.weights, "tensor of an unsupported type", at: location, expected: "F32, F16, BF16, F64, I64, I32, U8 or BOOL",
                            found: dtype.rawValue)
        }
    }
}
