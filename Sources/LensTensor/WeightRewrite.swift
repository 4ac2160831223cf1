// Weights rewritten in double precision and rounded once: where they lie if nobody else holds them and they stay in their
// format, else into a place of their own. Never more than a tile of a matrix is in double precision.

import CLensKernels
import LensFiles

/// What becomes of a matrix W[inputs, outputs]: the steps that are wanted, in this order.
package struct MatrixRewrite: Sendable {
    /// Row i is multiplied by `scale[i]`; nil: by 1.
    package var scale: [Double]?
    /// From each column its mean (over the inputs) is taken.
    package var centersInputs = false
    /// From each row its mean (over the outputs) is taken.
    package var centersOutputs = false

    package init(scale: [Double]? = nil) { self.scale = scale }

    package var isNothing: Bool { scale == nil && !centersInputs && !centersOutputs }
}

/// A matrix W[inputs, outputs] of weights, however it is kept.
package enum WeightMatrix: Sendable {
    case packed(PackedMatrix)
    /// `[outputs, inputs]`, as tables of embeddings are: W is its transpose.
    case table(Tensor)

    package var inputs: Int {
        switch self {
        case .packed(let matrix): matrix.rows
        case .table(let table): table.shape[1]
        }
    }

    package var outputs: Int {
        switch self {
        case .packed(let matrix): matrix.columns
        case .table(let table): table.shape[0]
        }
    }

    /// Where a rewritten matrix goes.
    package enum Place: Sendable, Hashable { case packed(WeightFormat), table }

    private var place: Place {
        switch self {
        case .packed(let matrix): .packed(matrix.format)
        case .table: .table
        }
    }

    /// `row · W`, of W as `rewrite` would leave it: a number for each output.
    /// - Throws: `LensError(.shape)` for another length.
    package func product(of row: [Double], after rewrite: MatrixRewrite = MatrixRewrite()) throws -> [Double] {
        guard row.count == inputs else {
            throw LensError(.shape, "row of another length", expected: "\(inputs) numbers", found: "\(row.count)")
        }
        // Each step is linear, so it may be taken on the product instead.
        let factors = rewrite.scale.map { zip($0, row).map(*) } ?? row
        var result = try columnSums(factors)
        if rewrite.centersInputs, inputs > 0 {
            let share = row.reduce(0, +) / Double(inputs)
            for (output, sum) in try columnSums(rewrite.scale).enumerated() { result[output] -= share * sum }
        }
        if rewrite.centersOutputs, outputs > 0 {
            let mean = result.reduce(0, +) / Double(outputs)
            for output in result.indices { result[output] -= mean }
        }
        return result
    }

    /// The matrix rewritten, in `place`. One that only the caller holds is rewritten where it lies, if that is the place.
    /// - Parameter elsewhere: true: never where it lies.
    /// - Throws: `LensError(.shape)` for factors of another number; what making a matrix throws.
    package consuming func rewritten(_ rewrite: MatrixRewrite, in place: Place, elsewhere: Bool = false) throws -> WeightMatrix {
        guard rewrite.scale == nil || rewrite.scale?.count == self.inputs else {
            throw LensError(.shape, "factors of another number", expected: "\(self.inputs)", found: "\(rewrite.scale?.count ?? 0)")
        }
        let offsets = try rowOffsets(rewrite), isHere = place == self.place && !elsewhere, inputs = self.inputs, outputs = self.outputs
        switch consume self {
        case .packed(var matrix):
            if isHere, isKnownUniquelyReferenced(&matrix) {
                try matrix.withWeights { try Self.run(rewrite, offsets, from: $0, to: $0) }
                return .packed(matrix)
            }
            return try matrix.withWeights { try Self.made(rewrite, offsets, from: $0, place, inputs, outputs) }
        case .table(var table):
            if isHere {
                // Copied first where others hold it.
                try table.withWeights { try Self.run(rewrite, offsets, from: $0, to: $0) }
                return .table(table)
            }
            return try table.withWeights { try Self.made(rewrite, offsets, from: $0, place, inputs, outputs) }
        }
    }

    private static func made(_ rewrite: MatrixRewrite, _ offsets: [Double]?, from: UnsafePointer<lens_weights>, _ place: Place, _ inputs: Int,
                             _ outputs: Int) throws -> WeightMatrix {
        switch place {
        case .packed(let format):
            guard format.packsNumbers else { throw LensError(.usage, "numbers are not packed into this format", found: format.rawValue) }
            return .packed(try PackedMatrix(rows: inputs, columns: outputs, format: format) { writer in
                try writer.withWeights { try run(rewrite, offsets, from: from, to: $0) }
            })
        case .table:
            var table = try Tensor(uninitialized: [outputs, inputs], recycled: false)
            try table.withWeights { try run(rewrite, offsets, from: from, to: $0) }
            return .table(table)
        }
    }

    /// What is taken from each row last: its mean over the outputs, once it is scaled and columns are centred.
    private func rowOffsets(_ rewrite: MatrixRewrite) throws -> [Double]? {
        guard rewrite.centersOutputs, outputs > 0, inputs > 0 else { return nil }
        let isa = try Kernels.isa()
        var means = [Double](repeating: 0, count: inputs)
        try withWeights { lens_row_sums(isa, $0, &means) }
        for input in means.indices { means[input] *= (rewrite.scale?[input] ?? 1) / Double(outputs) }
        guard rewrite.centersInputs else { return means }
        let mean = means.reduce(0, +) / Double(inputs)
        return means.map { $0 - mean }
    }

    private func columnSums(_ factors: [Double]?) throws -> [Double] {
        let isa = try Kernels.isa()
        var sums = [Double](repeating: 0, count: outputs)
        try withWeights { weights in
            if let factors { lens_column_sums(isa, weights, factors, &sums) } else { lens_column_sums(isa, weights, nil, &sums) }
        }
        return sums
    }

    private static func run(_ rewrite: MatrixRewrite, _ offsets: [Double]?, from: UnsafePointer<lens_weights>, to: UnsafePointer<lens_weights>) throws {
        let isa = try Kernels.isa()
        withOptional(rewrite.scale) { scale in
            withOptional(offsets) { lens_rewrite(isa, from, to, scale, rewrite.centersInputs, $0) }
        }
    }

    private static func withOptional(_ numbers: [Double]?, _ body: (UnsafePointer<Double>?) -> Void) {
        guard let numbers else { return body(nil) }
        numbers.withUnsafeBufferPointer { body($0.baseAddress) }
    }

    /// For reading.
    private func withWeights<R>(_ body: (UnsafePointer<lens_weights>) throws -> R) throws -> R {
        switch self {
        case .packed(let matrix): return try matrix.withWeights(body)
        case .table(let table):
            return try table.withUnsafeElements { elements in
                try withPlainWeights(UnsafeMutablePointer(mutating: elements.baseAddress), table.shape, body)
            }
        }
    }
}

private func withPlainWeights<R>(_ values: UnsafeMutablePointer<Float>?, _ shape: [Int], _ body: (UnsafePointer<lens_weights>) throws -> R) rethrows -> R {
    var weights = lens_weights(k: Int64(shape[1]), n: Int64(shape[0]), packed: nil, values: values, k_stride: 1, n_stride: Int64(shape[1]))
    return try withUnsafePointer(to: &weights, body)
}

private func withPackedWeights<R>(_ matrix: UnsafePointer<lens_matrix>, _ body: (UnsafePointer<lens_weights>) throws -> R) rethrows -> R {
    var weights = lens_weights(k: matrix.pointee.k, n: matrix.pointee.n, packed: matrix, values: nil, k_stride: 0, n_stride: 0)
    return try withUnsafePointer(to: &weights, body)
}

extension PackedMatrix {
    /// Its transpose, `[columns, rows]`, without a copy between; each element times `factor`, rounded.
    package func transposed(times factor: Float = 1) throws -> Tensor {
        let scale = factor == 1 ? nil : [Double](repeating: Double(factor), count: rows)
        guard case .table(let table) = try WeightMatrix.packed(self).rewritten(MatrixRewrite(scale: scale), in: .table) else {
            throw LensError(.machine, "a table that is none")  // unreachable: it is asked for
        }
        return table
    }

    fileprivate func withWeights<R>(_ body: (UnsafePointer<lens_weights>) throws -> R) rethrows -> R {
        try withKernelMatrix { try withPackedWeights($0, body) }
    }
}

extension PackedMatrix.Writer {
    fileprivate func withWeights<R>(_ body: (UnsafePointer<lens_weights>) throws -> R) rethrows -> R {
        try withKernelMatrix { try withPackedWeights($0, body) }
    }
}

extension Tensor {
    /// For writing: its own elements.
    fileprivate mutating func withWeights<R>(_ body: (UnsafePointer<lens_weights>) throws -> R) throws -> R {
        let shape = shape
        return try withUnsafeMutableElements { try withPlainWeights($0.baseAddress, shape, body) }
    }
}
