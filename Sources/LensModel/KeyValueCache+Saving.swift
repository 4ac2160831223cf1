// A key-value cache as a safetensors file: keys and values of each layer, its tokens and which of them are real, and the
// fingerprint of the model it belongs to. It refuses to be loaded for another model, or with sizes that do not fit.

import LensFiles
import LensHooks
import LensTensor

extension KeyValueCache {
    private static let format = "lens-key-value-cache-1"

    /// Writes it to `path`, a safetensors file: `keys.{layer}` and `values.{layer}`, `[batch, held, kv_head, d_head]` (of a
    /// windowed layer the last `held` positions), `tokens` and `is_real`.
    /// - Throws: `LensError(.usage)` for a cache of another model than `model`, `(.file)` if it cannot be written.
    public func save(to path: String, for model: Transformer) throws {
        guard identity === model.identity || count == 0 else {
            throw LensError(.usage, "key-value cache of another model", at: path, expected: "the model that made it")
        }
        let remembered = tokens.map(\.count).min() ?? 0
        var contents = [
            try TensorContent("tokens", shape: [batch, remembered], tokens.flatMap { $0.prefix(remembered).map(Int64.init) }),
            try TensorContent("is_real", .u8, shape: [batch, count], bytes: isReal.flatMap { $0.map { $0 ? 1 : 0 } }),
        ]
        for (index, layer) in layers.enumerated() {
            let held = layer.heldFrom..<layer.count, keys = try layer.keys(held), values = try layer.values(held)
            for (name, tensor) in [("keys.\(index)", keys), ("values.\(index)", values)] {
                contents.append(try TensorContent(name, .f32, shape: tensor.shape) { write in
                    try tensor.withUnsafeElements { try write(UnsafeRawBufferPointer($0)) }
                })
            }
        }
        let metadata = ["format": Self.format, "model": try model.fingerprint(), "passes": "\(passes)", "frozen": "\(isFrozen)",
                        "recomputable": "\(recomputableCount)"]
        try SafetensorsWriter.write(contents, metadata: metadata, to: path)
    }

    /// A cache that was saved, for the model that made it.
    /// - Throws: `LensError(.usage)` for a cache of another model, `(.format)` for a file that is no such cache or whose
    ///   parts do not fit each other or the model, `(.file)`.
    public init(contentsOf path: String, for model: Transformer) throws {
        let file = try SafetensorsFile(path: path), metadata = file.metadata, config = model.config
        guard metadata["format"] == Self.format else {
            throw LensError(.format, "not a key-value cache", at: path, expected: "a file that saving one made", found: metadata["format"] ?? "no format")
        }
        let fingerprint = try model.fingerprint()
        guard metadata["model"] == fingerprint else {
            throw LensError(.usage, "key-value cache of another model", at: path, expected: fingerprint, found: metadata["model"] ?? "none")
        }
        func number(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
            guard let value = metadata[key].flatMap({ Int($0) }), range.contains(value) else {
                throw LensError(.format, "damaged key-value cache", at: "\(path): \(key)", expected: "a number in \(range)", found: metadata[key] ?? "nothing")
            }
            return value
        }
        let real = try Self.matrix("is_real", in: file), batch = real.shape[0], count = real.shape[1]
        guard real.array.allSatisfy({ $0 == 0 || $0 == 1 }), batch > 0 else { throw LensError(.format, "damaged key-value cache", at: "\(path): is_real", expected: "zeros and ones") }
        let tokens = try Self.matrix("tokens", in: file)
        guard tokens.shape[0] == batch, tokens.shape[1] <= count, tokens.array.allSatisfy({ (0..<config.dVocab).contains($0) }) else {
            throw LensError(.format, "damaged key-value cache", at: "\(path): tokens", expected: "tokens of the model, [\(batch), at most \(count)]", found: "\(tokens.shape)")
        }
        self.init(for: config, batch: batch)
        isReal = real.rows.map { $0.map { $0 == 1 } }
        self.tokens = batch == 0 ? [] : (0..<batch).map { Array(tokens.array[$0 * tokens.shape[1]..<($0 + 1) * tokens.shape[1]]) }
        passes = try number("passes", 0...(1 << 40))
        recomputableCount = try number("recomputable", 0...tokens.shape[1])
        identity = model.identity
        if metadata["frozen"] == "true" { freeze() }
        for index in layers.indices { layers[index] = try Self.pages(index, of: file, count: count, first: padding, config) }
        if !missingLayers(wantingAll: { _ in false }).isEmpty { try requireRecomputable() }
    }

    /// Whole numbers of two axes.
    private static func matrix(_ name: String, in file: SafetensorsFile) throws -> IntTensor {
        let entry = try file.requireEntry(name)
        guard entry.shape.count == 2, entry.dtype == .i64 || entry.dtype == .u8 else {
            throw LensError(.format, "damaged key-value cache", at: "\(file.location): \(name)", expected: "integers of two axes", found: "\(entry.dtype) \(entry.shape)")
        }
        let bytes = try file.bytes(of: name)
        return try bytes.withUnsafeBytes { raw in
            try IntTensor((0..<entry.elementCount).map { index in
                entry.dtype == .u8 ? Int(raw[index]) : Int(raw.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
            }, shape: entry.shape)
        }
    }

    private static func pages(_ layer: Int, of file: SafetensorsFile, count: Int, first: [Int], _ config: ModelConfig) throws -> KeyValuePages {
        let keys = try Tensor(stored: "keys.\(layer)", in: file), values = try Tensor(stored: "values.\(layer)", in: file)
        let held = keys.rank == 4 ? keys.shape[1] : -1
        guard keys.shape == [first.count, held, config.kvHeads, config.dHead], values.shape == keys.shape, held <= count else {
            throw LensError(.format, "damaged key-value cache", at: "\(file.location): layer \(layer)",
                            expected: "[\(first.count), at most \(count), \(config.kvHeads), \(config.dHead)]", found: "\(keys.shape) and \(values.shape)")
        }
        var pages = KeyValuePages(kvHeads: config.kvHeads, dHead: config.dHead, first: first, startingAt: count - held)
        if held > 0 { try pages.append(keys: keys, values: values) }
        return pages
    }
}
