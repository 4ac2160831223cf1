// Where the elements of a view lie: shape, strides and offset, and the slicing of them. Knows nothing of what the
// elements are. Indices that do not fit throw; `Tensor`'s plain subscripts turn that into a trap, as Array's do.

import LensFiles

/// One place in a subscript: a position (negative counts from the end), a range, or everything.
///
/// `z[.all, -1]`, `z[.all, .range(2..<5), .at(head)]`, `z[.from(1)]`.
public enum TensorIndex: Sendable, Hashable, ExpressibleByIntegerLiteral {
    /// The whole axis.
    case all
    /// One position; the axis disappears. Negative counts from the end.
    case at(Int)
    /// Positions from the first up to, not including, the second (nil: the end). Negative bounds count from the end.
    case span(Int, Int?)

    public init(integerLiteral value: Int) { self = .at(value) }

    /// Positions `range`.
    public static func range(_ range: Range<Int>) -> TensorIndex { .span(range.lowerBound, range.upperBound) }
    /// Positions from `first` (negative: from the end) to the end.
    public static func from(_ first: Int) -> TensorIndex { .span(first, nil) }
    /// Positions before `end` (negative: from the end).
    public static func upTo(_ end: Int) -> TensorIndex { .span(0, end) }
}

/// Shape, strides and offset of a view, in elements.
public struct Layout: Sendable, Hashable {
    public let shape: [Int]
    public let offset: Int
    /// nil: row-major, which most tensors are; so copies of a layout have one array less to hold.
    private let ownStrides: [Int]?

    public var strides: [Int] { ownStrides ?? Self.contiguousStrides(shape) }

    /// A row-major layout from the start of its storage.
    public init(contiguous shape: [Int]) { self.init(contiguous: shape, offset: 0) }

    /// A row-major layout from element `offset` of its storage on.
    init(contiguous shape: [Int], offset: Int) {
        self.shape = shape
        self.offset = offset
        ownStrides = nil
    }

    init(shape: [Int], strides: [Int], offset: Int) {
        self.shape = shape
        ownStrides = strides == Self.contiguousStrides(shape) ? nil : strides
        self.offset = offset
    }

    public var rank: Int { shape.count }
    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }

    public static func contiguousStrides(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in stride(from: shape.count - 2, through: 0, by: -1) {
            strides[axis] = strides[axis + 1] &* shape[axis + 1]  // beside an axis of 0 others may have any size
        }
        return strides
    }

    /// Whether elements are row-major without gaps (from `offset` on).
    public var isContiguous: Bool {
        guard let strides = ownStrides else { return true }
        var expected = 1
        for axis in stride(from: shape.count - 1, through: 0, by: -1) where shape[axis] != 1 {
            if strides[axis] != expected { return shape.contains(0) }
            expected *= shape[axis]
        }
        return true
    }

    /// Whether several places are one element, as in a broadcast view.
    var repeatsElements: Bool { ownStrides.map { zip(shape, $0).contains { $0 > 1 && $1 == 0 } } ?? false }

    /// The axis number, negative counting from the end.
    public func axis(_ axis: Int) throws -> Int {
        let resolved = axis < 0 ? axis + rank : axis
        guard shape.indices.contains(resolved) else {
            throw LensError(.shape, "no such axis", expected: "an axis of a tensor with \(rank) axes", found: "\(axis)")
        }
        return resolved
    }

    /// The view that `indices` pick; axes not named are taken whole.
    /// - Throws: `LensError(.shape)` for too many indices or one out of range.
    public func sliced(_ indices: [TensorIndex]) throws -> Layout {
        guard indices.count <= rank else {
            throw LensError(.shape, "too many indices", expected: "at most \(rank) for shape \(shape)", found: "\(indices.count)")
        }
        let strides = strides
        var newShape: [Int] = [], newStrides: [Int] = [], start = offset
        for axis in 0..<rank {
            let size = shape[axis]
            switch axis < indices.count ? indices[axis] : .all {
            case .all:
                newShape.append(size)
                newStrides.append(strides[axis])
            case .at(let position):
                let resolved = position < 0 ? position + size : position
                guard (0..<size).contains(resolved) else { throw outOfRange("\(position)", axis) }
                start &+= resolved &* strides[axis]
            case .span(let lower, let upper):
                let from = lower < 0 ? lower + size : lower
                let to = upper.map { $0 < 0 ? $0 + size : $0 } ?? size
                guard from >= 0, to <= size, from <= to else {
                    throw outOfRange("\(lower)..<\(upper.map(String.init) ?? "")", axis)
                }
                start &+= from &* strides[axis]
                newShape.append(to - from)
                newStrides.append(strides[axis])
            }
        }
        return Layout(shape: newShape, strides: newStrides, offset: start)
    }

    private func outOfRange(_ found: String, _ axis: Int) -> LensError {
        LensError(.shape, "index out of range", at: "axis \(axis) of shape \(shape)",
                  expected: "0..<\(shape[axis]) (or negative, from the end)", found: found)
    }

    /// The view with axes in a new order (a permutation of 0..<rank).
    public func permuted(_ order: [Int]) throws -> Layout {
        guard order.sorted() == Array(0..<rank) else {
            throw LensError(.shape, "not an order of axes", expected: "a permutation of 0..<\(rank)", found: "\(order)")
        }
        let strides = strides
        return Layout(shape: order.map { shape[$0] }, strides: order.map { strides[$0] }, offset: offset)
    }

    /// The view stretched to `target` as NumPy broadcasts: missing leading axes and axes of size 1 repeat.
    public func broadcast(to target: [Int]) throws -> Layout {
        let missing = target.count - rank
        guard missing >= 0 else { throw cannotBroadcast(target) }
        _ = try checkedCount(target)
        let strides = strides
        var newStrides = [Int](repeating: 0, count: target.count)
        for axis in 0..<rank {
            if shape[axis] == target[axis + missing] {
                newStrides[axis + missing] = strides[axis]
            } else if shape[axis] != 1 {
                throw cannotBroadcast(target)
            }
        }
        return Layout(shape: target, strides: newStrides, offset: offset)
    }

    private func cannotBroadcast(_ target: [Int]) -> LensError {
        LensError(.shape, "shapes do not fit", expected: "something that broadcasts to \(target)", found: "\(shape)")
    }

    /// The common shape of two that broadcast together.
    public static func broadcastShape(_ a: [Int], _ b: [Int]) throws -> [Int] {
        var result = [Int](repeating: 1, count: max(a.count, b.count))
        for axis in 1...max(1, result.count) where axis <= result.count {
            let x = axis <= a.count ? a[a.count - axis] : 1
            let y = axis <= b.count ? b[b.count - axis] : 1
            guard x == y || x == 1 || y == 1 else {
                throw LensError(.shape, "shapes do not broadcast together", expected: "\(a)", found: "\(b)")
            }
            result[result.count - axis] = x == 1 ? y : x
        }
        return result
    }

    /// Calls `body` with the offset and stride of each innermost run: `(storage offset, stride, length)`, in row-major
    /// order.
    func forEachRun(_ body: (Int, Int, Int) throws -> Void) rethrows {
        guard count > 0 else { return }
        let strides = strides
        guard let length = shape.last, let innerStride = strides.last else { return try body(offset, 1, 1) }
        var position = [Int](repeating: 0, count: rank - 1)
        var start = offset
        while true {
            try body(start, innerStride, length)
            var axis = rank - 2
            while axis >= 0 {
                position[axis] += 1
                start += strides[axis]
                if position[axis] < shape[axis] { break }
                start -= position[axis] * strides[axis]
                position[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }
}

/// The product of sizes, refusing negative ones and overflow.
/// - Throws: `LensError(.shape)`.
package func checkedCount(_ shape: [Int]) throws -> Int {
    var count = 1
    for size in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: size)
        guard size >= 0, !overflow, product <= Int.max / 16 else {
            throw LensError(.shape, "impossible shape", found: "\(shape)")
        }
        count = product
    }
    return count
}
