// Element-wise operations: activations, gates, and sums of parts.

import CLensKernels
import LensFiles

extension Tensor {
    /// `activation` of every element; the bits are those of a product's epilogue.
    public func applying(_ activation: Activation) throws -> Tensor {
        // Without an activation of its own a gate is a product.
        if activation == .solu { return try gated(softmax(), LENS_ACT_NONE) }
        if activation == .xielu { return try applying(XIELU.fixed) }
        return try applying(activation.kernel, activation.rawValue)
    }

    /// - Parameter name: of the operation, for messages.
    func applying(_ activation: lens_act, _ name: String) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_activation(isa, activation, Int64(count), x.elements, out.storage.pointer) }
        guard isTracked else { return out }
        let input = x.detached()
        return out.recorded(name, from: self) { try $0.backward(through: activation, at: input) }
    }

    /// The hyperbolic tangent of every element.
    public func tanh() throws -> Tensor { try applying(LENS_ACT_TANH, "tanh") }

    /// `cap · tanh(x / cap)` of every element; the tanh is that of softcapped scores.
    public func softcapped(_ cap: Float) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) {
            lens_scale(isa, Int64(count), x.elements, 1 / cap, out.storage.pointer)
            lens_activation(isa, LENS_ACT_TANH, Int64(count), out.storage.pointer, out.storage.pointer)
            lens_scale(isa, Int64(count), out.storage.pointer, cap, out.storage.pointer)
        }
        guard isTracked else { return out }
        let input = x.detached()
        return out.recorded("softcapped", from: self) { try $0.backward(through: LENS_ACT_TANH, at: input, factor: 1 / cap) }
    }

    /// `activation(gate) * self`; the bits are those of a product's epilogue.
    /// - Throws: `LensError(.shape)` if the shapes differ.
    public func gated(by gate: Tensor, _ activation: Activation) throws -> Tensor {
        guard activation.ridesOnProducts else { return try gated(gate.applying(activation), LENS_ACT_NONE) }
        return try gated(gate, activation.kernel)
    }

    private func gated(_ gate: Tensor, _ activation: lens_act) throws -> Tensor {
        guard gate.shape == shape else { throw LensError(.shape, "gate", expected: "\(shape)", found: "\(gate.shape)") }
        let isa = try Kernels.isa(), x = try contiguous(), gate = try gate.contiguous()
        let out = try Tensor(uninitialized: shape)
        withExtendedLifetime((x, gate)) {
            lens_gated(isa, activation, Int64(count), gate.elements, x.elements, out.storage.pointer)
        }
        guard isTracked || gate.isTracked else { return out }
        let (value, opening) = (x.detached(), gate.detached())
        return out.recorded("gated", from: [graph, gate.graph]) { request in
            let (ofValue, ofGate) = try request.first().backward(throughGate: activation, at: opening, value: value,
                                                                 wantsValue: request.wants[0], wantsGate: request.wants[1])
            return [ofValue, ofGate]
        }
    }

    /// Every element times `factor`.
    public func scaled(by factor: Float) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_scale(isa, Int64(count), x.elements, factor, out.storage.pointer) }
        return out.recorded("scaled", from: self) { try $0.scaled(by: factor) }
    }

    /// The sum over axis -2, part by part, plus bias and residual: `[…, parts, width]` to `[…, width]`. How split W_O
    /// results are summed; the bits are those of the unsplit product.
    /// - Returns: `out`, and the sum with bias but without residual if `keepsLinear`.
    public func summedParts(bias: Tensor? = nil, residual: Tensor? = nil,
                            keepsLinear: Bool = false) throws -> (out: Tensor, linear: Tensor?) {
        guard rank >= 2, shape[rank - 2] > 0 else {
            throw LensError(.shape, "sum of parts", expected: "[…, parts, width] with parts ≥ 1", found: "\(shape)")
        }
        let width = shape[rank - 1], parts = shape[rank - 2]
        let outShape = Array(shape.dropLast(2)) + [width]
        guard bias.map({ $0.count == width }) ?? true, residual.map({ $0.shape == outShape }) ?? true else {
            throw LensError(.shape, "sum of parts", expected: "bias [\(width)], residual \(outShape)",
                            found: "\([bias?.shape, residual?.shape])")
        }
        let isa = try Kernels.isa(), x = try contiguous(), bias = try bias?.contiguous(), residual = try residual?.contiguous()
        let out = try Tensor(uninitialized: outShape)
        let linear = keepsLinear ? try Tensor(uninitialized: outShape) : nil
        withExtendedLifetime((x, bias, residual)) {
            lens_sum_parts(isa, Int64(outShape.dropLast().reduce(1, *)), Int64(parts), Int64(width), x.elements,
                           bias?.elements, residual?.elements, linear?.storage.pointer, out.storage.pointer)
        }
        let shapes = (x: shape, bias: bias?.shape)
        let recorded = Tensor.recorded("summedParts", [out, linear], from: [graph, bias?.graph, residual?.graph]) { request in
            let ofSum = try sumOfPresent(request.outputs)
            let ofParts = try ofSum.reshaped(Array(outShape.dropLast()) + [1, width]).broadcast(to: shapes.x)
            let ofBias = try shapes.bias.map { try ofSum.reshaped([-1, width]).summed(axis: 0).reshaped($0) }
            return [request.wants[0] ? ofParts : nil, request.wants[1] ? ofBias : nil, request.outputs[0]]
        }
        return (recorded[0] ?? out, recorded[1])
    }
}
