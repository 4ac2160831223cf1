// Sums, differences, products and quotients with broadcasting, of tensors and of tensors and numbers.

import CLensKernels
import LensFiles

extension Tensor {
    /// Adds with broadcasting.
    /// - Throws: `LensError(.shape)` if the shapes do not broadcast together.
    public static func + (a: Tensor, b: Tensor) throws -> Tensor {
        let out = try arithmetic(LENS_OP_ADD, a, b)
        return out.recordedPair("+", a, b, left: { $0 }, right: { $0 })
    }

    /// Subtracts with broadcasting.
    public static func - (a: Tensor, b: Tensor) throws -> Tensor {
        let out = try arithmetic(LENS_OP_SUBTRACT, a, b)
        return out.recordedPair("-", a, b, left: { $0 }, right: { try $0.scaled(by: -1) })
    }

    /// Multiplies with broadcasting.
    public static func * (a: Tensor, b: Tensor) throws -> Tensor {
        let out = try arithmetic(LENS_OP_MULTIPLY, a, b)
        // What is not needed is not kept.
        let x = b.isTracked ? a.detached() : nil, y = a.isTracked ? b.detached() : nil
        return out.recordedPair("*", a, b, left: { gradient in try y.map { try gradient * $0 } },
                                right: { gradient in try x.map { try gradient * $0 } })
    }

    /// Divides with broadcasting.
    public static func / (a: Tensor, b: Tensor) throws -> Tensor {
        let out = try arithmetic(LENS_OP_DIVIDE, a, b)
        let y = b.detached(), quotient = b.isTracked ? out : nil
        return out.recordedPair("/", a, b, left: { try $0 / y },
                                right: { gradient in try quotient.map { try (gradient / y * $0).scaled(by: -1) } })
    }

    /// The tensor with every sign turned.
    public static prefix func - (a: Tensor) throws -> Tensor { try a.scaled(by: -1) }

    // With numbers that are not literals; a literal is a tensor of no axes.
    @_disfavoredOverload public static func + (a: Tensor, b: Float) throws -> Tensor { try a + Tensor(b) }
    @_disfavoredOverload public static func + (a: Float, b: Tensor) throws -> Tensor { try Tensor(a) + b }
    @_disfavoredOverload public static func - (a: Tensor, b: Float) throws -> Tensor { try a - Tensor(b) }
    @_disfavoredOverload public static func - (a: Float, b: Tensor) throws -> Tensor { try Tensor(a) - b }
    @_disfavoredOverload public static func * (a: Tensor, b: Float) throws -> Tensor { try a * Tensor(b) }
    @_disfavoredOverload public static func * (a: Float, b: Tensor) throws -> Tensor { try Tensor(a) * b }
    @_disfavoredOverload public static func / (a: Tensor, b: Float) throws -> Tensor { try a / Tensor(b) }
    @_disfavoredOverload public static func / (a: Float, b: Tensor) throws -> Tensor { try Tensor(a) / b }

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
    ///   - left, right: the gradient of this outcome of `a` and `b` to theirs, before it is summed to their shapes.
    private func recordedPair(_ name: String, _ a: Tensor, _ b: Tensor, left: @escaping @Sendable (Tensor) throws -> Tensor?,
                              right: @escaping @Sendable (Tensor) throws -> Tensor?) -> Tensor {
        guard a.isTracked || b.isTracked else { return self }
        let (x, y) = (a.shape, b.shape)
        return recorded(name, from: [a.graph, b.graph]) { request in
            let gradient = try request.first()
            return [request.wants[0] ? try left(gradient)?.summed(to: x) : nil,
                    request.wants[1] ? try right(gradient)?.summed(to: y) : nil]
        }
    }

    /// `a op b` with broadcasting, not recorded.
    static func arithmetic(_ op: lens_op, _ a: Tensor, _ b: Tensor) throws -> Tensor {
        let shape = try Layout.broadcastShape(a.shape, b.shape)
        let left = try a.layout.broadcast(to: shape).strides, right = try b.layout.broadcast(to: shape).strides
        let isa = try Kernels.isa(), out = try Tensor(uninitialized: shape)
        guard out.count > 0 else { return out }
        let axes = mergedAxes(shape, left, right)
        withExtendedLifetime((a, b)) {
            lens_arithmetic(isa, op, Int64(axes.count), axes.map { Int64($0.size) }, a.elements, axes.map { Int64($0.left) },
                            b.elements, axes.map { Int64($0.right) }, out.storage.pointer)
        }
        return out
    }

    /// As few axes as both operands can be walked with: neighbours that are one run in both become one.
    private static func mergedAxes(_ shape: [Int], _ left: [Int], _ right: [Int]) -> [(size: Int, left: Int, right: Int)] {
        var axes: [(size: Int, left: Int, right: Int)] = []
        for axis in shape.indices where shape[axis] != 1 {
            let size = shape[axis]
            if let last = axes.last, last.left == left[axis] * size, last.right == right[axis] * size {
                axes[axes.count - 1] = (last.size * size, left[axis], right[axis])
            } else {
                axes.append((size, left[axis], right[axis]))
            }
        }
        return axes.isEmpty ? [(1, 1, 1)] : axes
    }
}
