// In which format each parameter is kept: what is asked for where it can be had, and a list that says what was done.
//
// Biases and norms stay float32, as do tables other than the token embeddings when the rest is quantised (as in GGUF files).
// A matrix whose rows do not fill the blocks of a quantised format is kept in two bytes instead: in the file's own type, or
// bfloat16.

import LensFiles
import LensTensor

extension ParameterSpec {
    /// A table `[rows, width]` that rows are looked up in.
    package var isTable: Bool {
        kind == .plain && shape.count == 2 && name.contains("embed.") && (name.split(separator: ".").last?.hasPrefix("W_") ?? false)
    }

    /// A shape that this matrix or table may be seen in, and which axes of it are what a product takes in and what it gives; nil
    /// for outputs of several axes.
    var sides: (shape: [Int], inputs: Int, outputs: Int?) {
        switch kind {
        case .matrix: (shape, 0, 1)
        case .plain, .linear: (shape, 1, 0)
        case .headsOut: (shape, 1, nil)
        case .headsIn: ([shape[0] * shape[1], shape[2]], 0, 1)
        }
    }

    /// The format that this parameter is kept in where `format` is asked for.
    /// - Parameter twoBytes: what a matrix that does not fit a quantised format is kept in.
    package func format(_ format: WeightFormat, or twoBytes: WeightFormat = .bfloat16) -> WeightFormat {
        let rows: Int
        if let shape = matrixShape {
            rows = shape.rows
        } else if isTable {
            guard !format.isQuantized || name.hasSuffix("W_E") else { return .float32 }
            rows = shape[1]
        } else {
            return .float32
        }
        return format.fits(rows: rows) ? format : twoBytes
    }
}

/// How one parameter is kept.
public struct KeptParameter: Sendable, Hashable {
    public let name: String
    /// TransformerLens' shape.
    public let shape: [Int]
    public let format: WeightFormat
    /// What activations are in products with it.
    public let activations: ActivationFormat
    /// Bytes held for it.
    public let byteCount: Int
}

extension Parameter {
    /// The format it is kept in.
    public var format: WeightFormat {
        switch self {
        case .tensor: return .float32
        case .matrix(let matrix), .table(let matrix): return matrix.format
        }
    }

    /// Bytes held.
    public var byteCount: Int {
        switch self {
        case .tensor(let tensor): return 4 * tensor.count
        case .matrix(let matrix), .table(let matrix): return matrix.byteCount
        }
    }
}

extension Parameters {
    /// Every parameter held and how, in TransformerLens' order; tied embeddings are W_U alone, absent biases are not there.
    public var kept: [KeptParameter] {
        names.compactMap { name in
            guard let value = values[name], let spec = specs[name] else { return nil }
            let isRounding = spec.matrixShape != nil && value.format.isQuantized
            return KeptParameter(name: name, shape: spec.shape, format: value.format, activations: isRounding ? activations : .float32,
                                 byteCount: value.byteCount)
        }
    }

    /// The format most bytes are in.
    public var format: WeightFormat {
        var bytes: [WeightFormat: Int] = [:]
        for value in values.values { bytes[value.format, default: 0] += value.byteCount }
        return WeightFormat.allCases.max { bytes[$0, default: 0] < bytes[$1, default: 0] } ?? .float32
    }

    /// Whether any parameter is kept in quantised blocks.
    public var isQuantized: Bool { values.values.contains { $0.format.isQuantized } }

    /// Whether any matrix that is multiplied by is.
    private var multipliesQuantized: Bool { specs.contains { $1.matrixShape != nil && values[$0]?.format.isQuantized == true } }

    /// The same parameters, shared, for products that take activations so where weights are quantised.
    /// - Throws: `LensError(.usage)` for rounded activations where no matrix is quantised: nothing would be rounded.
    public func multiplying(_ activations: ActivationFormat) throws -> Parameters {
        guard activations == .float32 || multipliesQuantized else {
            throw LensError(.usage, "\(activations) activations are for quantised weights", at: config.modelName,
                            expected: "matrices in q8_0 or another quantised format", found: "most weights in \(format)", advice: "quantise them as they are loaded (LoadOptions.dtype, --dtype q8_0)")
        }
        var copy = self
        copy.activations = activations
        return copy
    }

    /// The parameters kept in another format: rounded to the nearest (two bytes) or quantised as ggml does (`q8_0`, `q4_0`).
    /// - Throws: `LensError(.usage)` for a format that numbers are not packed into.
    public func keeping(_ format: WeightFormat) throws -> Parameters {
        guard format.packsNumbers else {
            throw LensError(.usage, "weights are not quantised to this format here", expected: WeightFormat.loadable.map(\.rawValue).joined(separator: ", "),
                            found: format.rawValue)
        }
        var copy = self
        try copy.keep(format)
        if !copy.multipliesQuantized { copy.activations = .float32 }
        return copy
    }

    /// The same, one parameter after another, each let go.
    mutating func keep(_ format: WeightFormat) throws {
        for (name, spec) in specs {
            guard let value = values.removeValue(forKey: name) else { continue }
            // A two-byte type that a matrix is in already is no worse a place for it than another.
            let fallback = value.format.blockBytes == 2 ? value.format : .bfloat16
            values[name] = try (consume value).keeping(spec.format(format, or: fallback))
        }
    }
}

extension Parameters {
    /// Puts a parameter in the place of another, which is let go: numbers in TransformerLens' shape, rounded once, to what they
    /// are kept in where `format` is asked for.
    /// - Throws: `LensError(.weights)` for an unknown name or another number of elements.
    mutating func replace(_ name: String, with numbers: [Double], keeping format: WeightFormat) throws {
        guard let spec = specs[name], numbers.count == spec.shape.reduce(1, *) else {
            throw LensError(.weights, "not the numbers of a parameter", at: name, found: "\(numbers.count) numbers")
        }
        values[name] = nil
        let format = spec.format(format)
        let (rows, columns) = spec.matrixShape ?? (spec.isTable ? (spec.shape[1], spec.shape[0]) : (0, 0))
        guard columns > 0, spec.matrixShape != nil || format != .float32 else {
            values[name] = .tensor(try Tensor(numbers.map { Float($0) }, shape: spec.shape))
            return
        }
        let matrix = try numbers.withUnsafeBytes { bytes in
            try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
                guard let base = bytes.baseAddress else { return }
                switch spec.kind {
                case .plain, .linear: // a table, or a layer as torch keeps it: its transpose
                    try writer.pack(rows: 0..<rows, columns: 0..<columns, from: base, .float64, rowStride: 1, columnStride: rows)
                case .matrix, .headsIn:
                    try writer.pack(rows: 0..<rows, columns: 0..<columns, from: base, .float64, rowStride: columns, columnStride: 1)
                case .headsOut:
                    let width = spec.shape[2]
                    for head in 0..<spec.shape[0] {
                        try writer.pack(rows: 0..<rows, columns: head * width..<(head + 1) * width, from: base + 8 * head * rows * width, .float64,
                                        rowStride: width, columnStride: 1)
                    }
                }
            }
        }
        values[name] = spec.matrixShape == nil ? .table(matrix) : .matrix(matrix)
    }
}

extension Parameters {
    /// A parameter as a matrix of a product; nil for one that is a vector, or absent.
    func weightMatrix(_ name: String) -> WeightMatrix? {
        switch values[name] {
        case .matrix(let matrix)?, .table(let matrix)?: return .packed(matrix)
        case .tensor(let table)? where specs[name]?.isTable == true: return .table(table)
        default: return nil
        }
    }

    /// Rewrites a matrix or a table, in double precision and rounded once, to what it is kept in where `format` is asked for:
    /// where it lies, if nobody else holds it and it is in that format already.
    /// - Throws: `LensError(.weights)` for a parameter that is neither.
    mutating func rewrite(_ name: String, _ rewrite: MatrixRewrite, keeping format: WeightFormat) throws {
        guard let spec = specs[name], let matrix = weightMatrix(name) else {
            throw LensError(.weights, "no matrix", at: name)
        }
        let kept = spec.format(format), place = spec.matrixShape == nil && kept == .float32 ? WeightMatrix.Place.table : .packed(kept)
        values[name] = nil
        switch try (consume matrix).rewritten(rewrite, in: place) {
        case .packed(let matrix): values[name] = spec.matrixShape == nil ? .table(matrix) : .matrix(matrix)
        case .table(let table): values[name] = .tensor(table)
        }
    }
}

extension Parameters {
    /// Makes a table of a matrix that has a column for each of its rows, rewritten; the matrix stays.
    mutating func copyTable(_ name: String, from source: String, _ rewrite: MatrixRewrite, keeping format: WeightFormat) throws {
        guard let spec = specs[name], let matrix = weightMatrix(source) else { throw LensError(.weights, "no matrix", at: source) }
        let kept = spec.format(format)
        switch try matrix.rewritten(rewrite, in: kept == .float32 ? .table : .packed(kept), elsewhere: true) {
        case .packed(let matrix): values[name] = .table(matrix)
        case .table(let table): values[name] = .tensor(table)
        }
    }
}

extension Parameter {
    /// In another format. Tables are plain in float32 and packed in all others.
    package func keeping(_ format: WeightFormat) throws -> Parameter {
        switch self {
        case .matrix(let matrix): return .matrix(try matrix.keeping(format))
        case .table(let matrix) where format == .float32: return .tensor(try matrix.transposed())
        case .table(let matrix): return .table(try matrix.keeping(format))
        case .tensor(let tensor) where format == .float32: return .tensor(tensor)
        case .tensor(let tensor): return .table(try PackedMatrix(tensor.permuted(1, 0), format: format))
        }
    }

    /// A table's first `count` rows.
    package func firstRows(_ count: Int) throws -> Parameter {
        switch self {
        case .tensor(let tensor): return .tensor(try tensor.at(.upTo(count)).copied())
        case .table(let matrix): return .table(try matrix.firstColumns(count))
        case .matrix: return self
        }
    }
}

extension Transformer {
    /// The same model, its weights kept in another format: half the memory in two bytes, about a quarter in `q8_0`, an eighth
    /// in `q4_0`. What it computes is exact about what is then kept.
    /// - Throws: `LensError(.usage)` for a format that numbers are not packed into.
    public func keeping(_ format: WeightFormat) throws -> Transformer {
        try Transformer(config: config, parameters: parameters.keeping(format), processing: processing)
    }

    /// The same model, weights shared, whose products take activations so where weights are quantised: rounded to eight bits
    /// (`.int8`) prompts are read faster, most of all where the processor has VNNI.
    /// - Throws: `LensError(.usage)` for rounded activations where no matrix is quantised.
    public func multiplying(_ activations: ActivationFormat) throws -> Transformer {
        try Transformer(config: config, parameters: parameters.multiplying(activations), processing: processing)
    }
}
