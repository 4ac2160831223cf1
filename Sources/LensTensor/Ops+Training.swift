// What training does besides gradients: optimizer updates in place, sums of squares, and the cross-entropy in double.

import CLensKernels
import LensFiles

/// One step of Adam or AdamW for a parameter: torch.optim's arithmetic, element by element.
public struct AdamStep: Sendable, Hashable {
    public var learningRate: Double
    public var beta1: Double, beta2: Double, eps: Double
    public var weightDecay: Double
    /// Whether the parameter itself shrinks (AdamW), instead of its gradient growing (Adam).
    public var isDecoupled: Bool
    /// Which step of this parameter it is, from 1.
    public var step: Int
    /// The gradient is multiplied by this first.
    public var gradientScale: Float

    public init(learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, eps: Double = 1e-8, weightDecay: Double = 0, isDecoupled: Bool,
                step: Int, gradientScale: Float = 1) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.weightDecay = weightDecay
        self.isDecoupled = isDecoupled
        self.step = step
        self.gradientScale = gradientScale
    }

    fileprivate var kernel: lens_adam_step {
        func power(_ base: Double, _ exponent: Int) -> Double {
            // Repeated squaring: the same bits whatever the C library.
            var result = 1.0, square = base, left = exponent
            while left > 0 {
                if left & 1 == 1 { result *= square }
                square *= square
                left >>= 1
            }
            return result
        }
        let correction1 = 1 - power(beta1, step), correction2 = 1 - power(beta2, step)
        return lens_adam_step(gradient_scale: gradientScale, shrink: isDecoupled ? Float(1 - learningRate * weightDecay) : 1,
                              weight_decay: isDecoupled ? 0 : Float(weightDecay), beta1: Float(beta1), one_minus_beta1: Float(1 - beta1),
                              beta2: Float(beta2), one_minus_beta2: Float(1 - beta2), eps: Float(eps),
                              step_size: Float(learningRate / correction1), correction2_root: Float(correction2.squareRoot()),
                              lerps_from_start: 1 - beta1 < 0.5)
    }
}

/// One step of SGD for a parameter: torch.optim's arithmetic.
public struct SGDStep: Sendable, Hashable {
    public var learningRate: Double
    public var momentum: Double, dampening: Double
    public var nesterov: Bool
    public var weightDecay: Double
    /// Which step of this parameter it is, from 1.
    public var step: Int
    public var gradientScale: Float

    public init(learningRate: Double, momentum: Double = 0, dampening: Double = 0, nesterov: Bool = false, weightDecay: Double = 0, step: Int,
                gradientScale: Float = 1) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.dampening = dampening
        self.nesterov = nesterov
        self.weightDecay = weightDecay
        self.step = step
        self.gradientScale = gradientScale
    }

    fileprivate var kernel: lens_sgd_step {
        lens_sgd_step(gradient_scale: gradientScale, learning_rate: Float(learningRate), weight_decay: Float(weightDecay), momentum: Float(momentum),
                      one_minus_dampening: Float(1 - dampening), nesterov: nesterov, is_first: step == 1)
    }
}

extension Tensor {
    /// Updates this parameter and Adam's two averages (of the gradient and of its square) in place.
    /// - Throws: `LensError(.shape)` unless all are of one shape.
    public mutating func update(_ step: AdamStep, gradient: Tensor, average: inout Tensor, squareAverage: inout Tensor) throws {
        try check(gradient, average, squareAverage)
        let isa = try Kernels.isa(), count = Int64(count)
        var kernel = step.kernel
        try gradient.withUnsafeElements { gradient in
            try withUnsafeMutableElements { parameter in
                try average.withUnsafeMutableElements { average in
                    try squareAverage.withUnsafeMutableElements { squares in
                        lens_adam(isa, &kernel, count, gradient.baseAddress, parameter.baseAddress, average.baseAddress, squares.baseAddress)
                    }
                }
            }
        }
    }

    /// Updates this parameter and its velocity in place.
    /// - Parameter velocity: not read on the first step; nil without momentum.
    /// - Throws: `LensError(.shape)` unless all are of one shape; `LensError(.usage)` for momentum without velocity.
    public mutating func update(_ step: SGDStep, gradient: Tensor, velocity: inout Tensor?) throws {
        try check(gradient, velocity ?? gradient, gradient)
        let isa = try Kernels.isa(), count = Int64(count)
        var kernel = step.kernel
        if step.momentum != 0, velocity == nil { throw LensError(.usage, "SGD with momentum needs a velocity") }
        try gradient.withUnsafeElements { gradient in
            try withUnsafeMutableElements { parameter in
                guard step.momentum != 0 else { return lens_sgd(isa, &kernel, count, gradient.baseAddress, parameter.baseAddress, nil) }
                try velocity?.withUnsafeMutableElements { velocity in
                    lens_sgd(isa, &kernel, count, gradient.baseAddress, parameter.baseAddress, velocity.baseAddress)
                }
            }
        }
    }

    /// The sum of the squares of the elements, in double, in a fixed order.
    public func squareSum() throws -> Double {
        let isa = try Kernels.isa()
        return try withUnsafeElements { lens_square_sum(isa, Int64(count), $0.baseAddress) }
    }

    private func check(_ others: Tensor...) throws {
        for other in others where other.shape != shape {
            throw LensError(.shape, "update of a parameter", expected: "gradient and state \(shape)", found: "\(other.shape)")
        }
    }
}

extension Tensor {
    /// Mean cross-entropy in nats of the rows that count, shape `[]`. Softmax, logarithm and mean are in double, as models
    /// that grok need (Nanda et al. 2023: in float32 losses below 1e-7 and their gradients vanish); its gradient is computed
    /// in double and rounded once.
    ///
    /// Logits are the last axis of this tensor.
    /// - Parameter targets: for each row the right index; negative for a row that does not count.
    /// - Throws: `LensError(.shape)` for another number of targets than rows, one out of range, or if no row counts.
    public func meanCrossEntropy(targets: [Int]) throws -> Tensor {
        let ids = try checkedTargets(targets), n = shape[rank - 1], counted = ids.count { $0 >= 0 }
        guard counted > 0 else { throw LensError(.shape, "a loss of no rows", expected: "at least one row that counts", found: "\(ids.count) that do not") }
        let logits = try detached().contiguous()
        let (losses, normalizers) = try logits.lossesInDouble(ids)
        let loss = Tensor(Float(losses.reduce(0, +) / Double(counted)))
        let shape = shape
        return loss.recorded("meanCrossEntropy", from: self) { gradient in
            let isa = try Kernels.isa(), out = try Tensor(uninitialized: shape)
            let factors = [Double](repeating: Double(try gradient.item()) / Double(counted), count: ids.count)
            withExtendedLifetime(logits) {
                lens_cross_entropy_double_gradient(isa, Int64(ids.count), Int64(n), logits.elements, ids, normalizers, factors, out.storage.pointer)
            }
            return out
        }
    }

    /// The cross-entropy of each row in double; 0 where a row does not count.
    /// - Throws: as `meanCrossEntropy`.
    public func crossEntropyInDouble(targets: [Int]) throws -> [Double] {
        let ids = try checkedTargets(targets)
        return try detached().contiguous().lossesInDouble(ids).losses
    }

    private func checkedTargets(_ targets: [Int]) throws -> [Int32] {
        guard rank >= 1, let n = shape.last, n > 0, targets.count == count / n else {
            throw LensError(.shape, "cross-entropy", expected: "a target for each row of \(shape)", found: "\(targets.count)")
        }
        return try LensTensor.checkedTargets(targets, below: n)
    }

    private func lossesInDouble(_ ids: [Int32]) throws -> (losses: [Double], normalizers: [Double]) {
        let isa = try Kernels.isa(), n = shape[rank - 1]
        var losses = [Double](repeating: 0, count: ids.count), normalizers = losses
        withExtendedLifetime(self) { lens_cross_entropy_double(isa, Int64(ids.count), Int64(n), elements, ids, &normalizers, &losses) }
        return (losses, normalizers)
    }
}
