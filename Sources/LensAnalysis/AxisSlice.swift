// Which places of an axis are wanted: TransformerLens' Slice, whose int mode takes the axis away.

import LensFiles
import LensTensor

/// Places of one axis (TransformerLens' `Slice`).
///
/// ```swift
/// let stack = try cache.decomposeResid(in: model, posSlice: -1)          // one position: the axis disappears
/// let some = try cache.decomposeResid(in: model, posSlice: [1, 4])       // two: the axis stays
/// let tail = try cache.decomposeResid(in: model, posSlice: .span(2, nil))
/// ```
public enum AxisSlice: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
    /// Everything: TransformerLens' `None`.
    case all
    /// One place; the axis disappears. Negative counts from the end.
    case at(Int)
    /// Places from the first up to, not including, the second (nil: the end), every `step`-th. Negative bounds count from
    /// the end; bounds beyond the axis are its ends, as Python's are.
    case span(Int, Int?, step: Int = 1)
    /// These places, in this order; the axis stays.
    case list([Int])

    public init(integerLiteral value: Int) { self = .at(value) }
    public init(arrayLiteral elements: Int...) { self = .list(elements) }

    /// Places `range`.
    public static func range(_ range: Range<Int>) -> AxisSlice { .span(range.lowerBound, range.upperBound) }

    /// The same, with one place as a list of it: the axis stays (TransformerLens' `Slice.unwrap`).
    public var keepingAxis: AxisSlice {
        if case .at(let place) = self { return .list([place]) }
        return self
    }

    /// Whether the axis disappears.
    public var dropsAxis: Bool {
        if case .at = self { return true }
        return false
    }

    /// The places picked of an axis of `size`, in order; negative ones are counted from the end.
    /// - Throws: `LensError(.shape)` for a place out of range or a step below 1.
    public func indices(_ size: Int) throws -> [Int] {
        switch self {
        case .all: return Array(0..<size)
        case .at(let place): return [try resolved(place, size)]
        case .list(let places): return try places.map { try resolved($0, size) }
        case .span(let from, let to, let step):
            guard step >= 1 else { throw LensError(.shape, "a slice's step", expected: "at least 1", found: "\(step)") }
            func bound(_ place: Int) -> Int { min(max(place < 0 ? place &+ size : place, 0), size) }
            let first = bound(from), end = to.map(bound) ?? size
            return first < end ? Array(stride(from: first, to: end, by: step)) : []
        }
    }

    private func resolved(_ place: Int, _ size: Int) throws -> Int {
        guard (-size..<size).contains(place) else {
            throw LensError(.shape, "index out of range", expected: "\(-size)..<\(size)", found: "\(place)")
        }
        return place < 0 ? place + size : place
    }

    /// `tensor` with only these places of an axis (negative: from the end); a view where places are one or side by side.
    public func apply(_ tensor: Tensor, axis: Int) throws -> Tensor {
        let axis = try tensor.layout.axis(axis), places = try indices(tensor.shape[axis])
        let before = Array(repeating: TensorIndex.all, count: axis)
        switch self {
        case .all: return tensor
        case .at: return try tensor.view(before + [.at(places[0])])
        case .span(_, _, step: 1): return try tensor.view(before + [.range((places.first ?? 0)..<(places.last.map { $0 + 1 } ?? 0))])
        default: return try tensor.gathered(places, axis: axis)
        }
    }
}
