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

    /// What αₚ and αₙ are kept as where nothing was learned: softplus makes 0.8 and 0.3 of them.
    public static let alphaPDefault = Float(log(expm1(0.8))), alphaNDefault = Float(log(expm1(0.3)))

    /// - Parameters:
    ///   - alphaP: as kept: αₚ is softplus of it.
    ///   - alphaN: as kept: αₙ is β + softplus of it.
    public init(alphaP: Float, alphaN: Float, beta: Float = 0.5, eps: Float = -1e-6) {
        func softplus(_ x: Float) -> Float { x > 20 ? x : Float(log1p(exp(Double(x)))) }
        self.init(softplus(alphaP), beta + softplus(alphaN), beta, eps)
    }

    private init(_ alphaP: Float, _ alphaN: Float, _ beta: Float, _ eps: Float) {
        self.alphaP = alphaP
        self.alphaN = alphaN
        self.beta = beta
        self.eps = eps
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
        return out
    }

    /// Every element kept within `bounds`; NaN stays.
    public func clamped(to bounds: ClosedRange<Float>) throws -> Tensor {
        let x = try contiguous(), out = try Tensor(uninitialized: shape)
        let source = x.elements, destination = out.storage.pointer, low = bounds.lowerBound, high = bounds.upperBound
        return withExtendedLifetime(x) {
            for index in 0..<count {
                let value = source[index]
                destination[index] = value < low ? low : value > high ? high : value
            }
            return out
        }
    }
}
