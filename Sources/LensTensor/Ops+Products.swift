// Several products of the same activations in one go: queries, keys and values; a gate and what it gates. Threads are called
// together once, which is what a decoding step waits for; every bit is that of the products one by one.

import CLensKernels
import LensFiles

extension PackedMatrix {
    /// `x·W + bias` for each of up to four matrices.
    /// - Parameter x: `[…, rows]`
    /// - Returns: `[…, columns]` of each.
    /// - Throws: `LensError(.shape)`.
    package static func products(_ x: Tensor, _ all: [(matrix: PackedMatrix, bias: Tensor?)]) throws -> [Tensor] {
        guard runTogether(x, all) else { return try all.map { try $0.matrix.product(x, epilogue: Epilogue(bias: $0.bias)).out } }
        let outs = try all.map { try Tensor(uninitialized: Array(x.shape.dropLast()) + [$0.matrix.columns]) }
        let biases = try all.map { try $0.bias?.contiguous() }
        try withExtendedLifetime((outs, biases)) {
            try run(x, all.map(\.matrix), inStep: false) { index in
                (outs[index], lens_epilogue(bias: biases[index]?.elements, linear_out: nil, act: LENS_ACT_NONE, gate: nil, residual: nil))
            }
        }
        return outs
    }

    /// `pre = x·W_gate + b_gate`, `linear = x·W + b` and `out = activation(pre) · linear`.
    /// - Parameters:
    ///   - x: `[…, rows]`
    ///   - keepsLinear: whether `linear` is returned.
    /// - Returns: each `[…, columns]`.
    /// - Throws: `LensError(.shape)`.
    package static func gatedProduct(_ x: Tensor, gate: (matrix: PackedMatrix, bias: Tensor?), linear: (matrix: PackedMatrix, bias: Tensor?),
                                     _ activation: Activation, keepsLinear: Bool) throws -> (pre: Tensor, out: Tensor, linear: Tensor?) {
        guard activation.ridesOnProducts, gate.matrix.columns == linear.matrix.columns, runTogether(x, [gate, linear]) else {
            let pre = try gate.matrix.product(x, epilogue: Epilogue(bias: gate.bias)).out
            let epilogue = Epilogue(bias: linear.bias, activation: activation, gate: pre, keepsLinear: keepsLinear)
            let (out, kept) = try linear.matrix.product(x, epilogue: epilogue)
            return (pre, out, kept)
        }
        let shape = Array(x.shape.dropLast()) + [linear.matrix.columns]
        let pre = try Tensor(uninitialized: shape), out = try Tensor(uninitialized: shape)
        let kept = keepsLinear ? try Tensor(uninitialized: shape) : nil
        let gateBias = try gate.bias?.contiguous(), linearBias = try linear.bias?.contiguous()
        try withExtendedLifetime((gateBias, linearBias, kept)) {
            try run(x, [gate.matrix, linear.matrix], inStep: true) { index in
                index == 0 ? (pre, lens_epilogue(bias: gateBias?.elements, linear_out: nil, act: LENS_ACT_NONE, gate: nil, residual: nil))
                    : (out, lens_epilogue(bias: linearBias?.elements, linear_out: kept?.storage.pointer, act: activation.kernel, gate: pre.elements, residual: nil))
            }
        }
        return (pre, out, kept)
    }

    /// Whether the kernel takes them together: what is recorded, or of several kinds, goes one by one.
    private static func runTogether(_ x: Tensor, _ all: [(matrix: PackedMatrix, bias: Tensor?)]) -> Bool {
        guard let first = all.first, all.count <= Int(LENS_PRODUCTS), x.graph == nil else { return false }
        return all.allSatisfy { matrix, bias in
            matrix.rows == first.matrix.rows && x.shape.last == matrix.rows && matrix.activations == first.matrix.activations && matrix.graph == nil
                && bias.map { $0.graph == nil && $0.shape == [matrix.columns] } ?? true
        }
    }

    /// - Parameter place: where the product of each matrix goes, and what rides on it. The caller keeps all of it alive.
    private static func run(_ x: Tensor, _ matrices: [PackedMatrix], inStep: Bool, _ place: (Int) -> (out: Tensor, epilogue: lens_epilogue)) throws {
        let isa = try Kernels.isa(), x = try x.contiguous(), width = x.shape.last ?? 0
        let count = Int64(x.shape.dropLast().reduce(1, *)), block = Int64(LENS_K_BLOCK)
        let scratch = matrices.first?.activations == .int8
            ? try Tensor(uninitialized: [matrices.reduce(0) { $0 + Int(lens_int8_scratch($1.format.kernel, count, 0, Int64(width), block)) }]) : nil
        let products = matrices.enumerated().map { index, matrix in
            let (out, epilogue) = place(index)
            return lens_product(w: matrix.withKernelMatrix(\.pointee), out: out.storage.pointer, epilogue: epilogue)
        }
        withExtendedLifetime((x, matrices, scratch)) {
            lens_linear_several(isa, count, Int64(products.count), products, inStep, x.elements, Int64(width), scratch?.storage.pointer)
        }
    }
}
