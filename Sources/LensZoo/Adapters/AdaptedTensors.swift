// A checkpoint with a LoRA adapter added to it (Hu et al., 2021): the adapted matrices are W + scale · B·A in float32, made
// row by row as they are read; the rest is as it was, but for tensors the adapter brings whole (biases, modules_to_save).

import LensFiles
import LensTensor
import Synchronization

/// The tensors of a model merged with an adapter (`merge_and_unload` in PEFT).
struct AdaptedTensors: TensorSource {
    let base: any TensorSource
    private let adapter: any TensorSource
    private let updates: [String: Update]
    /// Tensors that the adapter brings whole, by the base's names, and their entries.
    private let replacements: [String: (source: String, entry: TensorEntry)]
    private let last = LastProduct()

    var location: String { base.location }
    var names: [String] { base.names }

    /// What is added to a matrix.
    fileprivate struct Update: Sendable {
        /// `[rank, in]` and `[out, rank]`; of an embedding `[rank, vocabulary]` and `[width, rank]`.
        let a: String, b: String
        let scale: Float
        let rank: Int
        /// The matrix lies `[in, out]`.
        let isTransposed: Bool
        let entry: TensorEntry
    }

    /// The two factors of the matrix read last, ready for products: a matrix is read in many pieces.
    private final class LastProduct: Sendable {
        private let kept = Mutex<(name: String, left: Tensor, right: PackedMatrix)?>(nil)

        func get(_ name: String, _ make: () throws -> (Tensor, PackedMatrix)) throws -> (Tensor, PackedMatrix) {
            if let found = kept.withLock({ $0?.name == name ? $0 : nil }) { return (found.left, found.right) }
            let (left, right) = try make()
            kept.withLock { $0 = (name, left, right) }
            return (left, right)
        }
    }

    /// - Parameters:
    ///   - folder: with `adapter_config.json` and `adapter_model.safetensors` or `.bin`.
    ///   - baseName: the base's name of a tensor of the original model, nil if it has none.
    ///   - isTransposed: whether a tensor of the base lies `[in, out]`.
    /// - Throws: `LensError`: `.file` or `.format` if it cannot be read, `.config` for an unsupported kind of adapter, `.weights`
    ///   for one that does not fit the model.
    init(_ base: any TensorSource, adapter folder: String, baseName: (String) -> String?, isTransposed: (String) -> Bool) throws {
        let config = try LoRAConfig(path: folder + "/adapter_config.json")
        let files = ["adapter_model.safetensors", "adapter_model.bin"].map { "\(folder)/\($0)" }
        guard let file = files.first(where: fileExists) else { throw LensError(.file, "no adapter", at: folder, expected: "adapter_model.safetensors or adapter_model.bin") }
        let adapter = try openTensors(at: file)
        var updates: [String: Update] = [:], replacements: [String: (String, TensorEntry)] = [:]
        for stored in adapter.names {
            let name = Self.moduleName(stored), place = "\(file): \(stored)"
            if name.contains("lora_magnitude_vector") { throw LensError(.config, "unsupported kind of adapter", at: place, found: "DoRA") }
            if name.hasSuffix(".lora_B.weight") || name.hasSuffix(".lora_embedding_B") { continue }
            let isEmbedding = name.hasSuffix(".lora_embedding_A"), isMatrix = name.hasSuffix(".lora_A.weight")
            let module = isEmbedding ? String(name.dropLast(".lora_embedding_A".count)) : isMatrix ? String(name.dropLast(".lora_A.weight".count)) : name
            guard let target = baseName(isEmbedding || isMatrix ? module + ".weight" : module), let entry = base.entry(target) else {
                throw LensError(.weights, "adapter for a tensor the model does not have", at: place,
                                advice: nearestName(to: module, among: base.names.prefix(2_000)).map { "the nearest name is \($0)" })
            }
            guard isEmbedding || isMatrix else {
                let own = try adapter.requireEntry(stored)
                guard own.shape == entry.shape else { throw Self.misshapen(place, "\(entry.shape)", own.shape) }
                replacements[target] = (stored, try TensorEntry(name: target, dtype: own.dtype, shape: own.shape, at: file))
                continue
            }
            let other = isEmbedding ? String(stored.dropLast()) + "B" : String(stored.dropLast("A.weight".count)) + "B.weight"
            let transposed = isEmbedding || isTransposed(target)
            updates[target] = try Update(adapter, stored, other, module, entry, config, isTransposed: transposed, at: place)
        }
        self.base = base
        self.adapter = adapter
        self.updates = updates
        self.replacements = replacements
    }

    /// `base_model.model.` before a name, and wrappers in it, are PEFT's own.
    private static func moduleName(_ stored: String) -> String {
        let name = stored.hasPrefix("base_model.model.") ? String(stored.dropFirst("base_model.model.".count)) : stored
        return name.split(separator: ".").filter { $0 != "base_layer" }.joined(separator: ".")
    }

    private static func misshapen(_ place: String, _ expected: String, _ found: [Int]) -> LensError {
        LensError(.weights, "adapter's tensor of the wrong shape", at: place, expected: expected, found: "\(found)")
    }

    func entry(_ name: String) -> TensorEntry? { updates[name]?.entry ?? replacements[name]?.entry ?? base.entry(name) }

    func blockType(_ name: String) -> GGMLType? { updates[name] == nil && replacements[name] == nil ? base.blockType(name) : nil }

    func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        try base.readBlocks(name, elementOffset: elementOffset, elementCount: elementCount, into: buffer)
    }

    func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        if let replacement = replacements[name] {
            return try adapter.read(replacement.source, elementOffset: elementOffset, elementCount: elementCount, into: buffer)
        }
        guard let update = updates[name] else { return try base.read(name, elementOffset: elementOffset, elementCount: elementCount, into: buffer) }
        _ = try update.entry.byteRange(elementOffset: elementOffset, elementCount: elementCount, bufferCount: buffer.count, at: location)
        guard elementCount > 0 else { return }
        let own = try base.requireEntry(name)
        var values = try Tensor(own, elements: elementOffset..<(elementOffset + elementCount), in: base)
        try add(update, from: elementOffset, to: &values)
        try values.withUnsafeElements { buffer.copyMemory(from: UnsafeRawBufferPointer($0)) }
    }

    /// Adds what the adapter adds to the elements from `offset` on.
    private func add(_ update: Update, from offset: Int, to values: inout Tensor) throws {
        let columns = update.entry.shape[1], rows = (offset / columns)..<((offset + values.count - 1) / columns + 1)
        let (left, right) = try last.get(update.a) {
            let a = try Tensor(stored: update.a, in: adapter), b = try Tensor(stored: update.b, in: adapter)
            // Rows of W are rows of B, or columns of A.
            return update.isTransposed ? (try a.permuted(1, 0).contiguous(), try PackedMatrix(b.permuted(1, 0))) : (b, try PackedMatrix(a))
        }
        let product = try right.product(left.at(.range(rows)).contiguous()).out
        try values.withUnsafeMutableElements { target in
            try product.withUnsafeElements { added in
                let first = offset - rows.lowerBound * columns
                for index in target.indices { target[index] += update.scale * added[first + index] }
            }
        }
    }
}

extension AdaptedTensors.Update {
    fileprivate init(_ adapter: any TensorSource, _ a: String, _ b: String, _ module: String, _ base: TensorEntry, _ config: LoRAConfig, isTransposed: Bool,
                     at place: String) throws {
        let first = try adapter.requireEntry(a), second = try adapter.requireEntry(b)
        guard base.shape.count == 2, first.shape.count == 2, second.shape.count == 2, first.shape[0] > 0, second.shape[1] == first.shape[0] else {
            throw LensError(.weights, "adapter's tensors do not fit one another", at: place, expected: "[rank, in] and [out, rank] for a matrix \(base.shape)",
                            found: "\(first.shape) and \(second.shape)")
        }
        let made = isTransposed ? [first.shape[1], second.shape[0]] : [second.shape[0], first.shape[1]]
        guard made == base.shape else { throw LensError(.weights, "adapter's tensor of the wrong shape", at: place, expected: "\(base.shape)", found: "\(made)") }
        let rank = first.shape[0]
        guard config.rank(of: module) == rank else {
            throw LensError(.weights, "adapter of another rank than its configuration says", at: place, expected: "\(config.rank(of: module))", found: "\(rank)")
        }
        guard [.f32, .f16, .bf16, .f64].contains(base.dtype) else {
            throw LensError(.weights, "weights of an unsupported type", at: place, expected: "F32, F16, BF16 or F64", found: base.dtype.rawValue)
        }
        self.init(a: a, b: b, scale: config.scale(of: module, rank: rank), rank: rank, isTransposed: isTransposed,
                  entry: try TensorEntry(name: base.name, dtype: .f32, shape: base.shape, at: place))
    }
}

extension Tensor {
    /// Elements of a stored tensor as float32, one after another.
    fileprivate init(_ entry: TensorEntry, elements range: Range<Int>, in source: any TensorSource) throws {
        let element: PackedMatrix.Element = switch entry.dtype {
        case .f16: .float16
        case .bf16: .bfloat16
        case .f64: .float64
        default: .float32
        }
        var bytes = [UInt8](repeating: 0, count: range.count * element.byteCount)
        try bytes.withUnsafeMutableBytes { try source.read(entry.name, elementOffset: range.lowerBound, elementCount: range.count, into: $0) }
        var result = try Tensor(uninitialized: [range.count])
        try result.withUnsafeMutableElements { target in
            bytes.withUnsafeBytes { raw in
                guard let from = raw.baseAddress, let to = target.baseAddress else { return }
                convert(from, element, count: range.count, to: to)
            }
        }
        self = result
    }
}
