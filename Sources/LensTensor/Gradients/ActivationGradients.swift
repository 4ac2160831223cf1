// Gradients on their way back through activations and gates: what element-wise operations and the epilogues of products use.

import CLensKernels
import LensFiles

extension Tensor {
    /// This gradient of `activation(factor · x)`, without the factor before it, as `gradient · activation'(factor · x)`.
    /// - Parameter x: of this shape, before the activation.
    func backward(through activation: lens_act, at x: Tensor, factor: Float = 1) throws -> Tensor {
        guard x.shape == shape else { throw LensError(.shape, "gradient of an activation", expected: "\(x.shape)", found: "\(shape)") }
        let isa = try Kernels.isa(), gradient = try contiguous(), x = try x.contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime((gradient, x)) {
            lens_activation_backward(isa, activation, Int64(count), x.elements, factor, gradient.elements, out.storage.pointer)
        }
        return out
    }

    /// This gradient of `activation(gate) · value` as those of `value` and `gate`; nil where not wanted.
    func backward(throughGate activation: lens_act, at gate: Tensor, value: Tensor, wantsValue: Bool = true,
                  wantsGate: Bool = true) throws -> (value: Tensor?, gate: Tensor?) {
        guard gate.shape == shape, value.shape == shape else {
            throw LensError(.shape, "gradient of a gate", expected: "\(gate.shape)", found: "\(shape)")
        }
        let isa = try Kernels.isa(), gradient = try contiguous(), gate = try gate.contiguous(), value = try value.contiguous()
        let ofValue = wantsValue ? try Tensor(uninitialized: shape) : nil, ofGate = wantsGate ? try Tensor(uninitialized: shape) : nil
        withExtendedLifetime((gradient, gate, value)) {
            lens_gated_backward(isa, activation, Int64(count), gate.elements, value.elements, gradient.elements,
                                ofGate?.storage.pointer, ofValue?.storage.pointer)
        }
        return (ofValue, ofGate)
    }
}

/// The sum of the gradients that are there, of one shape.
func sumOfPresent(_ gradients: [Tensor?]) throws -> Tensor {
    let present = gradients.compactMap(\.self)
    guard let first = present.first else { throw LensError(.shape, "the gradient of an unused output") }
    return try present.dropFirst().reduce(first) { try $0 + $1 }
}
