// Functions of one element: exponential, logarithm, roots, powers and absolute values. For metrics; a model's activations
// are in Ops+Elementwise.

import CLensKernels
import LensFiles

extension Tensor {
    /// e to the power of every element; the bits are those of every softmax.
    public func exp() throws -> Tensor { try applying(LENS_ACT_EXP, "exp") }

    /// The natural logarithm of every element: -inf of 0, NaN below.
    public func log() throws -> Tensor {
        let x = detached()
        return try mapped(LENS_MAP_LOG).recorded("log", from: self) { try $0 / x }
    }

    /// The square root of every element: NaN below 0. Its gradient at 0 is infinite.
    public func squareRoot() throws -> Tensor {
        let out = try mapped(LENS_MAP_ROOT)
        return out.recorded("squareRoot", from: self) { try $0.scaled(by: 0.5) / out }
    }

    /// The absolute value of every element; the gradient at 0 is 0.
    public func abs() throws -> Tensor {
        let x = detached()
        return try mapped(LENS_MAP_SIZE).recorded("abs", from: self) { try Tensor.arithmetic(LENS_OP_WITH_SIGN, $0, x) }
    }

    /// Every element to the power of `exponent`.
    public func pow(_ exponent: Float) throws -> Tensor {
        let x = detached(), out = try Tensor.arithmetic(LENS_OP_POWER, x, Tensor(exponent))
        return out.recorded("pow", from: self) { gradient in
            guard exponent != 0 else { return Tensor(zeros: x.shape) }
            return try gradient * Tensor.arithmetic(LENS_OP_POWER, x, Tensor(exponent - 1)).scaled(by: exponent)
        }
    }

    private func mapped(_ map: lens_map) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) { lens_apply(isa, map, Int64(count), x.elements, out.storage.pointer) }
        return out
    }
}
