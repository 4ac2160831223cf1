// Element-wise operations: activations, sums and products with broadcasting.

import CLensKernels
import LensFiles

extension Tensor {
    /// `activation` of every element; the bits are those of a product's epilogue.
    public func applying(_ activation: Activation) throws -> Tensor {
        // Without an activation of its own a gate is a product.
        if activation == .solu { return try gated(softmax(), LENS_ACT_NONE) }
        if activation == .xielu { return try applying(XIELU.fixed) }
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_activation(isa, activation.kernel, Int64(count), x.elements, out.storage.pointer) }
        return out
    }

    /// The hyperbolic tangent of every element.
    public func tanh() throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_activation(isa, LENS_ACT_TANH, Int64(count), x.elements, out.storage.pointer) }
        return out
    }

    /// `cap · tanh(x / cap)` of every element; the tanh is that of softcapped scores.
    public func softcapped(_ cap: Float) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) {
            lens_scale(isa, Int64(count), x.elements, 1 / cap, out.storage.pointer)
            lens_activation(isa, LENS_ACT_TANH, Int64(count), out.storage.pointer, out.storage.pointer)
            lens_scale(isa, Int64(count), out.storage.pointer, cap, out.storage.pointer)
        }
        return out
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
        return out
    }

    /// Every element times `factor`.
    public func scaled(by factor: Float) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_scale(isa, Int64(count), x.elements, factor, out.storage.pointer) }
        return out
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
        return (out, linear)
    }

    /// Adds with broadcasting.
    /// - Throws: `LensError(.shape)` if the shapes do not broadcast together.
    public static func + (a: Tensor, b: Tensor) throws -> Tensor {
        guard a.shape == b.shape else {
            return try broadcasting(a, b, +, "+", left: { gradient, _ in gradient }, right: { gradient, _, _ in gradient })
        }
        let isa = try Kernels.isa(), a = try a.contiguous(), b = try b.contiguous()
        let out = try Tensor(uninitialized: a.shape)
        withExtendedLifetime((a, b)) { lens_add(isa, Int64(a.count), a.elements, b.elements, out.storage.pointer) }
        return out.recorded("+", from: [a.graph, b.graph]) { [try $0.first(), try $0.first()] }
    }

    /// Subtracts with broadcasting.
    public static func - (a: Tensor, b: Tensor) throws -> Tensor {
        try broadcasting(a, b, -, "-", left: { gradient, _ in gradient }, right: { gradient, _, _ in try gradient * Tensor(-1) })
    }

    /// Multiplies with broadcasting.
    public static func * (a: Tensor, b: Tensor) throws -> Tensor {
        try broadcasting(a, b, *, "*", left: { gradient, b in try gradient * b }, right: { gradient, a, _ in try gradient * a })
    }

    /// Divides with broadcasting.
    public static func / (a: Tensor, b: Tensor) throws -> Tensor {
        try broadcasting(a, b, (/), "/", left: { gradient, b in try gradient / b },
                         right: { gradient, a, b in try gradient * a / b / b * Tensor(-1) })
    }

    /// Adds `b`, broadcast to this shape, in place of self.
    public static func += (a: inout Tensor, b: Tensor) throws { a = try fitting(a, a + b) }
    public static func -= (a: inout Tensor, b: Tensor) throws { a = try fitting(a, a - b) }
    public static func *= (a: inout Tensor, b: Tensor) throws { a = try fitting(a, a * b) }
    public static func /= (a: inout Tensor, b: Tensor) throws { a = try fitting(a, a / b) }

    private static func fitting(_ old: Tensor, _ new: Tensor) throws -> Tensor {
        guard new.shape == old.shape else {
            throw LensError(.shape, "update in place would change the shape", expected: "\(old.shape)", found: "\(new.shape)")
        }
        return new
    }

    /// - Parameters:
    ///   - left: the gradient of the outcome and `b` to that of `a`, before it is summed to the shape of `a`.
    ///   - right: the gradient of the outcome, `a` and `b` to that of `b`.
    private static func broadcasting(_ a: Tensor, _ b: Tensor, _ operation: (Float, Float) -> Float, _ name: String,
                                     left: @escaping @Sendable (Tensor, Tensor) throws -> Tensor,
                                     right: @escaping @Sendable (Tensor, Tensor, Tensor) throws -> Tensor) throws -> Tensor {
        let out = try broadcasting(a, b, operation)
        guard a.isTracked || b.isTracked else { return out }
        let (x, y) = (a.detached(), b.detached())
        return out.recorded(name, from: [a.graph, b.graph]) { request in
            let gradient = try request.first()
            return [request.wants[0] ? try left(gradient, y).summed(to: x.shape) : nil,
                    request.wants[1] ? try right(gradient, x, y).summed(to: y.shape) : nil]
        }
    }

    private static func broadcasting(_ a: Tensor, _ b: Tensor, _ operation: (Float, Float) -> Float) throws -> Tensor {
        let shape = try Layout.broadcastShape(a.shape, b.shape)
        let a = try a.broadcast(to: shape), b = try b.broadcast(to: shape)
        let out = try Tensor(uninitialized: shape)
        var rightRuns: [(Int, Int)] = []
        b.layout.forEachRun { start, stride, _ in rightRuns.append((start, stride)) }
        var destination = out.storage.pointer, run = 0
        a.layout.forEachRun { start, stride, length in
            let (right, rightStride) = rightRuns[run]
            for i in 0..<length {
                destination[i] = operation(a.storage.pointer[start + i * stride], b.storage.pointer[right + i * rightStride])
            }
            destination += length
            run += 1
        }
        return withExtendedLifetime((a, b)) { out }
    }
}
