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
    let buffer = ChunkBuffer()

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
    final class ChunkBuffer {
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
            guard let (place, names) = stored(rule) else {
                throw LensError(.weights, "missing tensor", at: tensors.location,
                                expected: rule.places.flatMap(\.tensors).map(usual).joined(separator: " or "),
                                advice: nearestName(to: usual(rule.source), among: tensors.names.prefix(2_000))
                                    .map { "the nearest name is \($0)" })
            }
            unused.subtract(names)
            if config.isCutOff(rule.parameter) { continue }
            values[rule.parameter] = try read(place, names, spec)
        }
        if storedConfig.position == .learned, config.nCtx < storedConfig.nCtx, case .tensor(let positions)? = values["pos_embed.W_pos"] {
            values["pos_embed.W_pos"] = .tensor(try positions.at(.upTo(config.nCtx)).copied())
        }
        try checkUnused(unused)
        do { return try Parameters(values, for: config) } catch let error as LensError { throw error.located(in: tensors.location) }
    }

    /// The form of a rule that the file has, and the names of its tensors.
    private func stored(_ rule: WeightRule) -> (place: WeightRule, names: [String])? {
        for place in rule.places {
            if place.form == .mxfp4 {
                guard let blocks = stored(place.source + "_blocks"), let scales = stored(place.source + "_scales") else { continue }
                return (place, [blocks, scales])
            }
            if let name = stored(place.source) ?? place.otherSource.flatMap(stored) { return (place, [name]) }
        }
        return nil
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

    private func read(_ rule: WeightRule, _ names: [String], _ spec: ParameterSpec) throws -> Parameter {
        if rule.form == .mxfp4 { return try readMXFP4(rule, names, spec) }
        let name = names[0], entry = try tensors.requireEntry(name)
        let element = try element(of: entry)
        guard let (rows, columns) = spec.matrixShape else { return .tensor(try plain(rule, entry, element, shape: spec.shape)) }
        let total = rule.outputs.total(for: columns)
        let stored = rule.form == .linear ? [total, rows] : [rows, total]
        let offset = try checkedOffset(rule, entry, stored)
        return .matrix(try PackedMatrix(rows: rows, columns: columns) { writer in
            var column = 0
            for run in rule.outputs.runs(for: columns) {
                try rule.form == .linear ? packLinear(entry, element, offset, rows, run, to: column, writer)
                    : packConv1D(entry, element, offset, rows, width: total, run, to: column, writer)
                column += run.count
            }
        })
    }

    /// Where the rule's part of a tensor begins, in elements, after its shape has been checked.
    func checkedOffset(_ rule: WeightRule, _ entry: TensorEntry, _ stored: [Int]) throws -> Int {
        guard let expert = rule.expert, let count = config.mlp?.experts?.count else {
            guard entry.shape == stored else { throw misshapen(entry.name, stored, entry.shape) }
            return 0
        }
        guard entry.shape == [count] + stored, expert < count else { throw misshapen(entry.name, [count] + stored, entry.shape) }
        return expert * stored.reduce(1, *)
    }

    /// `[out, in]` from element `offset` on: a chunk of outputs at a time, to the columns from `column` on.
    private func packLinear(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ offset: Int, _ rows: Int, _ run: WeightRule.Outputs.Run,
                            to column: Int, _ writer: PackedMatrix.Writer) throws {
        try forEachChunk(of: entry, element, from: offset + run.start * rows, 0..<run.count, width: rows, step: run.step) { chunk, bytes in
            try writer.pack(rows: 0..<rows, columns: column + chunk.lowerBound..<column + chunk.upperBound, from: bytes, element,
                            rowStride: 1, columnStride: rows * run.step)
        }
    }

    /// `[in, out]` from element `offset` on: a chunk of inputs at a time, to the columns from `column` on.
    private func packConv1D(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ offset: Int, _ rows: Int, width: Int,
                            _ run: WeightRule.Outputs.Run, to column: Int, _ writer: PackedMatrix.Writer) throws {
        try forEachChunk(of: entry, element, from: offset, 0..<rows, width: width) { chunk, bytes in
            try writer.pack(rows: chunk, columns: column..<column + run.count, from: bytes + run.start * element.byteCount, element,
                            rowStride: width, columnStride: run.step)
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
        let isTable = shape.count == 2 && rule.parameter.contains("embed.")
        let total = rule.outputs.total(for: count)
        let stored = isTable ? [total / shape[1], shape[1]] : [total]
        // Or the parameter's own shape; a single number may have axes of one.
        let isWhole = total == count && (entry.shape == shape || (count == 1 && entry.shape.allSatisfy { $0 == 1 }))
        let offset = isWhole ? 0 : try checkedOffset(rule, entry, stored)
        var values = Tensor(zeros: shape)
        try values.withUnsafeMutableElements { destination in
            guard var base = destination.baseAddress else { return }
            for run in rule.outputs.runs(for: count) {
                try forEachChunk(of: entry, element, from: offset + run.start, 0..<run.count, width: 1, step: run.step) { chunk, bytes in
                    guard run.step > 1 else { return convert(bytes, element, count: chunk.count, to: base + chunk.lowerBound) }
                    for index in chunk {
                        convert(bytes + (index - chunk.lowerBound) * run.step * element.byteCount, element, count: 1, to: base + index)
                    }
                }
                base += run.count
            }
            if case .none = rule.change { return }
            for index in destination.indices { destination[index] = rule.change(destination[index]) }
        }
        return values
    }

    /// Reads rows `range` of `width` elements each, `step` rows apart, counted from element `offset`, in chunks: `body` gets the
    /// rows of a chunk and the bytes from the first to the last of them.
    private func forEachChunk(of entry: TensorEntry, _ element: PackedMatrix.Element, from offset: Int, _ range: Range<Int>, width: Int, step: Int = 1,
                              _ body: (Range<Int>, UnsafeRawPointer) throws -> Void) throws {
        let rowBytes = width * element.byteCount
        guard rowBytes > 0, !range.isEmpty else { return }
        buffer.grow(to: rowBytes)
        let most = max(1, buffer.bytes.count / rowBytes / step)
        for start in stride(from: range.lowerBound, to: range.upperBound, by: most) {
            let chunk = start..<min(start + most, range.upperBound), rows = (chunk.count - 1) * step + 1
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<(rows * rowBytes)])
            try tensors.read(entry.name, elementOffset: offset + start * step * width, elementCount: rows * width, into: bytes)
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

    func misshapen(_ name: String, _ expected: [Int], _ found: [Int]) -> LensError {
        LensError(.weights, "tensor of the wrong shape", at: "\(tensors.location): \(name)", expected: "\(expected)", found: "\(found)")
    }
}
