// Products with packed weights. Bias, activation, gating and the residual ride on the product, each rounded as if it had
// been stored, so what is read changes no bit.

import CLensKernels
import LensFiles

/// An element-wise non-linearity; raw values are TransformerLens' `act_fn` names.
public enum Activation: String, Sendable, Hashable, CaseIterable {
    case relu
    /// x·Φ(x), exact.
    case gelu
    /// 0.5x(1+tanh(√(2/π)(x+0.044715x³))).
    case geluNew = "gelu_new"
    /// 0.5x(1+tanh(0.7978845608·x·(1+0.044715x²))).
    case geluFast = "gelu_fast"
    /// Another name of `gelu_new`.
    case geluPytorchTanh = "gelu_pytorch_tanh"
    /// x·σ(x).
    case silu
    /// x·softmax(x) over the neurons (Elhage et al., 2022): it looks at the whole row.
    case solu
    /// Each layer of a model learns its own: see `XIELU`. Without a layer, TransformerLens' fixed one: α 0.8, β 0.5.
    case xielu

    /// Whether it rides on a product: an element then depends on itself alone, and on nothing learned.
    public var ridesOnProducts: Bool { self != .solu && self != .xielu }

    var kernel: lens_act {
        switch self {
        case .relu: return LENS_ACT_RELU
        case .gelu: return LENS_ACT_GELU
        case .geluNew, .geluPytorchTanh: return LENS_ACT_GELU_NEW
        case .geluFast: return LENS_ACT_GELU_FAST
        case .silu: return LENS_ACT_SILU
        // These ride on no product: one looks at the whole row, the other's numbers are a layer's own.
        case .solu, .xielu: return LENS_ACT_NONE
        }
    }
}

/// What rides on a product: `linear = x·W + bias`; `value = gate ? act(gate)·linear : act(linear)`;
/// `out = residual ? residual + value : value`.
public struct Epilogue: Sendable {
    /// `[columns]`
    public var bias: Tensor?
    public var activation: Activation?
    /// Like the output.
    public var gate: Tensor?
    /// Like the output.
    public var residual: Tensor?
    /// Whether `linear` is returned too.
    public var keepsLinear = false

    public init(bias: Tensor? = nil, activation: Activation? = nil, gate: Tensor? = nil, residual: Tensor? = nil,
                keepsLinear: Bool = false) {
        self.bias = bias
        self.activation = activation
        self.gate = gate
        self.residual = residual
        self.keepsLinear = keepsLinear
    }
}

extension PackedMatrix {
    /// `x·W` with its epilogue, over `rows` of W (all by default).
    ///
    /// - Parameters:
    ///   - x: `[…, rows.count]`
    ///   - rows: the rows of W that take part: one head of W_O, say.
    ///   - block: terms in one multiply-add chain; nil for the usual 256. For W_O the head width, so that heads sum one
    ///     by one.
    /// - Returns: `out: […, columns]`, and `linear` (`x·W + bias`) if the epilogue keeps it.
    /// - Throws: `LensError(.shape)`.
    public func product(_ x: Tensor, rows range: Range<Int>? = nil, block: Int? = nil,
                        epilogue: Epilogue = Epilogue()) throws -> (out: Tensor, linear: Tensor?) {
        let range = range ?? 0..<rows
        guard let width = x.shape.last, width == range.count, range.lowerBound >= 0, range.upperBound <= rows else {
            throw LensError(.shape, "product with a weight matrix", expected: "[…, \(range.count)] for rows \(range) of \(rows)",
                            found: "\(x.shape)")
        }
        if let activation = epilogue.activation, !activation.ridesOnProducts {
            return try productInSteps(x, rows: range, block: block, activation, epilogue)
        }
        let shape = Array(x.shape.dropLast()) + [columns]
        let out = try Tensor(uninitialized: shape)
        let inputs = [x.graph, graph, epilogue.bias?.graph, epilogue.gate?.graph, epilogue.residual?.graph]
        let isTracked = inputs.contains { $0 != nil }
        // Storing changes no bit; the reverse of an activation needs what went into it.
        let isNeeded = isTracked && (epilogue.activation != nil || epilogue.gate != nil)
        let linear = epilogue.keepsLinear || isNeeded ? try Tensor(uninitialized: shape) : nil
        try run(x, rows: range, columns: 0..<columns, block: block, epilogue, out: out.storage.pointer,
                linear: linear?.storage.pointer, shape: shape)
        guard isTracked else { return (out, linear) }
        let pullback = ProductPullback(matrix: detached(), rows: range, x: graph == nil ? nil : x.detached(), xShape: x.shape,
                                       activation: epilogue.activation, linear: isNeeded ? linear : nil,
                                       gate: epilogue.gate?.detached(), residualShape: epilogue.residual?.shape)
        let node = GraphNode("product", inputs: inputs, outputShapes: epilogue.keepsLinear ? [shape, shape] : [shape]) { try pullback($0) }
        return (out.attached(to: GraphValue(node)), epilogue.keepsLinear ? linear?.attached(to: GraphValue(node, output: 1)) : nil)
    }

    /// The same for an activation that does not ride: it takes the stored product.
    private func productInSteps(_ x: Tensor, rows range: Range<Int>, block: Int?, _ activation: Activation,
                                _ epilogue: Epilogue) throws -> (out: Tensor, linear: Tensor?) {
        let linear = try product(x, rows: range, block: block, epilogue: Epilogue(bias: epilogue.bias)).out
        var value = try epilogue.gate.map { try linear.gated(by: $0.reshaped(linear.shape), activation) } ?? linear.applying(activation)
        if let residual = epilogue.residual { value = try residual.reshaped(value.shape) + value }
        return (value, epilogue.keepsLinear ? linear : nil)
    }

    /// Overwrites columns `columns` of `out` with `x·W + bias`: how one head's queries are recomputed.
    /// - Parameters:
    ///   - x: `[…, rows]`
    ///   - out: `[…, self.columns]`
    public func updateColumns(_ columns: Range<Int>, of out: inout Tensor, from x: Tensor, bias: Tensor?) throws {
        guard x.shape.last == rows, out.shape == Array(x.shape.dropLast()) + [self.columns],
              columns.lowerBound >= 0, columns.upperBound <= self.columns else {
            throw LensError(.shape, "columns of a product", expected: "[…, \(rows)] to […, \(self.columns)]",
                            found: "\(x.shape) to \(out.shape), columns \(columns)")
        }
        let shape = out.shape, inputs = [out.graph, x.graph, graph, bias?.graph]
        out = out.detached()
        try out.withUnsafeMutableElements { destination in
            guard let base = destination.baseAddress else { return }
            try run(x, rows: 0..<rows, columns: columns, block: nil, Epilogue(bias: bias), out: base, linear: nil, shape: shape)
        }
        let matrix = detached(), kept = graph == nil ? nil : x.detached(), xShape = x.shape
        out = out.recorded("product columns", from: inputs) { request in
            let wants = request.wants, whole = try request.first(), place = [TensorIndex](repeating: .all, count: shape.count - 1) + [.range(columns)]
            let own = try whole.view(place).contiguous()
            var before = whole, biasGradient = Tensor(zeros: [matrix.columns])
            if wants[0] { try before.assign(0, at: place) }
            if wants[3] { try biasGradient.assign(own.summed(to: [columns.count]), at: [.range(columns)]) }
            return [wants[0] ? before : nil,
                    wants[1] ? try matrix.inputGradient(own, rows: 0..<matrix.rows, columns: columns).reshaped(xShape) : nil,
                    wants[2] ? try kept.map { try matrix.weightGradient(own, $0, rows: 0..<matrix.rows, columns: columns) } ?? nil : nil,
                    wants[3] ? biasGradient : nil]
        }
    }

    /// `x·W + bias` over some columns alone, with the bits they have among all: `[…, rows]` to `[…, range.count]`.
    /// - Parameter bias: of all columns.
    /// - Throws: `LensError(.shape)`; `LensError(.usage)` for what is tracked.
    package func product(_ x: Tensor, columns range: Range<Int>, bias: Tensor? = nil) throws -> Tensor {
        guard x.shape.last == rows, range.lowerBound >= 0, range.upperBound <= columns else {
            throw LensError(.shape, "columns of a product", expected: "[…, \(rows)] and columns of \(columns)", found: "\(x.shape), \(range)")
        }
        let what = "a product with some columns"
        try x.refuseTracked(what)
        try bias?.refuseTracked(what)
        guard graph == nil else { throw LensError(.usage, "\(what) has no gradient", expected: "weights that are not tracked") }
        let shape = Array(x.shape.dropLast()) + [range.count], out = try Tensor(uninitialized: shape)
        // The kernel counts from the matrix's first column.
        try run(x, rows: 0..<rows, columns: range, block: nil, Epilogue(bias: bias), out: out.storage.pointer - range.lowerBound, linear: nil, shape: shape)
        return out
    }

    /// - Parameter shape: of `out`, whose rows are as far apart as it is wide.
    private func run(_ x: Tensor, rows range: Range<Int>, columns: Range<Int>, block: Int?, _ epilogue: Epilogue,
                     out: UnsafeMutablePointer<Float>, linear: UnsafeMutablePointer<Float>?, shape: [Int]) throws {
        let count = shape.dropLast().reduce(1, *)
        guard block ?? 1 > 0 else { throw LensError(.shape, "impossible block of a product", expected: "at least 1 term", found: "\(block ?? 0)") }
        guard epilogue.bias.map({ $0.shape == [self.columns] }) ?? true,
              epilogue.gate.map({ $0.count == count * self.columns }) ?? true,
              epilogue.residual.map({ $0.count == count * self.columns }) ?? true else {
            throw LensError(.shape, "epilogue of a product", expected: "bias [\(self.columns)], gate and residual like \(shape)",
                            found: "\([epilogue.bias?.shape, epilogue.gate?.shape, epilogue.residual?.shape])")
        }
        let isa = try Kernels.isa(), block = Int64(min(block ?? Int(LENS_K_BLOCK), max(1, range.count))), ks = (Int64(range.lowerBound), Int64(range.upperBound))
        let ns = (Int64(columns.lowerBound), Int64(columns.upperBound)), apart = Int64(shape.last ?? 0)
        let scratch = try activations == .int8 ? Tensor(uninitialized: [Int(lens_int8_scratch(format.kernel, Int64(count), ks.0, ks.1, block))]) : nil
        let x = try x.contiguous(), bias = try epilogue.bias?.contiguous()
        let gate = try epilogue.gate?.contiguous(), residual = try epilogue.residual?.contiguous()
        withExtendedLifetime((x, bias, gate, residual, scratch)) {
            var riding = lens_epilogue(bias: bias?.elements, linear_out: linear,
                                       act: epilogue.activation?.kernel ?? LENS_ACT_NONE, gate: gate?.elements,
                                       residual: residual?.elements)
            withKernelMatrix { matrix in
                if let scratch {
                    lens_linear_int8(isa, Int64(count), matrix, ks.0, ks.1, ns.0, ns.1, block, x.elements, Int64(range.count), out, apart, &riding,
                                     scratch.storage.pointer)
                } else {
                    lens_linear(isa, Int64(count), matrix, ks.0, ks.1, ns.0, ns.1, block, x.elements, Int64(range.count), out, apart, &riding)
                }
            }
        }
    }
}

extension Tensor {
    /// The first element of a contiguous tensor. The caller keeps the tensor alive.
    var elements: UnsafePointer<Float> { UnsafePointer(storage.pointer + layout.offset) }
}
