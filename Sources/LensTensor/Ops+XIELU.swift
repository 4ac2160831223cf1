// xIELU (Huang and Schlag, 2025): an activation whose curve on either side of zero each layer has learned.

import CLensKernels
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// x > 0: αₚx² + βx; else αₙ(expm1(min(x, eps)) − x) + βx (`XIELUActivation` in Hugging Face).
public struct XIELU: Sendable, Hashable {
    /// αₚ and αₙ as the function has them.
    public let alphaP: Float, alphaN: Float
    public let beta: Float, eps: Float
    /// What αₚ and αₙ were made from, where that is tracked.
    let learnedP: Learned?, learnedN: Learned?

    /// A tracked number as it is kept, and how much its function grows with it.
    struct Learned: Hashable {
        let value: GraphValue, shape: [Int], slope: Float

        init?(_ kept: Tensor) throws {
            guard let value = kept.graph else { return nil }
            self.value = value
            shape = kept.shape
            slope = try 1 / (1 + Float(exp(-Double(kept.item()))))
        }
    }

    /// What αₚ and αₙ are kept as where nothing was learned: softplus makes 0.8 and 0.3 of them.
    public static let alphaPDefault = Float(log(expm1(0.8))), alphaNDefault = Float(log(expm1(0.3)))

    /// - Parameters:
    ///   - alphaP: as kept: αₚ is softplus of it.
    ///   - alphaN: as kept: αₙ is β + softplus of it.
    public init(alphaP: Float, alphaN: Float, beta: Float = 0.5, eps: Float = -1e-6) {
        self.init(Self.softplus(alphaP), beta + Self.softplus(alphaN), beta, eps)
    }

    /// The same of tensors of one element: their gradients are known if they are tracked.
    /// - Throws: `LensError(.shape)` for more elements.
    public init(alphaP: Tensor, alphaN: Tensor, beta: Float = 0.5, eps: Float = -1e-6) throws {
        self.init(Self.softplus(try alphaP.item()), beta + Self.softplus(try alphaN.item()), beta, eps, try Learned(alphaP), try Learned(alphaN))
    }

    private static func softplus(_ x: Float) -> Float { x > 20 ? x : Float(log1p(exp(Double(x)))) }

    private init(_ alphaP: Float, _ alphaN: Float, _ beta: Float, _ eps: Float, _ learnedP: Learned? = nil, _ learnedN: Learned? = nil) {
        self.alphaP = alphaP
        self.alphaN = alphaN
        self.beta = beta
        self.eps = eps
        self.learnedP = learnedP
        self.learnedN = learnedN
    }

    /// TransformerLens' function without learned numbers.
    static let fixed = XIELU(0.8, 0.8, 0.5, -1e-6)
}

extension Tensor {
    /// xIELU of every element.
    public func applying(_ xielu: XIELU) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime(x) {
            lens_xielu(isa, Int64(count), x.elements, xielu.alphaP, xielu.alphaN, xielu.beta, xielu.eps, out.storage.pointer)
        }
        let inputs = [graph, xielu.learnedP?.value, xielu.learnedN?.value]
        guard inputs.contains(where: { $0 != nil }) else { return out }
        let input = x.detached()
        return out.recorded("xielu", from: inputs) { try $0.first().backward(through: xielu, at: input, wants: $0.wants) }
    }

    /// This gradient of xIELU of `x` as those of `x` and of the two learned numbers.
    private func backward(through xielu: XIELU, at x: Tensor, wants: [Bool]) throws -> [Tensor?] {
        let isa = try Kernels.isa(), gradient = try contiguous()
        let outs = try wants.map { $0 ? try Tensor(uninitialized: shape) : nil }
        withExtendedLifetime((gradient, x)) {
            lens_xielu_backward(isa, Int64(count), x.elements, xielu.alphaP, xielu.alphaN, xielu.beta, xielu.eps, gradient.elements,
                                outs[0]?.storage.pointer, outs[1]?.storage.pointer, outs[2]?.storage.pointer)
        }
        func total(_ shares: Tensor?, _ learned: XIELU.Learned?) throws -> Tensor? {
            guard let shares, let learned else { return nil }
            return try shares.sum().scaled(by: learned.slope).reshaped(learned.shape)
        }
        return [outs[0], try total(outs[1], xielu.learnedP), try total(outs[2], xielu.learnedN)]
    }

    /// Every element kept within `bounds`; NaN stays.
    public func clamped(to bounds: ClosedRange<Float>) throws -> Tensor {
        let isa = try Kernels.isa(), x = try contiguous(), out = try Tensor(uninitialized: shape)
        let low = bounds.lowerBound, high = bounds.upperBound
        withExtendedLifetime(x) { lens_clamp(isa, low, high, Int64(count), x.elements, out.storage.pointer) }
        guard isTracked else { return out }
        let input = x.detached()
        return out.recorded("clamped", from: self) { gradient in
            let isa = try Kernels.isa(), gradient = try gradient.contiguous(), out = try Tensor(uninitialized: input.shape)
            withExtendedLifetime((input, gradient)) {
                lens_clamp_backward(isa, low, high, Int64(input.count), input.elements, gradient.elements, out.storage.pointer)
            }
            return out
        }
    }
}
