// Rows of activations: the positions that a cache keeps, and those that are emptied.

import LensHooks
import LensTensor

extension Tensor {
    /// The positions `slice` of a site's activation, or of its gradient; all where it has no axis of them.
    /// - Parameters:
    ///   - routed: of an expert's activation, which of batch × pos each row is.
    ///   - pos: positions of the pass.
    func positions(_ slice: TensorIndex, _ site: HookSite, routed: [Int]?, pos: Int) throws -> Tensor {
        guard slice != .all else { return self }
        if let routed {
            let kept = Set(try Tensor((0..<pos).map(Float.init), shape: [pos]).view([slice]).array.map { Int($0) })
            return try gatherRows(routed.indices.filter { kept.contains(routed[$0] % pos) })
        }
        guard let axis = site.positionAxis else { return self }
        // A single position keeps its axis, as in TransformerLens.
        var index = slice
        if case .at(let position) = index { index = .span(position, position == -1 ? nil : position &+ 1) }
        return try view(Array(repeating: .all, count: axis) + [index]).contiguous()
    }

    /// Writes zeros over the rows of the last axis that `emptied` says, one entry for each row.
    mutating func zeroRows(_ emptied: [Bool]) throws {
        guard emptied.contains(true), let width = shape.last else { return }
        let before = graph
        self = detached()
        try withUnsafeMutableElements { elements in
            for (row, isEmptied) in emptied.enumerated() where isEmptied {
                for place in row * width..<(row + 1) * width { elements[place] = 0 }
            }
        }
        self = recorded("zeros", from: [before]) { request in
            var gradient = try request.first()
            try gradient.zeroRows(emptied)
            return [gradient]
        }
    }
}
