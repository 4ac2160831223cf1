// From a checkpoint to parameters: every rule's tensor is found, checked and read in chunks straight into its place, so no
// weight is held twice. Missing, extra and mis-shaped tensors are errors that name the tensor.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Reads a checkpoint's tensors as a configuration's parameters.
struct WeightLoader {
    let architecture: Architecture
    /// What is loaded.
    let config: ModelConfig
    /// What the file holds: more layers and positions, it may be.
    let storedConfig: ModelConfig
    let tensors: any TensorSource
    private let changeRule: (WeightRule) -> WeightRule
    private let buffer = ChunkBuffer()

    /// - Parameters:
    ///   - storedConfig: what the file holds, where only a part of it is loaded.
    ///   - changeRule: what becomes of the family's rules where the file is not of its usual format.
    init(architecture: Architecture, config: ModelConfig, storedConfig: ModelConfig? = nil, tensors: any TensorSource,
         changeRule: @escaping (WeightRule) -> WeightRule = { $0 }) {
        self.architecture = architecture
        self.changeRule = changeRule
        self.config = config
        self.storedConfig = storedConfig ?? config
        self.tensors = tensors
    }

    /// Where chunks of the file pass through. One for the whole load: freeing one after each tensor would leave holes
    /// between the weights.
    private final class ChunkBuffer {
        private(set) var bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 64)

        func grow(to count: Int) {
            guard count > bytes.count else { return }
            bytes.deallocate()
            bytes = .allocate(byteCount: count, alignment: 64)
        }

        deinit { bytes.deallocate() }
    }

    /// - Throws: `LensError(.weights)`.
    func load() throws -> Parameters {
        try storedConfig.checkLayers(against: tensors)
        let rules = architecture.weights(storedConfig).map(changeRule).flatMap { $0.expanded(layers: storedConfig.nLayers) }
        let specs = Dictionary(uniqueKeysWithValues: storedConfig.parameterSpecs.map { ($0.name, $0) })
        var unused = Set(tensors.names)
        var values: [String: Parameter] = [:]
        for rule in rules {
            guard let spec = specs[rule.parameter] else {
                throw LensError(.weights, "weight map names an unknown parameter", at: rule.parameter)
            }
            // What the configuration says is not there is not taken if it is: it stays an extra tensor.
            guard spec.isExpected else { continue }
            if rule.source.contains("{h}") {
                values[rule.parameter] = .tensor(try pieces(rule, spec, &unused))
                continue
            }
            guard let name = stored(rule.source) ?? rule.otherSource.flatMap(stored) else {
                throw LensError(.weights, "missing tensor", at: tensors.location, expected: [rule.source, rule.otherSource].compactMap(\.self).map(usual).joined(separator: " or "),
                                advice: nearestName(to: usual(rule.source), among: tensors.names.prefix(2_000))
                                    .map { "the nearest name is \($0)" })
            }
            unused.remove(name)
            if config.isCutOff(rule.parameter) { continue }
            values[rule.parameter] = try read(rule, name, spec)
        }
        if storedConfig.position == .learned, config.nCtx < storedConfig.nCtx, case .tensor(let positions)? = values["pos_embed.W_pos"] {
            values["pos_embed.W_pos"] = .tensor(try positions.at(.upTo(config.nCtx)).copied())
        }
        try checkUnused(unused)
        do { return try Parameters(values, for: config) } catch let error as LensError { throw error.located(in: tensors.location) }
    }

    /// The name under which the file holds a tensor: with one of the family's prefixes, or bare.
    private func stored(_ source: String) -> String? {
        (architecture.prefixes + [""]).map { $0 + source }.first { tensors.entry($0) != nil }
    }

    /// The usual name of a tensor, in files that begin names as this one does.
    private func usual(_ source: String) -> String {
        let prefix = architecture.prefixes.first { prefix in tensors.names.contains { $0.hasPrefix(prefix) } }
        return (prefix ?? architecture.prefixes[0]) + source
    }

    private func checkUnused(_ unused: Set<String>) throws {
        let ignored = architecture.ignoredTensors + (config.tiesEmbeddings ? ["lm_head.weight"] : [])
        for name in unused.sorted() {
            let isKnown = (architecture.prefixes + [""]).contains { prefix in
                name.hasPrefix(prefix) && ignored.contains { globMatches($0, String(name.dropFirst(prefix.count))) }
            }
            guard isKnown else {
                throw LensError(.weights, "extra tensor: no parameter of this configuration comes from it", at: "\(tensors.location): \(name)",
                                found: "shape \(tensors.entry(name)?.shape ?? [])")
            }
        }
    }

    private func read(_ rule: WeightRule, _ name: String, _ spec: ParameterSpec) throws -> Parameter {
        let entry = try tensors.requireEntry(name)
        let element = try element(of: entry)
        guard let (rows, columns) = spec.matrixShape else { return .tensor(try plain(rule, entry, element, shape: spec.shape)) }
        let total = rule.outputs.total(for: columns)
        let stored = rule.form == .linear ? [total, rows] : [rows, total]
        guard entry.shape == stored else { throw misshapen(name, stored, entry.shape) }
        return .matrix(try PackedMatrix(rows: rows, columns: columns) { writer in
            var column = 0
            for outputs in rule.outputs.ranges(for: columns) {
                try rule.form == .linear ? packLinear(entry, element, rows, outputs, to: column, writer)
                    : packConv1D(entry, element, rows, outputs, to: column, writer)
                column += outputs.count
            }
        })
    }

    /// `[out, in]`: a chunk of outputs at a time, to the columns from `column` on.
    private func packLinear(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ rows: Int, _ outputs: Range<Int>, to column: Int,
                            _ writer: PackedMatrix.Writer) throws {
        let shift = column - outputs.lowerBound
        try forEachChunk(of: entry, element, outputs, width: rows) { chunk, bytes in
            try writer.pack(rows: 0..<rows, columns: chunk.lowerBound + shift..<chunk.upperBound + shift, from: bytes, element,
                            rowStride: 1, columnStride: rows)
        }
    }

    /// `[in, out]`: a chunk of inputs at a time, to the columns from `column` on.
    private func packConv1D(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ rows: Int, _ outputs: Range<Int>, to column: Int,
                            _ writer: PackedMatrix.Writer) throws {
        let width = entry.shape[1]
        try forEachChunk(of: entry, element, 0..<rows, width: width) { chunk, bytes in
            try writer.pack(rows: chunk, columns: column..<column + outputs.count, from: bytes + outputs.lowerBound * element.byteCount, element,
                            rowStride: width, columnStride: 1)
        }
    }

    /// A parameter `[head, width]` with a tensor for each head.
    private func pieces(_ rule: WeightRule, _ spec: ParameterSpec, _ unused: inout Set<String>) throws -> Tensor {
        var values = Tensor(zeros: spec.shape)
        for (head, source) in rule.sources(for: spec.shape).enumerated() {
            guard let name = stored(source) else {
                throw LensError(.weights, "missing tensor", at: tensors.location, expected: usual(source))
            }
            unused.remove(name)
            let entry = try tensors.requireEntry(name)
            try values.set(.at(head), to: plain(rule, entry, element(of: entry), shape: Array(spec.shape.dropFirst())))
        }
        return values
    }

    /// Vectors and tables, converted to float32.
    private func plain(_ rule: WeightRule, _ entry: TensorEntry, _ element: PackedMatrix.Element, shape: [Int]) throws -> Tensor {
        let count = shape.reduce(1, *)
        // A bias of heads is one row in the file: what must agree is the number of elements, and for tables the shape.
        let isTable = shape.count == 2 && (rule.parameter.contains("embed.") || rule.parameter.hasSuffix(".rel_pos_bias.weight"))
        let total = rule.outputs.total(for: count)
        let stored = isTable ? [total / shape[1], shape[1]] : [total]
        // Or the parameter's own shape; a single number may have axes of one.
        let isWhole = total == count && (entry.shape == shape || (count == 1 && entry.shape.allSatisfy { $0 == 1 }))
        guard entry.shape == stored || isWhole else { throw misshapen(entry.name, stored, entry.shape) }
        var values = Tensor(zeros: shape)
        try values.withUnsafeMutableElements { destination in
            guard var base = destination.baseAddress else { return }
            for outputs in rule.outputs.ranges(for: count) {
                try forEachChunk(of: entry, element, outputs, width: 1) { chunk, bytes in
                    convert(bytes, element, count: chunk.count, to: base + (chunk.lowerBound - outputs.lowerBound))
                }
                base += outputs.count
            }
            if case .none = rule.change { return }
            for index in destination.indices { destination[index] = rule.change(destination[index]) }
        }
        return values
    }

    /// Reads rows `range` (of `width` elements each) in chunks: `body` gets the rows of a chunk and their bytes.
    private func forEachChunk(of entry: TensorEntry, _ element: PackedMatrix.Element, _ range: Range<Int>, width: Int,
                              _ body: (Range<Int>, UnsafeRawPointer) throws -> Void) throws {
        let rowBytes = width * element.byteCount
        guard rowBytes > 0, !range.isEmpty else { return }
        buffer.grow(to: rowBytes)
        let step = min(range.count, buffer.bytes.count / rowBytes)
        for start in stride(from: range.lowerBound, to: range.upperBound, by: step) {
            let chunk = start..<min(start + step, range.upperBound)
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<(chunk.count * rowBytes)])
            try tensors.read(entry.name, elementOffset: chunk.lowerBound * width, elementCount: chunk.count * width, into: bytes)
            guard let base = bytes.baseAddress else { return }
            try body(chunk, UnsafeRawPointer(base))
        }
    }

    private func element(of entry: TensorEntry) throws -> PackedMatrix.Element {
        switch entry.dtype {
        case .f32: return .float32
        case .f16: return .float16
        case .bf16: return .bfloat16
        case .f64: return .float64
        default:
            throw LensError(.weights, "weights of an unsupported type", at: "\(tensors.location): \(entry.name)",
                            expected: "F32, F16, BF16 or F64", found: entry.dtype.rawValue)
        }
    }

    private func misshapen(_ name: String, _ expected: [Int], _ found: [Int]) -> LensError {
        LensError(.weights, "tensor of the wrong shape", at: "\(tensors.location): \(name)", expected: "\(expected)", found: "\(found)")
    }
}
