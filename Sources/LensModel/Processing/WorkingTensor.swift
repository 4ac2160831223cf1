// A parameter in double precision while it is rewritten: vectors, and the matrices that a step rewrites number by number
// (the others stay packed: LensTensor's MatrixRewrite). Each operation sees the tensor as `[outer, axis, inner]` around one
// axis, so one loop serves `[head, d_model, d_head]` and `[d_model, d_mlp]` alike.

import LensFiles
import LensTensor

/// A parameter in TransformerLens' shape, in double precision.
struct WorkingTensor {
    let shape: [Int]
    private(set) var values: [Double]

    init(_ tensor: Tensor) throws {
        shape = tensor.shape
        values = try tensor.withUnsafeElements { elements in
            [Double](unsafeUninitializedCapacity: elements.count) { buffer, written in
                for index in 0..<elements.count { buffer[index] = Double(elements[index]) }
                written = elements.count
            }
        }
    }

    init(_ values: [Double], shape: [Int]) {
        self.values = values
        self.shape = shape
    }

    init(zeros shape: [Int]) { self.init([Double](repeating: 0, count: shape.reduce(1, *)), shape: shape) }

    var isZero: Bool { values.allSatisfy { $0 == 0 } }

    /// The tensor seen around one axis.
    private func sizes(around axis: Int) -> (outer: Int, axis: Int, inner: Int) {
        (shape[..<axis].reduce(1, *), shape[axis], shape[(axis + 1)...].reduce(1, *))
    }

    /// Multiplies along `axis`: `x[o, a, i] *= factors[a]`.
    mutating func scale(_ axis: Int, by factors: [Double]) {
        let (outer, size, inner) = sizes(around: axis)
        values.withUnsafeMutableBufferPointer { x in
            for o in 0..<outer {
                for a in 0..<size {
                    let start = (o * size + a) * inner, factor = factors[a]
                    for index in start..<start + inner { x[index] *= factor }
                }
            }
        }
    }

    /// Subtracts the mean over `axis`.
    mutating func center(_ axis: Int) {
        let (outer, size, inner) = sizes(around: axis)
        guard size > 0 else { return }
        var means = [Double](repeating: 0, count: inner)
        values.withUnsafeMutableBufferPointer { x in
            means.withUnsafeMutableBufferPointer { means in
                for o in 0..<outer {
                    means.update(repeating: 0)
                    for a in 0..<size {
                        let start = (o * size + a) * inner
                        for i in 0..<inner { means[i] += x[start + i] }
                    }
                    for i in 0..<inner { means[i] /= Double(size) }
                    for a in 0..<size {
                        let start = (o * size + a) * inner
                        for i in 0..<inner { x[start + i] -= means[i] }
                    }
                }
            }
        }
    }

    /// The product of a row with the matrix along `axis`: `[o, i] = Σ_a row[a] · x[o, a, i]`, outer by outer.
    func product(of row: [Double], along axis: Int) -> [Double] {
        let (outer, size, inner) = sizes(around: axis)
        var result = [Double](repeating: 0, count: outer * inner)
        result.withUnsafeMutableBufferPointer { result in
            values.withUnsafeBufferPointer { x in
                for o in 0..<outer {
                    for a in 0..<size where row[a] != 0 {
                        let start = (o * size + a) * inner
                        for i in 0..<inner { result[o * inner + i] += row[a] * x[start + i] }
                    }
                }
            }
        }
        return result
    }

    /// As the kernels rewrite a matrix that is not unpacked, for one that is.
    /// - Throws: `LensError(.usage)` for outputs that are no axis of their own.
    mutating func rewrite(_ rewrite: MatrixRewrite, of spec: ParameterSpec) throws {
        let (shape, inputs, outputs) = spec.sides
        var view = WorkingTensor(values, shape: shape)
        values = []
        if let scale = rewrite.scale { view.scale(inputs, by: scale) }
        if rewrite.centersInputs { view.center(inputs) }
        if rewrite.centersOutputs {
            guard let outputs else { throw LensError(.usage, "outputs of several axes are not centred", at: spec.name) }  // unreachable: no step asks for it
            view.center(outputs)
        }
        values = view.values
    }

    /// Adds element by element.
    mutating func add(_ other: [Double]) {
        for index in values.indices { values[index] += other[index] }
    }

    /// Puts elements in place of others, by their row-major places.
    mutating func replace(_ range: Range<Int>, with elements: ArraySlice<Double>) { values.replaceSubrange(range, with: elements) }

    /// Every element the same.
    mutating func fill(_ value: Double) { values = [Double](repeating: value, count: values.count) }
}
