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
        let stored = stored ?? config
        try config.validate()
        try stored.checkLayers(against: tensors)
        let buffers = ["blocks.*.attn.mask", "blocks.*.attn.IGNORE", "blocks.*.attn.rotary_sin", "blocks.*.attn.rotary_cos"]
        let storedSpecs = Dictionary(uniqueKeysWithValues: stored.parameterSpecs.map { ($0.name, $0) })
        let specs = Dictionary(uniqueKeysWithValues: config.parameterSpecs.map { ($0.name, $0) })
        var parameters: [String: Tensor] = [:]
        for name in tensors.names where !buffers.contains(where: { globMatches($0, name) }) {
            guard let storedSpec = storedSpecs[name] else {
                throw LensError(.weights, "unknown parameter", at: "\(tensors.location): \(name)", expected: "a parameter of this configuration",
                                advice: nearestName(to: name, among: stored.parameterSpecs.map(\.name)).map { "did you mean \($0)?" })
            }
            // Before it is read: a file can say a tensor is larger than any memory.
            let shape = try tensors.requireEntry(name).shape
            guard shape == storedSpec.shape else {
                throw LensError(.weights, "parameter of the wrong shape", at: "\(tensors.location): \(name)", expected: "\(storedSpec.shape)", found: "\(shape)")
            }
            guard let spec = specs[name] else { continue }
            let tensor = try Tensor(stored: name, in: tensors)
            parameters[name] = spec.shape == shape ? tensor : try tensor.at(.upTo(spec.shape[0])).copied()
        }
        do { try self.init(config: config, parameters: Parameters(tensors: parameters, for: config, keeping: format)) } catch let error as LensError { throw error.located(in: tensors.location) }
    }

    /// Writes `config.json` and `model.safetensors` into `folder` (made if missing), under TransformerLens' names and shapes.
    /// Each file is written beside its place and renamed.
    /// - Throws: `LensError(.file)`.
    public func save(to folder: String) throws {
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
            return try TensorContent(name, .f32, shape: spec) { write in
                try parameters[name].withUnsafeElements { try write(UnsafeRawBufferPointer($0)) }
            }
        }
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: "\(folder)/model.safetensors")
        let writer = try AtomicFileWriter(path: "\(folder)/config.json")
        try writer.write(config.hookedTransformerConfig.utf8(pretty: true))
        try writer.commit()
    }
}

extension Tensor {
    /// A stored tensor, converted to float32.
    /// - Throws: `LensError(.weights)` for a type that is no number; what reading throws.
    public init(stored name: String, in source: any TensorSource) throws {
        let entry = try source.requireEntry(name)
        var result = try Tensor(uninitialized: entry.shape)
        let bytes = try source.bytes(of: name)
        let location = "\(source.location): \(name)"
        try result.withUnsafeMutableElements { destination in
            try bytes.withUnsafeBytes { raw in
                guard let base = raw.baseAddress, let target = destination.baseAddress else { return }
                try Self.convert(base, entry, to: target, at: location)
            }
        }
        self = result
    }

    private static func convert(_ base: UnsafeRawPointer, _ entry: TensorEntry, to target: UnsafeMutablePointer<Float>, at location: String) throws {
        func integers<T: FixedWidthInteger>(_: T.Type) {
            for i in 0..<entry.elementCount {
                target[i] = Float(base.loadUnaligned(fromByteOffset: i * MemoryLayout<T>.size, as: T.self))
            }
        }
        switch entry.dtype {
        case .f32: LensTensor.convert(base, .float32, count: entry.elementCount, to: target)
        case .f16: LensTensor.convert(base, .float16, count: entry.elementCount, to: target)
        case .bf16: LensTensor.convert(base, .bfloat16, count: entry.elementCount, to: target)
        case .f64: LensTensor.convert(base, .float64, count: entry.elementCount, to: target)
        case .i64: integers(Int64.self)
        case .i32: integers(Int32.self)
        case .u8, .bool: integers(UInt8.self)
        default:
            throw LensError(.weights, "tensor of an unsupported type", at: location, expected: "F32, F16, BF16, F64, I64, I32, U8 or BOOL",
                            found: entry.dtype.rawValue)
        }
    }
}
