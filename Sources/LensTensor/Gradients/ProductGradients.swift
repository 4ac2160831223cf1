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
        return [wants[0] ? try matrix.inputGradient(linearGradient, rows: rows).reshaped(xShape) : nil,
                wants[1] ? try x.map { try matrix.weightGradient(linearGradient, $0, rows: rows) } ?? nil : nil,
                wants[2] ? try linearGradient.summed(to: [matrix.columns]) : nil, gateGradient, residual]
    }

    /// The gradient of `value = gate ? act(gate)·linear : act(linear)` to `linear`, and to the gate.
    private func throughActivation(_ gradient: Tensor, wantsGate: Bool) throws -> (Tensor, Tensor?) {
        guard gate != nil || activation != nil else { return (gradient, nil) }
        guard let linear else { throw LensError(.usage, "the gradient of an activation whose input was not kept") }
        // The operations that stand for what rode on the product bring their own pullbacks.
        let tracked = linear.tracked()
        guard let gate else {
            let value = try activation.map { try tracked.applying($0) } ?? tracked
            return (try value.pulled(gradient, to: [tracked.graph])[0] ?? gradient, nil)
        }
        let opening = try wantsGate ? gate.reshaped(linear.shape).tracked() : gate.reshaped(linear.shape)
        let value = try activation.map { try tracked.gated(by: opening, $0) } ?? tracked * opening
        let pulled = try value.pulled(gradient, to: [tracked.graph, opening.graph])
        return (pulled[0] ?? Tensor(zeros: linear.shape), try pulled[1]?.reshaped(gate.shape))
    }
}

extension Tensor {
    /// `gradient` of this tensor, taken back through the operation that gave it to the values of its inputs.
    /// - Parameter inputs: values of that operation's inputs.
    /// - Throws: `LensError(.usage)` if the operation was not recorded.
    func pulled(_ gradient: Tensor, to inputs: [GraphValue?]) throws -> [Tensor?] {
        guard let value = graph else { throw LensError(.usage, "an operation without a gradient") }
        let wants = value.node.inputs.map { input in inputs.contains { $0?.key == input?.key && input != nil } }
        var outputs = [Tensor?](repeating: nil, count: value.node.outputShapes.count)
        outputs[value.output] = gradient
        let found = try value.node.pullback(GraphNode.Request(outputs: outputs, wants: wants))
        return inputs.map { wanted in
            wanted.flatMap { wanted in value.node.inputs.firstIndex { $0?.key == wanted.key }.flatMap { found[$0] } }
        }
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
