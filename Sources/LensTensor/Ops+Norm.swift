// Layer norm and RMS norm, whole and in the two steps between which TransformerLens has hooks.

import CLensKernels
import LensFiles

/// Which norm: layer norm centres the row first, RMS norm does not.
public enum NormKind: Sendable, Hashable {
    case layer, rms

    var kernel: lens_norm_kind { self == .layer ? LENS_NORM_LAYER : LENS_NORM_RMS }
}

/// What a norm computes; only what was asked for is there.
public struct NormResult: Sendable {
    /// `normalized * weight + bias`: `[…, width]`
    public var out: Tensor?
    /// `centred / scale`: `[…, width]`
    public var normalized: Tensor?
    /// `√(mean(centred²) + eps)`: `[…, 1]`
    public var scale: Tensor?
}

/// Normalises the last axis of `x` (`lens_norm`; the reference is TransformerLens' LayerNorm and RMSNorm).
///
/// - Parameters:
///   - x: `[…, width]`
///   - scale: takes the place of the computed one: `[…, 1]`.
///   - weight, bias: `[width]`; nil: not applied.
///   - wantsOut, wantsNormalized, wantsScale: what to return.
/// - Throws: `LensError(.shape)`.
public func norm(_ kind: NormKind, _ x: Tensor, eps: Float, scale: Tensor? = nil, weight: Tensor? = nil,
                 bias: Tensor? = nil, wantsOut: Bool = true, wantsNormalized: Bool = false,
                 wantsScale: Bool = false) throws -> NormResult {
    guard let width = x.shape.last else { throw LensError(.shape, "norm of a scalar", expected: "[…, width]", found: "[]") }
    let rows = x.shape.dropLast().reduce(1, *)
    let scaleShape = Array(x.shape.dropLast()) + [1]
    guard scale.map({ $0.count == rows }) ?? true, weight.map({ $0.count == width }) ?? true,
          bias.map({ $0.count == width }) ?? true else {
        throw LensError(.shape, "norm", expected: "weight and bias [\(width)], scale \(scaleShape)",
                        found: "\([weight?.shape, bias?.shape, scale?.shape])")
    }
    let isa = try Kernels.isa()
    let result = NormResult(out: wantsOut ? try Tensor(uninitialized: x.shape) : nil,
                            normalized: wantsNormalized ? try Tensor(uninitialized: x.shape) : nil,
                            scale: wantsScale ? try Tensor(uninitialized: scaleShape) : nil)
    let x = try x.contiguous(), scale = try scale?.contiguous()
    let weight = try weight?.contiguous(), bias = try bias?.contiguous()
    withExtendedLifetime((x, scale, weight, bias)) {
        lens_norm(isa, kind.kernel, Int64(rows), Int64(width), eps, x.elements, scale?.elements, weight?.elements,
                  bias?.elements, result.out?.storage.pointer, result.normalized?.storage.pointer,
                  result.scale?.storage.pointer)
    }
    let inputs = [x.graph, scale?.graph, weight?.graph, bias?.graph]
    guard inputs.contains(where: { $0 != nil }) else { return result }
    let backward = NormBackward(kind: kind, eps: eps, x: x.detached(), scale: scale?.detached(), weight: weight?.detached(), biasShape: bias?.shape)
    let recorded = Tensor.recorded("norm", [result.out, result.normalized, result.scale], from: inputs) { try backward($0) }
    return NormResult(out: recorded[0], normalized: recorded[1], scale: recorded[2])
}

/// `x * weight + bias` along the last axis, the last step of `norm` with the same bits.
/// - Throws: `LensError(.shape)`.
public func affine(_ x: Tensor, weight: Tensor?, bias: Tensor?) throws -> Tensor {
    guard let width = x.shape.last, weight.map({ $0.count == width }) ?? true, bias.map({ $0.count == width }) ?? true else {
        throw LensError(.shape, "affine", expected: "weight and bias like the last axis of \(x.shape)",
                        found: "\([weight?.shape, bias?.shape])")
    }
    if weight == nil, bias == nil { return x }
    let isa = try Kernels.isa()
    let out = try Tensor(uninitialized: x.shape)
    let x = try x.contiguous(), weight = try weight?.contiguous(), bias = try bias?.contiguous()
    withExtendedLifetime((x, weight, bias)) {
        lens_affine(isa, Int64(x.shape.dropLast().reduce(1, *)), Int64(width), x.elements, weight?.elements, bias?.elements,
                    out.storage.pointer)
    }
    let inputs = [x.graph, weight?.graph, bias?.graph]
    guard inputs.contains(where: { $0 != nil }) else { return out }
    let backward = AffineBackward(x: weight?.isTracked == true ? x.detached() : nil, weight: weight?.detached(), biasShape: bias?.shape)
    return out.recorded("affine", from: inputs) { try backward($0) }
}
