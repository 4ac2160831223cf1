// Putting tensors together and taking them apart along an axis: stacks, concatenations, gathers, sums. For the analyses; no
// forward pass goes through these.

import LensFiles

extension Tensor {
    /// Tensors of one shape along a new first axis: `[n, …]`.
    /// - Parameter shape: the shape of each; only asked for where there may be none.
    /// - Throws: `LensError(.shape)` if the shapes differ, or if there are no tensors and no shape.
    public static func stacked(_ tensors: [Tensor], shape: [Int]? = nil) throws -> Tensor {
        guard let shape = shape ?? tensors.first?.shape else { throw LensError(.shape, "a stack of nothing", expected: "at least one tensor") }
        return try concatenated(tensors.map { try $0.reshaped([1] + $0.shape) }, rest: shape)
    }

    /// Tensors one after another along the first axis.
    /// - Throws: `LensError(.shape)` if their other axes differ, or if there are none.
    public static func concatenated(_ tensors: [Tensor]) throws -> Tensor {
        guard let first = tensors.first, first.rank > 0 else {
            throw LensError(.shape, "a concatenation of nothing", expected: "at least one tensor with an axis")
        }
        return try concatenated(tensors, rest: Array(first.shape.dropFirst()))
    }

    private static func concatenated(_ tensors: [Tensor], rest: [Int]) throws -> Tensor {
        for tensor in tensors where Array(tensor.shape.dropFirst()) != rest || tensor.rank == 0 {
            throw LensError(.shape, "tensors of different shapes", expected: "\(rest) after the first axis", found: "\(tensor.shape)")
        }
        let out = try Tensor(uninitialized: [tensors.reduce(0) { $0 + $1.shape[0] }] + rest)
        var next = out.storage.pointer
        for tensor in tensors {
            try tensor.withUnsafeElements { elements in
                if let base = elements.baseAddress { next.update(from: base, count: elements.count) }
            }
            next += tensor.count
        }
        let ends = tensors.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.shape[0]) }
        return out.recorded("concatenated", from: tensors.map(\.graph)) { request in
            let gradient = try request.first()
            return try request.wants.indices.map { request.wants[$0] ? try gradient.view([.range(ends[$0]..<ends[$0 + 1])]) : nil }
        }
    }

    /// The axes in a new order; a view.
    public func permuted(_ order: [Int]) throws -> Tensor {
        Tensor(storage: storage, layout: try layout.permuted(order)).recorded("permuted", from: self) { gradient in
            try gradient.permuted(order.indices.sorted { order[$0] < order[$1] })
        }
    }

    /// Axis `from` moved to place `to`, the others in their order; a view.
    public func movingAxis(_ from: Int, to: Int) throws -> Tensor {
        let from = try layout.axis(from), to = try layout.axis(to)
        var order = Array(0..<rank)
        order.insert(order.remove(at: from), at: to)
        return try permuted(order)
    }

    /// Positions `indices` of an axis (negative: from the end), in their order.
    /// - Throws: `LensError(.shape)` for one out of range.
    public func gathered(_ indices: [Int], axis: Int) throws -> Tensor {
        let axis = try layout.axis(axis), size = shape[axis]
        let rows = try indices.map { index in
            guard (-size..<size).contains(index) else {
                throw LensError(.shape, "index out of range", at: "axis \(axis) of shape \(shape)", expected: "\(-size)..<\(size)", found: "\(index)")
            }
            return index < 0 ? index + size : index
        }
        let front = try movingAxis(axis, to: 0), rest = Array(front.shape.dropFirst())
        return try front.reshaped([size, rest.reduce(1, *)]).gatherRows(rows).reshaped([rows.count] + rest).movingAxis(0, to: axis)
    }

    /// Each row of the last axis less its mean.
    public func centered() throws -> Tensor {
        guard let width = shape.last, width > 0 else { return self }
        return try self - mean(axis: -1, keepsAxis: true)
    }

    /// The product of rows with a matrix: `[…, k]` and `[k, n]` to `[…, n]`; with a vector `[k]` to `[…]`.
    /// - Throws: `LensError(.shape)`.
    public func matmul(_ matrix: Tensor) throws -> Tensor {
        guard let width = shape.last, matrix.rank == 1 || matrix.rank == 2, matrix.shape[0] == width else {
            throw LensError(.shape, "product with a matrix", expected: "a matrix of \(shape.last ?? 0) rows for \(shape)", found: "\(matrix.shape)")
        }
        let columns = matrix.rank == 2 ? matrix : try matrix.reshaped([width, 1])
        let out = try PackedMatrix(columns.detached()).product(detached()).out
        let (x, w) = (detached(), columns.detached())
        let product = out.recorded("matmul", from: [graph, columns.graph]) { request in
            let gradient = try request.first()
            let ofRows = request.wants[0] ? try PackedMatrix(w.permuted(1, 0)).product(gradient).out : nil
            let flat = try gradient.reshaped([-1, w.shape[1]])
            let ofMatrix = request.wants[1] ? try PackedMatrix(flat).product(x.reshaped([flat.shape[0], width]).permuted(1, 0)).out : nil
            return [ofRows, ofMatrix]
        }
        return matrix.rank == 2 ? product : try product.reshaped(Array(shape.dropLast()))
    }
}
