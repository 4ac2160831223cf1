// Gradients of norms and of their last step. Those of weight and bias are sums over all rows: of partial sums of a fixed
// number of rows, whatever the threads.

import CLensKernels
import LensFiles

/// What the pullback of a norm keeps: mean, scale and normalized values are computed again.
struct NormBackward: Sendable {
    let kind: NormKind
    let eps: Float
    /// Contiguous, as are the others: `[…, width]`.
    let x: Tensor
    let scale: Tensor?
    let weight: Tensor?
    let biasShape: [Int]?

    /// Outputs: out, normalized, scale. Inputs: x, scale, weight, bias.
    func callAsFunction(_ request: GraphNode.Request) throws -> [Tensor?] {
        let width = x.shape.last ?? 1, rows = x.shape.dropLast().reduce(1, *), isa = try Kernels.isa()
        let ofOut = try request.outputs[0]?.contiguous(), ofNormalized = try request.outputs[1]?.contiguous()
        let ofScaleOut = try request.outputs[2]?.contiguous()
        let ofX = request.wants[0] ? try Tensor(uninitialized: x.shape) : nil
        let ofScale = request.wants[1] ? try scale.map { try Tensor(uninitialized: $0.shape) } : nil
        let ofWeight = request.wants[2] && ofOut != nil ? try PartialSums(rows: rows, width: width) : nil
        let ofBias = request.wants[3] && ofOut != nil ? try PartialSums(rows: rows, width: width) : nil
        withExtendedLifetime((ofOut, ofNormalized, ofScaleOut, self)) {
            lens_norm_backward(isa, kind.kernel, Int64(rows), Int64(width), eps, x.elements, scale?.elements, weight?.elements,
                               ofOut?.elements, ofNormalized?.elements, ofScaleOut?.elements, ofX?.storage.pointer,
                               ofScale?.storage.pointer, ofWeight?.pointer, ofBias?.pointer)
        }
        return [ofX, ofScale, try ofWeight?.total(weight?.shape), try ofBias?.total(biasShape)]
    }
}

/// What the pullback of `affine` keeps.
struct AffineBackward: Sendable {
    /// nil if the weight is not tracked.
    let x: Tensor?
    let weight: Tensor?
    let biasShape: [Int]?

    /// Inputs: x, weight, bias.
    func callAsFunction(_ request: GraphNode.Request) throws -> [Tensor?] {
        let gradient = try request.first().contiguous(), isa = try Kernels.isa()
        let width = gradient.shape.last ?? 1, rows = gradient.shape.dropLast().reduce(1, *)
        let ofX = request.wants[0] ? try Tensor(uninitialized: gradient.shape) : nil
        let ofWeight = request.wants[1] && x != nil ? try PartialSums(rows: rows, width: width) : nil
        let ofBias = request.wants[2] ? try PartialSums(rows: rows, width: width) : nil
        withExtendedLifetime((gradient, self)) {
            lens_affine_backward(isa, Int64(rows), Int64(width), (x ?? gradient).elements, weight?.elements, gradient.elements,
                                 ofX?.storage.pointer, ofWeight?.pointer, ofBias?.pointer)
        }
        return [ofX, try ofWeight?.total(weight?.shape), try ofBias?.total(biasShape)]
    }
}

/// Sums over rows on their way: one row of them for every `LENS_SUM_ROWS` rows.
private struct PartialSums {
    private let sums: Tensor

    init(rows: Int, width: Int) throws {
        let group = Int(LENS_SUM_ROWS)
        sums = try Tensor(uninitialized: [(rows + group - 1) / group, width])
    }

    var pointer: UnsafeMutablePointer<Float> { sums.storage.pointer }

    func total(_ shape: [Int]?) throws -> Tensor? { try shape.map { try sums.summed(axis: 0).reshaped($0) } }
}
