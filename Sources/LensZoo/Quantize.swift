// Models written with their weights in another format: `tlens quantize`. A GGUF file becomes a GGUF file of the same names and
// metadata, which llama.cpp reads; a folder becomes a folder whose weights are one GGUF file, `model.gguf`, under the
// checkpoint's own names, beside its configuration and tokenizer.
//
// In that `model.gguf` every matrix lies as `[out, in]`, so that blocks run along the inputs (GPT-2's are turned), and the
// metadata says so: `lens.layout` is "linear". Biases, norms and positions stay as they are.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Writes models in another format.
public struct ModelQuantizer {
    /// What a tensor was written as.
    public struct Written: Sendable, Hashable {
        public let name: String
        /// Row-major, as in the file.
        public let shape: [Int]
        public let type: GGMLType
        public let byteCount: Int
    }

    /// The metadata key of files written from folders.
    static let layoutKey = "lens.layout"

    private let format: WeightFormat
    private let type: GGMLType

    /// - Throws: `LensError(.usage)` for a format that numbers are not packed into.
    public init(_ format: WeightFormat) throws {
        guard format.packsNumbers, let type = GGMLType.allCases.first(where: { $0.name == format.rawValue }) else {
            throw LensError(.usage, "weights are not quantised to this format here", expected: WeightFormat.loadable.map(\.rawValue).joined(separator: ", "),
                            found: format.rawValue)
        }
        self.format = format
        self.type = type
    }

    // MARK: Files

    /// Writes a GGUF file's model to another GGUF file.
    /// - Throws: `LensError`: `.usage` for a file that is quantised already; `.file`, `.format` or `.weights`.
    public func quantize(file path: String, to target: String) throws -> [Written] {
        let file = try GGUFFile(path: path)
        if let quantized = file.tensors.first(where: { $0.type.plain == nil }) {
            throw LensError(.usage, "quantised already: its weights have lost what another format would keep", at: path,
                            found: "\(quantized.name) of \(quantized.type)", advice: "start from the file it was made from")
        }
        let contents = try file.tensors.map { tensor -> GGUFContent in
            let isWeight = tensor.shape.count == 2 && tensor.name.hasSuffix(".weight")
                && !["position_embd.weight", "token_types.weight"].contains(tensor.name) && !tensor.name.hasSuffix("ffn_gate_inp.weight")
            return try content(try file.requireEntry(tensor.name), in: file, isMatrix: isWeight, isTurned: false)
        }
        var metadata = file.keys.compactMap { key in file[key].map { (key: key, value: $0) } }
            .filter { !["general.alignment", "general.file_type", "general.quantization_version"].contains($0.key) }
        metadata += fileType
        try GGUFWriter.write(contents, metadata: metadata, to: target)
        return written(contents)
    }

    // MARK: Folders

    /// Writes a Hugging Face folder's model to another folder: `model.gguf`, `config.json` and the tokenizer's files.
    /// - Throws: `LensError`: `.usage` for a folder under TransformerLens' names; `.file`, `.format`, `.config` or `.weights`.
    public func quantize(folder path: String, to target: String) throws -> [Written] {
        let folder = try ModelFolder(path: path)
        guard let architecture = folder.architecture else {
            throw LensError(.usage, "a model under TransformerLens' names is not written in other formats", at: path,
                            advice: "load it in another format instead (--dtype)")
        }
        // Tensors of many experts may lie in ways that blocks do not follow; encoders' names are too long for GGUF.
        guard folder.config.kind == .decoder, folder.config.mlp?.experts == nil else {
            throw LensError(.usage, "this kind of model is not written in other formats", at: path, expected: "a decoder without experts",
                            advice: "load it in another format instead (--dtype)")
        }
        let tensors = try folder.openWeights()
        let layout = try TensorLayout(architecture, folder.config, tensors)
        let contents = try tensors.names.filter { !layout.isIgnored($0) }.map { name in
            try content(tensors.requireEntry(name), in: tensors, isMatrix: layout.matrices[name] != nil, isTurned: layout.matrices[name] == true)
        }
        try makeFolder(target)
        let metadata: [(key: String, value: GGUFValue)] = [
            ("general.architecture", .string("huggingface")), ("general.name", .string(architecture.family)),
            (Self.layoutKey, .string("linear")),
        ] + fileType
        try GGUFWriter.write(contents, metadata: metadata, to: "\(target)/model.gguf")
        for name in Self.sideFiles where fileExists("\(path)/\(name)") { try copy("\(path)/\(name)", to: "\(target)/\(name)") }
        return written(contents)
    }

    private static let sideFiles = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja"]

    private func copy(_ path: String, to target: String) throws {
        let bytes = try DataFile(path: path).readAll(limit: 1 << 28)
        let file = try AtomicFileWriter(path: target)
        try file.write(bytes)
        try file.commit()
    }

    // MARK: Tensors

    private var fileType: [(key: String, value: GGUFValue)] {
        // llama.cpp's numbers of "mostly" one type.
        let numbers: [WeightFormat: UInt64] = [.float32: 0, .float16: 1, .q4_0: 2, .q8_0: 7, .bfloat16: 32]
        return [("general.file_type", .uint(numbers[format] ?? 0)), ("general.quantization_version", .uint(2))]
    }

    private func written(_ contents: [GGUFContent]) -> [Written] {
        contents.map { Written(name: $0.name, shape: $0.shape, type: $0.type, byteCount: $0.byteCount) }
    }

    /// A tensor as it is written: matrices in the format, or in two bytes where their rows do not fill its blocks.
    /// - Parameter isTurned: it lies as `[in, out]` and is written as `[out, in]`.
    private func content(_ entry: TensorEntry, in source: any TensorSource, isMatrix: Bool, isTurned: Bool) throws -> GGUFContent {
        let element = PackedMatrix.Element(entry.dtype)
        guard isMatrix, entry.shape.count == 2, let element else {
            guard let type = GGMLType.allCases.first(where: { $0.plain == entry.dtype }) else {
                throw LensError(.weights, "tensor of a type that GGUF has not", at: "\(source.location): \(entry.name)", found: entry.dtype.rawValue)
            }
            return try GGUFContent(entry.name, type, shape: entry.shape) { write in
                try source.bytes(of: entry.name).withUnsafeBytes { try write($0) }
            }
        }
        let shape = isTurned ? [entry.shape[1], entry.shape[0]] : entry.shape
        let fallback = element.format == .float32 ? WeightFormat.bfloat16 : element.format
        let format = self.format.fits(rows: shape[1]) ? self.format : fallback
        guard let type = GGMLType.allCases.first(where: { $0.name == format.rawValue }) else {
            throw LensError(.usage, "no type of ggml's", found: format.rawValue)
        }
        return try GGUFContent(entry.name, type, shape: shape) { write in
            if isTurned { // whole: its rows are spread over the file's
                try source.bytes(of: entry.name).withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    try format.encoded(base, element, rows: shape[0], width: shape[1], rowStride: 1, columnStride: shape[0]).withUnsafeBytes { try write($0) }
                }
                return
            }
            let step = max(1, (4 << 20) / max(1, shape[1] * element.byteCount))
            for start in stride(from: 0, to: shape[0], by: step) {
                let rows = min(step, shape[0] - start)
                var bytes = [UInt8](repeating: 0, count: rows * shape[1] * element.byteCount)
                try bytes.withUnsafeMutableBytes {
                    try source.read(entry.name, elementOffset: start * shape[1], elementCount: rows * shape[1], into: $0)
                }
                try bytes.withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    try format.encoded(base, element, rows: rows, width: shape[1], rowStride: shape[1], columnStride: 1).withUnsafeBytes { try write($0) }
                }
            }
        }
    }
}

/// Which tensors of a checkpoint are matrices, and how they lie.
private struct TensorLayout {
    /// By name: whether it lies as `[in, out]`.
    var matrices: [String: Bool] = [:]
    private let architecture: Architecture

    init(_ architecture: Architecture, _ config: ModelConfig, _ tensors: any TensorSource) throws {
        self.architecture = architecture
        let specs = Dictionary(uniqueKeysWithValues: config.parameterSpecs.map { ($0.name, $0) })
        for rule in architecture.weights(config).flatMap({ $0.expanded(layers: config.nLayers) }) {
            guard let spec = specs[rule.parameter], spec.format(.q8_0, or: .bfloat16) != .float32 else { continue }
            guard case .none = rule.change else { continue }
            for name in [rule.source, rule.otherSource].compactMap(\.self) {
                for prefix in architecture.prefixes + [""] where tensors.entry(prefix + name) != nil { matrices[prefix + name] = rule.form == .conv1D }
            }
        }
    }

    /// Masks and buffers.
    func isIgnored(_ name: String) -> Bool {
        (architecture.prefixes + [""]).contains { prefix in
            name.hasPrefix(prefix) && architecture.ignoredTensors.contains { globMatches($0, String(name.dropFirst(prefix.count))) }
        }
    }
}

extension PackedMatrix.Element {
    /// The element of a stored type; nil for one that is no number of two bytes or more.
    init?(_ type: ElementType) {
        switch type {
        case .f32: self = .float32
        case .f16: self = .float16
        case .bf16: self = .bfloat16
        case .f64: self = .float64
        default: return nil
        }
    }
}
