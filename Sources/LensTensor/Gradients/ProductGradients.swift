// Products with packed weights, in reverse: gradients of what is multiplied, from the same panels in any format; of the
// weights, where they are float32 and tracked; and of what rides on a product.

import CLensKernels
import LensFiles

/// What a product's pullback needs: nothing that is tracked.
struct ProductPullback: Sendable {
    let matrix: PackedMatrix
    let rows: Range<Int>
    /// `[…, rows.count]`; nil if the gradient of the weights is not asked for.
    let x: Tensor?
    let xShape: [Int]
    let activation: Activation?
    /// `x·W + bias`, where an activation or a gate takes it.
    let linear: Tensor?
    let gate: Tensor?
    let residualShape: [Int]?

    /// - Parameter request: gradients of `out` and, if it was kept, `linear`.
    /// - Returns: gradients of x, the weights, bias, gate and residual.
    func callAsFunction(_ request: GraphNode.Request) throws -> [Tensor?] {
        let wants = request.wants, out = request.outputs[0]
        var linearGradient: Tensor?, gateGradient: Tensor?
        if let out, wants[0..<4].contains(true) { (linearGradient, gateGradient) = try throughActivation(out, wantsGate: wants[3]) }
        if request.outputs.count > 1, let direct = request.outputs[1] { linearGradient = try linearGradient.map { try $0 + direct } ?? direct }
        let residual = try wants[4] ? residualShape.flatMap { shape in try out?.reshaped(shape) } : nil
        guard let linearGradient else { return [nil, nil, nil, gateGradient, residual] }
        let (ofInput, ofWeights) = try throughProduct(linearGradient, wantsInput: wants[0], wantsWeights: wants[1])
        return [ofInput, ofWeights, wants[2] ? try linearGradient.summed(to: [matrix.columns]) : nil, gateGradient, residual]
    }

    /// Gradients of x and the weights. Rows of zeros, as a loss on last positions leaves them, are not multiplied.
    private func throughProduct(_ gradient: Tensor, wantsInput: Bool, wantsWeights: Bool) throws -> (Tensor?, Tensor?) {
        guard wantsInput || wantsWeights else { return (nil, nil) }
        guard let chosen = try gradient.rowsWorthMultiplying() else {
            return (wantsInput ? try matrix.inputGradient(gradient, rows: rows).reshaped(xShape) : nil,
                    wantsWeights ? try x.map { try matrix.weightGradient(gradient, $0, rows: rows) } : nil)
        }
        let few = try gradient.takingRows(chosen, width: matrix.columns), count = gradient.count / max(1, matrix.columns)
        let ofInput = wantsInput ? try matrix.inputGradient(few, rows: rows).spreadRows(chosen, among: count).reshaped(xShape) : nil
        return (ofInput, wantsWeights ? try x.map { try matrix.weightGradient(few, $0.takingRows(chosen, width: rows.count), rows: rows) } : nil)
    }

    /// The gradient of `value = gate ? act(gate)·linear : act(linear)` to `linear`, and to the gate.
    private func throughActivation(_ gradient: Tensor, wantsGate: Bool) throws -> (Tensor, Tensor?) {
        guard gate != nil || activation != nil else { return (gradient, nil) }
        guard let linear else { throw LensError(.usage, "the gradient of an activation whose input was not kept") }
        guard let gate else { return (try activation.map { try gradient.backward(through: $0.kernel, at: linear) } ?? gradient, nil) }
        let (value, opening) = try gradient.backward(throughGate: activation?.kernel ?? LENS_ACT_NONE, at: gate.reshaped(linear.shape),
                                                     value: linear, wantsGate: wantsGate)
        return (value ?? gradient, try opening?.reshaped(gate.shape))
    }
}

extension PackedMatrix {
    /// `gradient·Wᵀ` over rows and columns of W.
    /// - Parameter gradient: `[…, columns.count]`
    /// - Returns: `[…, rows.count]`
    func inputGradient(_ gradient: Tensor, rows range: Range<Int>, columns span: Range<Int>? = nil) throws -> Tensor {
        let span = span ?? 0..<columns
        guard gradient.shape.last == span.count else {
            throw LensError(.shape, "gradient of a product", expected: "[…, \(span.count)]", found: "\(gradient.shape)")
        }
        let isa = try Kernels.isa(), gradient = try gradient.contiguous()
        let count = gradient.shape.dropLast().reduce(1, *)
        let out = try Tensor(uninitialized: Array(gradient.shape.dropLast()) + [range.count])
        withExtendedLifetime(gradient) {
            withKernelMatrix { matrix in
                lens_linear_inputs(isa, Int64(count), matrix, Int64(range.lowerBound), Int64(range.upperBound), Int64(span.lowerBound),
                                   Int64(span.upperBound), gradient.elements, Int64(span.count), out.storage.pointer, Int64(range.count))
            }
        }
        return out
    }

    /// `xᵀ·gradient` in rows and columns of a matrix like this one, zeros elsewhere: `[rows, columns]`.
    /// - Parameters:
    ///   - gradient: `[…, columns.count]`
    ///   - x: `[…, rows.count]`
    /// - Throws: `LensError(.usage)` for weights that are not float32.
    func weightGradient(_ gradient: Tensor, _ x: Tensor, rows range: Range<Int>, columns span: Range<Int>? = nil) throws -> Tensor {
        try requireFloat32()
        let span = span ?? 0..<columns
        let isa = try Kernels.isa(), gradient = try gradient.contiguous(), x = try x.contiguous()
        let isWhole = range == 0..<rows && span == 0..<columns
        let out = isWhole ? try Tensor(uninitialized: [rows, columns]) : Tensor(zeros: [rows, columns])
        withExtendedLifetime((gradient, x)) {
            lens_linear_weights(isa, Int64(x.shape.dropLast().reduce(1, *)), Int64(range.count), Int64(span.count), x.elements, Int64(range.count),
                                gradient.elements, Int64(span.count), out.storage.pointer + range.lowerBound * columns + span.lowerBound, Int64(columns))
        }
        return out
    }

    /// - Throws: `LensError(.usage)` for weights that are not float32, which have no gradient.
    func requireFloat32() throws {
        guard format == .float32 else {
            throw LensError(.usage, "the gradient of weights that are kept in another format than float32", expected: "float32", found: format.rawValue,
                            advice: "load the model with float32 weights; gradients of activations go through any format")
        }
    }
}
