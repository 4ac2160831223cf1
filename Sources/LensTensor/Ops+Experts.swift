// What a mixture of experts needs besides products: the best experts of each token, the gate of GPT-OSS, sigmoids, and adding
// what an expert wrote to the rows it was computed for.

import CLensKernels
import LensFiles

extension Tensor {
    /// The `count` largest elements of each row, largest first: their indices and values, row by row (`torch.topk`).
    ///
    /// Of equal elements the first comes first; `torch.topk` promises no order among them. NaN counts as largest.
    /// Numbers, which no gradient flows through: of a tracked tensor pick the values with the indices (`elements(at:)`, `picking`).
    /// - Throws: `LensError(.shape)` if rows have fewer elements.
    public func topK(_ count: Int) throws -> (indices: [Int], values: [Float]) {
        guard let width = shape.last, count >= 0, count <= width else {
            throw LensError(.shape, "largest elements of a row", expected: "[…, n] with n ≥ \(count)", found: "\(shape)")
        }
        let rows = shape.dropLast().reduce(1, *)
        var indices = Array(repeating: 0, count: rows * count), values = Array(repeating: Float(0), count: rows * count)
        try withUnsafeElements { elements in
            for row in 0..<rows {
                // Insertion into a short sorted list: `held` elements so far, the smallest last.
                let start = row * count
                var held = 0
                for column in 0..<width {
                    let value = elements[row * width + column]
                    guard held < count || (count > 0 && Self.isBefore(value, values[start + held - 1])) else { continue }
                    var place = held < count ? held : held - 1
                    while place > 0, Self.isBefore(value, values[start + place - 1]) {
                        values[start + place] = values[start + place - 1]
                        indices[start + place] = indices[start + place - 1]
                        place -= 1
                    }
                    values[start + place] = value
                    indices[start + place] = column
                    if held < count { held += 1 }
                }
            }
        }
        return (indices, values)
    }

    private static func isBefore(_ a: Float, _ b: Float) -> Bool { a > b || (a.isNaN && !b.isNaN) }

    /// `(u + 1) · g·σ(alpha·g)` with `g` the gate held below `limit` and `u` this tensor held within ±`limit` (GPT-OSS).
    /// - Throws: `LensError(.shape)` if the shapes differ.
    public func clampedGate(by gate: Tensor, alpha: Float, limit: Float) throws -> Tensor {
        guard gate.shape == shape else { throw LensError(.shape, "gate", expected: "\(shape)", found: "\(gate.shape)") }
        let isa = try Kernels.isa(), x = try contiguous(), gate = try gate.contiguous(), out = try Tensor(uninitialized: shape)
        withExtendedLifetime((x, gate)) {
            lens_clamped_gate(isa, alpha, limit, Int64(count), gate.elements, x.elements, out.storage.pointer)
        }
        guard isTracked || gate.isTracked else { return out }
        let (value, opening) = (x.detached(), gate.detached())
        return out.recorded("clampedGate", from: [graph, gate.graph]) { request in
            let gradient = try request.first().contiguous(), isa = try Kernels.isa()
            let ofValue = request.wants[0] ? try Tensor(uninitialized: value.shape) : nil
            let ofGate = request.wants[1] ? try Tensor(uninitialized: value.shape) : nil
            withExtendedLifetime((gradient, value, opening)) {
                lens_clamped_gate_backward(isa, alpha, limit, Int64(value.count), opening.elements, value.elements, gradient.elements,
                                           ofGate?.storage.pointer, ofValue?.storage.pointer)
            }
            return [ofValue, ofGate]
        }
    }

    /// 1 / (1 + e^-x) of every element.
    public func sigmoid() throws -> Tensor { try applying(LENS_ACT_SIGMOID, "sigmoid") }

    /// Adds `weights[i]` times row i of `x: [ids.count, width]` to row `ids[i]` of this tensor `[rows, width]`, i by i.
    /// - Parameter weights: `[ids.count]`
    /// - Throws: `LensError(.shape)` for an id outside the rows, or shapes that do not fit.
    public mutating func addRows(_ ids: [Int], of x: Tensor, times weights: Tensor) throws {
        guard rank == 2, x.shape == [ids.count, shape[1]], weights.shape == [ids.count] else {
            throw LensError(.shape, "adding rows", expected: "[\(ids.count), width] and as many weights to [rows, width]",
                            found: "\(x.shape) and \(weights.shape) to \(shape)")
        }
        let isa = try Kernels.isa(), ids = try checkedIDs(ids, below: shape[0]), width = shape[1]
        let rows = try x.contiguous(), factors = try weights.contiguous(), inputs = [graph, x.graph, weights.graph]
        self = detached()
        try withUnsafeMutableElements { destination in
            guard let base = destination.baseAddress else { return }
            withExtendedLifetime((rows, factors)) {
                lens_add_rows(isa, Int64(ids.count), Int64(width), ids, factors.elements, rows.elements, base)
            }
        }
        let added = rows.detached(), times = factors.detached()
        self = recorded("added rows", from: inputs) { request in
            let isa = try Kernels.isa(), gradient = try request.first().contiguous()
            let ofRows = request.wants[1] ? try Tensor(uninitialized: [ids.count, width]) : nil
            let ofWeights = request.wants[2] ? try Tensor(uninitialized: [ids.count]) : nil
            withExtendedLifetime((added, times, gradient)) {
                lens_add_rows_gradient(isa, Int64(ids.count), Int64(width), ids, times.elements, added.elements, gradient.elements,
                                       ofRows?.storage.pointer, ofWeights?.storage.pointer)
            }
            return [gradient, ofRows, ofWeights]
        }
    }

    /// The same with plain numbers as weights.
    public mutating func addRows(_ ids: [Int], of x: Tensor, times weights: [Float]) throws {
        try addRows(ids, of: x, times: Tensor(weights, shape: [weights.count]))
    }

    /// The elements at `places`, counted in row-major order: `[places.count]`.
    /// - Throws: `LensError(.shape)` for a place outside.
    public func elements(at places: [Int]) throws -> Tensor {
        try Self.checkPlaces(places, below: count)
        let out = try Tensor(uninitialized: [places.count]), shape = shape
        try withUnsafeElements { elements in
            for (index, place) in places.enumerated() { out.storage.pointer[index] = elements[place] }
        }
        return out.recorded("elements", from: self) { try $0.placed(at: places, in: shape) }
    }

    /// Zeros of `shape` with these elements, in row-major order, added at `places`.
    /// - Throws: `LensError(.shape)` for a place outside, or another number of places than elements.
    public func placed(at places: [Int], in shape: [Int]) throws -> Tensor {
        guard places.count == count else {
            throw LensError(.shape, "placing elements", expected: "\(count) places", found: "\(places.count)")
        }
        let out = Tensor(zeros: shape), before = self.shape
        try Self.checkPlaces(places, below: out.count)
        try withUnsafeElements { elements in
            for (index, place) in places.enumerated() { out.storage.pointer[place] += elements[index] }
        }
        return out.recorded("placed", from: self) { try $0.elements(at: places).reshaped(before) }
    }

    private static func checkPlaces(_ places: [Int], below count: Int) throws {
        guard let outside = places.first(where: { $0 < 0 || $0 >= count }) else { return }
        throw LensError(.shape, "an element outside a tensor", expected: "0..<\(count)", found: "\(outside)")
    }
}

/// Unpacks `blocks` blocks of 32 elements of MXFP4 to float32. The caller answers for the buffers: 16 bytes of elements and one
/// of scale for each.
public func unpackMXFP4(blocks: Int, elements: UnsafePointer<UInt8>, scales: UnsafePointer<UInt8>, to destination: UnsafeMutablePointer<Float>) {
    lens_unpack_mxfp4(Int64(blocks), elements, scales, destination)
}
