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
    /// How weights are kept; nil: as the file has them.
    private(set) var dtype: WeightFormat?
    let tensors: any TensorSource
    private let changeRule: (WeightRule) -> WeightRule
    let buffer = ChunkBuffer()

    /// - Parameters:
    ///   - storedConfig: what the file holds, where only a part of it is loaded.
    ///   - dtype: how weights are kept; nil: as the file has them.
    ///   - changeRule: what becomes of the family's rules where the file is not of its usual format.
    init(architecture: Architecture, config: ModelConfig, storedConfig: ModelConfig? = nil, dtype: WeightFormat? = nil,
         tensors: any TensorSource, changeRule: @escaping (WeightRule) -> WeightRule = { $0 }) {
        self.architecture = architecture
        self.changeRule = changeRule
        self.config = config
        self.storedConfig = storedConfig ?? config
        self.dtype = dtype
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

    /// Where a parameter is in the file.
    private struct Place {
        let rule: WeightRule
        /// Its tensors: one, or one for each head.
        let names: [String]
        let spec: ParameterSpec
    }

    /// All parameters.
    /// - Throws: `LensError(.weights)`.
    func load() throws -> Parameters { try stored().all(keeping: dtype) }

    /// The parameters, found and not yet read.
    /// - Throws: `LensError(.weights)` for missing and extra tensors.
    func stored() throws -> StoredParameters {
        let places = try places()
        return StoredParameters(config, at: tensors.location, isQuantized: tensors.names.contains { tensors.blockType($0) != nil }, names: places.keys) { name, dtype in
            guard let place = places[name] else { throw LensError(.weights, "missing parameter", at: name) }
            var loader = self
            loader.dtype = dtype
            let parameter = try loader.read(place)
            let isCut = name == "pos_embed.W_pos" && storedConfig.position == .learned && config.nCtx < storedConfig.nCtx
            return isCut ? try parameter.firstRows(config.nCtx) : parameter
        }
    }

    private func places() throws -> [String: Place] {
        try storedConfig.checkLayers(against: tensors)
        let rules = architecture.weights(storedConfig).map(changeRule).flatMap { $0.expanded(layers: storedConfig.nLayers) }
        let specs = Dictionary(uniqueKeysWithValues: storedConfig.parameterSpecs.map { ($0.name, $0) })
        var unused = Set(tensors.names)
        var places: [String: Place] = [:]
        for rule in rules {
            guard let spec = specs[rule.parameter] else {
                throw LensError(.weights, "weight map names an unknown parameter", at: rule.parameter)
            }
            // What the configuration says is not there is not taken if it is: it stays an extra tensor.
            guard spec.isExpected else { continue }
            let found = try rule.source.contains("{h}") ? (rule, pieces(rule, spec)) : stored(rule)
            guard let (place, names) = found else {
                throw LensError(.weights, "missing tensor", at: tensors.location,
                                expected: rule.places.flatMap(\.tensors).map(usual).joined(separator: " or "),
                                advice: nearestName(to: usual(rule.source), among: tensors.names.prefix(2_000))
                                    .map { "the nearest name is \($0)" })
            }
            unused.subtract(names)
            if !config.isCutOff(rule.parameter) { places[rule.parameter] = Place(rule: place, names: names, spec: spec) }
        }
        try checkUnused(unused)
        return places
    }

    /// The form of a rule that the file has, and the names of its tensors.
    private func stored(_ rule: WeightRule) -> (place: WeightRule, names: [String])? {
        for place in rule.places {
            if place.form == .mxfp4 {
                let names = place.tensors.compactMap(stored)
                if names.count == place.tensors.count { return (place, names) }
            } else if let name = place.tensors.lazy.compactMap(stored).first {
                return (place, [name])
            }
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

    private func read(_ place: Place) throws -> Parameter {
        let rule = place.rule, names = place.names, spec = place.spec
        if rule.source.contains("{h}") { return .tensor(try joined(rule, names, spec)) }
        if rule.form == .mxfp4 { return try readMXFP4(rule, names, spec) }
        let entry = try tensors.requireEntry(names[0])
        if let kept = try blocks(rule, entry, spec) { return kept }
        let element = try element(of: entry)
        let format = spec.format(dtype ?? element.format, or: element.format == .float32 ? .bfloat16 : element.format)
        if let (rows, columns) = spec.matrixShape {
            return .matrix(try matrix(rule, rule.form == .linear, rule.outputs, entry, element, rows: rows, columns: columns, format))
        }
        // What changes on its way in does so in float32.
        guard format != .float32, case .none = rule.change else {
            let plain = Parameter.tensor(try plain(rule, entry, element, shape: spec.shape))
            return dtype == nil ? plain : try plain.keeping(format)
        }
        // A table is its transpose's matrix.
        return .table(try matrix(rule, true, rule.outputs.rows(of: spec.shape[1]), entry, element, rows: spec.shape[1], columns: spec.shape[0], format))
    }

    private func matrix(_ rule: WeightRule, _ isLinear: Bool, _ outputs: WeightRule.Outputs, _ entry: TensorEntry, _ element: PackedMatrix.Element,
                        rows: Int, columns: Int, _ format: WeightFormat) throws -> PackedMatrix {
        let total = outputs.total(for: columns)
        let offset = try checkedOffset(rule, entry, isLinear ? [total, rows] : [rows, total])
        return try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            var column = 0
            for run in outputs.runs(for: columns) {
                try isLinear ? packLinear(entry, element, offset, rows, run, to: column, writer)
                    : packConv1D(entry, element, offset, rows, width: total, run, to: column, blockRows: format.blockRows, writer)
                column += run.count
            }
        }
    }

    /// Where the rule's part of a tensor begins, in elements, after its shape has been checked.
    func checkedOffset(_ rule: WeightRule, _ entry: TensorEntry, _ stored: [Int]) throws -> Int {
        guard let expert = rule.expert, let count = storedConfig.mlp?.experts?.count else {
            guard entry.shape == stored else { throw misshapen(entry.name, stored, entry.shape) }
            return 0
        }
        guard entry.shape == [count] + stored, expert < count else { throw misshapen(entry.name, [count] + stored, entry.shape) }
        return expert * stored.reduce(1, *)
    }

    /// `[out, in]` from element `offset` on: a chunk of outputs at a time, to the columns from `column` on.
    private func packLinear(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ offset: Int, _ rows: Int, _ run: WeightRule.Outputs.Run,
                            to column: Int, _ writer: PackedMatrix.Writer) throws {
        try forEachChunk(0..<run.count, rowBytes: rows * element.byteCount * run.step) { chunk, bytes in
            let base = try self.rows(of: entry, element, from: offset + run.start * rows, chunk, width: rows, step: run.step, into: bytes)
            try writer.pack(rows: 0..<rows, columns: column + chunk.lowerBound..<column + chunk.upperBound, from: base, element,
                            rowStride: 1, columnStride: rows * run.step)
        }
    }

    /// `[in, out]` from element `offset` on: a chunk of inputs, whole blocks of them, at a time, to the columns from `column` on.
    private func packConv1D(_ entry: TensorEntry, _ element: PackedMatrix.Element, _ offset: Int, _ rows: Int, width: Int,
                            _ run: WeightRule.Outputs.Run, to column: Int, blockRows: Int, _ writer: PackedMatrix.Writer) throws {
        try forEachChunk(0..<rows, rowBytes: width * element.byteCount, multipleOf: blockRows) { chunk, bytes in
            let base = try self.rows(of: entry, element, from: offset, chunk, width: width, into: bytes)
            try writer.pack(rows: chunk, columns: column..<column + run.count, from: base + run.start * element.byteCount, element,
                            rowStride: width, columnStride: run.step)
        }
    }

    /// Reads rows `chunk` of `width` elements, `step` rows apart, counted from element `offset`: from the first to the last of them.
    private func rows(of entry: TensorEntry, _ element: PackedMatrix.Element, from offset: Int, _ chunk: Range<Int>, width: Int, step: Int = 1,
                      into bytes: UnsafeMutableRawBufferPointer) throws -> UnsafeRawPointer {
        let count = ((chunk.count - 1) * step + 1) * width, room = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * element.byteCount)])
        try tensors.read(entry.name, elementOffset: offset + chunk.lowerBound * step * width, elementCount: count, into: room)
        guard let base = room.baseAddress else { throw LensError(.machine, "no buffer", at: entry.name) }  // unreachable: chunks are not empty
        return UnsafeRawPointer(base)
    }

    /// A tensor quantised in blocks, which run along its inputs: they stay as they are, unless another format is asked for. nil
    /// for one that is read as numbers.
    private func blocks(_ rule: WeightRule, _ entry: TensorEntry, _ spec: ParameterSpec) throws -> Parameter? {
        guard let type = tensors.blockType(entry.name), let format = WeightFormat(rawValue: type.name), dtype == nil || dtype == format,
              rule.form != .conv1D, rule.expert == nil, rule.outputs.isContiguous, case .none = rule.change else { return nil }
        let shape = spec.matrixShape ?? (spec.isTable ? (rows: spec.shape[1], columns: spec.shape[0]) : nil)
        guard let (rows, columns) = shape, format.fits(rows: rows) else { return nil }
        let outputs = spec.isTable ? rule.outputs.rows(of: rows) : rule.outputs
        let stored = [outputs.total(for: columns), rows]
        guard entry.shape == stored else { throw misshapen(entry.name, stored, entry.shape) }
        let matrix = try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            var column = 0
            for run in outputs.runs(for: columns) {
                let outputs = run.start..<run.start + run.count, shift = column - run.start
                try forEachChunk(outputs, rowBytes: rows / format.blockRows * format.blockBytes) { chunk, bytes in
                    try tensors.readBlocks(entry.name, elementOffset: chunk.lowerBound * rows, elementCount: chunk.count * rows, into: bytes)
                    try writer.packBlocks(columns: chunk.lowerBound + shift..<chunk.upperBound + shift, from: UnsafeRawBufferPointer(bytes))
                }
                column += outputs.count
            }
        }
        return spec.matrixShape == nil ? .table(matrix) : .matrix(matrix)
    }

    /// The tensors of a parameter `[head, width]` that has one for each head.
    private func pieces(_ rule: WeightRule, _ spec: ParameterSpec) throws -> [String] {
        try rule.sources(for: spec.shape).map { source in
            guard let name = stored(source) else {
                throw LensError(.weights, "missing tensor", at: tensors.location, expected: usual(source))
            }
            return name
        }
    }

    private func joined(_ rule: WeightRule, _ names: [String], _ spec: ParameterSpec) throws -> Tensor {
        var values = Tensor(zeros: spec.shape)
        for (head, name) in names.enumerated() {
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
        let offset = isWhole ? 0 : try checkedOffset(rule, entry, stored)
        var values = Tensor(zeros: shape)
        try values.withUnsafeMutableElements { destination in
            guard var base = destination.baseAddress else { return }
            for run in rule.outputs.runs(for: count) {
                try forEachChunk(0..<run.count, rowBytes: element.byteCount * run.step) { chunk, bytes in
                    let read = try rows(of: entry, element, from: offset + run.start, chunk, width: 1, step: run.step, into: bytes)
                    guard run.step > 1 else { return convert(read, element, count: chunk.count, to: base + chunk.lowerBound) }
                    for index in chunk.indices {
                        convert(read + (index - chunk.lowerBound) * run.step * element.byteCount, element, count: 1, to: base + index)
                    }
                }
                base += run.count
            }
            if case .none = rule.change { return }
            for index in destination.indices { destination[index] = rule.change(destination[index]) }
        }
        return values
    }

    /// Rows `range` in chunks of `multipleOf` rows or a multiple of that: `body` gets a chunk's rows and room for their bytes.
    private func forEachChunk(_ range: Range<Int>, rowBytes: Int, multipleOf: Int = 1,
                              _ body: (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void) throws {
        guard rowBytes > 0, !range.isEmpty else { return }
        buffer.grow(to: rowBytes * multipleOf)
        let step = buffer.bytes.count / rowBytes / multipleOf * multipleOf
        for start in stride(from: range.lowerBound, to: range.upperBound, by: step) {
            let chunk = start..<min(start + step, range.upperBound)
            try body(chunk, UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<(chunk.count * rowBytes)]))
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
