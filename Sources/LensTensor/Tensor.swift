// The float32 tensor: a strided view of shared storage, a value (copied when written while shared) and Sendable.
// Plain subscripts trap out of range, as Array's do; `at` and `set` throw, for indices that come from data.
// It holds float32 only: other precisions exist where weights are kept (PackedMatrix) and in files.

import LensFiles

/// An n-dimensional array of float32 with value semantics.
///
/// ```swift
/// var z = Tensor(zeros: [2, 7, 3, 14])      // [batch, pos, head, d_head]
/// z[.all, .all, 1] = 0                      // one head, everywhere
/// let last = z[.all, -1]                    // a view: no copy
/// ```
public struct Tensor: Sendable {
    /// Where the elements lie in the storage.
    public private(set) var layout: Layout
    package private(set) var storage: FloatStorage
    /// What it came from, if it is tracked: see `tracked()`.
    package internal(set) var graph: GraphValue?

    package init(storage: FloatStorage, layout: Layout) {
        self.storage = storage
        self.layout = layout
    }

    /// Uninitialised, for a kernel that writes every element.
    /// - Parameter recycled: false for what lives long: its buffer is not the pool's.
    package init(uninitialized shape: [Int], recycled: Bool = true) throws {
        storage = try FloatStorage(uninitialized: checkedCount(shape), recycled: recycled)
        layout = Layout(contiguous: shape)
    }

    /// A tensor of `shape` holding `values` in row-major order.
    /// - Throws: `LensError(.shape)` if their number does not fit.
    public init(_ values: [Float], shape: [Int]) throws {
        let count = try checkedCount(shape)
        guard values.count == count else {
            throw LensError(.shape, "number of values does not fit the shape", expected: "\(count) for \(shape)",
                            found: "\(values.count)")
        }
        try self.init(uninitialized: shape)
        values.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { storage.pointer.update(from: base, count: count) }
        }
    }

    /// A tensor filled with one value. Traps on an impossible shape or no memory, as Array(repeating:count:) does.
    public init(repeating value: Float, shape: [Int]) {
        do {
            storage = try FloatStorage(repeating: value, count: checkedCount(shape))
            layout = Layout(contiguous: shape)
        } catch { preconditionFailure("\(error)") }  // unreachable: from file content; shapes given in code
    }

    /// Zeros.
    public init(zeros shape: [Int]) { self.init(repeating: 0, shape: shape) }

    /// A scalar: shape `[]`.
    public init(_ value: Float) { self.init(repeating: value, shape: []) }

    public var shape: [Int] { layout.shape }
    public var rank: Int { layout.rank }
    /// Number of elements.
    public var count: Int { layout.count }

    /// The elements in row-major order.
    public var array: [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, written in
            if let base = buffer.baseAddress { copyElements(to: base) }
            written = count
        }
    }

    /// The only element.
    /// - Throws: `LensError(.shape)` if there is not exactly one.
    public func item() throws -> Float {
        guard count == 1 else {
            throw LensError(.shape, "not a single value", expected: "one element", found: "shape \(shape)")
        }
        return storage.pointer[layout.offset]
    }

    // MARK: Indexing

    /// The view that `indices` pick; axes not named are taken whole. Assigning broadcasts. Traps out of range.
    public subscript(_ indices: TensorIndex...) -> Tensor {
        get { trapping { try view(indices) } }
        set { trapping { try $0.assign(newValue, at: indices) } }
    }

    /// The view that `indices` pick.
    /// - Throws: `LensError(.shape)` out of range.
    public func at(_ indices: TensorIndex...) throws -> Tensor { try view(indices) }

    /// Assigns `value`, broadcast, to the elements that `indices` pick.
    /// - Throws: `LensError(.shape)` out of range or if the shapes do not fit.
    public mutating func set(_ indices: TensorIndex..., to value: Tensor) throws { try assign(value, at: indices) }

    package func view(_ indices: [TensorIndex]) throws -> Tensor {
        let shape = shape
        return Tensor(storage: storage, layout: try layout.sliced(indices)).recorded("view", from: self) { gradient in
            var whole = Tensor(zeros: shape)
            try whole.assign(gradient, at: indices)
            return whole
        }
    }

    package mutating func assign(_ value: Tensor, at indices: [TensorIndex]) throws {
        let before = graph
        try write(value, at: indices)
        guard before != nil || value.graph != nil else { return }
        let valueShape = value.shape
        // Elements written over no longer depend on what was there.
        self = detached().recorded("assign", from: [before, value.graph]) { request in
            let gradient = try request.first()
            var kept = gradient
            if request.wants[0] { try kept.assign(0, at: indices) }
            return [kept, request.wants[1] ? try gradient.view(indices).summed(to: valueShape) : nil]
        }
    }

    private mutating func write(_ value: Tensor, at indices: [TensorIndex]) throws {
        let target = try layout.sliced(indices)
        let source = try value.layout.broadcast(to: target.shape)
        // Where the storage is shared, or several places are one element, write to storage of our own.
        let valueHeld = Tensor(storage: value.storage, layout: source)
        if valueHeld.storage === storage || layout.repeatsElements || !isKnownUniquelyReferenced(&storage) {
            let copied = try valueHeld.copied()
            try makeUnique()
            let moved = try layout.sliced(indices)
            copied.write(into: storage.pointer, moved)
        } else {
            valueHeld.write(into: storage.pointer, target)
        }
    }

    private func trapping<T>(_ body: () throws -> T) -> T {
        do { return try body() } catch { preconditionFailure("\(error)") }  // unreachable: from data; `at` and `set` throw
    }

    private mutating func trapping(_ body: (inout Tensor) throws -> Void) {
        do { try body(&self) } catch { preconditionFailure("\(error)") }  // unreachable: from data; `at` and `set` throw
    }

    // MARK: Views

    /// The axes in a new order; a view.
    public func permuted(_ order: Int...) throws -> Tensor {
        try permuted(order)
    }

    /// The same elements under another shape; one size may be -1. Copies only a non-contiguous view.
    public func reshaped(_ shape: [Int]) throws -> Tensor {
        var shape = shape
        if let free = shape.firstIndex(of: -1) {
            let rest = try checkedCount(shape.enumerated().filter { $0.offset != free }.map(\.element))
            shape[free] = rest == 0 ? 0 : count / rest
        }
        guard try checkedCount(shape) == count else {
            throw LensError(.shape, "shapes hold different numbers of elements", expected: "\(count) elements, as \(self.shape)",
                            found: "\(shape)")
        }
        let source = try contiguous(), before = self.shape
        return Tensor(storage: source.storage,
                      layout: Layout(contiguous: shape, offset: source.layout.offset))
            .recorded("reshaped", from: source) { try $0.reshaped(before) }
    }

    /// Repeated along axes of size 1 and new leading axes, without copying.
    public func broadcast(to shape: [Int]) throws -> Tensor {
        let before = self.shape
        return Tensor(storage: storage, layout: try layout.broadcast(to: shape)).recorded("broadcast", from: self) { try $0.summed(to: before) }
    }

    /// Itself if its elements are row-major without gaps, else a copy that is.
    public func contiguous() throws -> Tensor { layout.isContiguous ? self : try copied() }

    package func copied() throws -> Tensor {
        let copy = try Tensor(uninitialized: shape)
        copyElements(to: copy.storage.pointer)
        return copy.attached(to: graph)
    }

    // MARK: Raw access for kernels

    /// Calls `body` with the elements in row-major order.
    public func withUnsafeElements<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) throws -> R {
        let source = try contiguous()
        return try withExtendedLifetime(source.storage) {
            try body(UnsafeBufferPointer(start: source.storage.pointer + source.layout.offset, count: count))
        }
    }

    /// Calls `body` with this tensor's own elements, contiguous and unshared, to be changed in place.
    /// - Throws: `LensError(.usage)` if it is tracked, as nobody knows what `body` does.
    public mutating func withUnsafeMutableElements<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) throws -> R {
        try refuseTracked("changing elements in place", advice: "assign to it or use its operations, or call detached() to make it a constant")
        try makeUnique()
        return try body(UnsafeMutableBufferPointer(start: storage.pointer + layout.offset, count: count))
    }

    /// Own, contiguous storage.
    private mutating func makeUnique() throws {
        if !layout.isContiguous || !isKnownUniquelyReferenced(&storage) { self = try copied() }
    }

    private func copyElements(to destination: UnsafeMutablePointer<Float>) {
        if layout.isContiguous {
            destination.update(from: storage.pointer + layout.offset, count: count)
            return
        }
        var next = destination
        layout.forEachRun { start, stride, length in
            let source = storage.pointer + start
            for i in 0..<length { next[i] = source[i * stride] }
            next += length
        }
    }

    /// Writes the elements to the places `target` (of the same shape) names.
    private func write(into pointer: UnsafeMutablePointer<Float>, _ target: Layout) {
        var sources: [(Int, Int)] = []
        layout.forEachRun { start, stride, _ in sources.append((start, stride)) }
        var run = 0
        target.forEachRun { start, stride, length in
            let (from, step) = sources[run]
            for i in 0..<length { pointer[start + i * stride] = storage.pointer[from + i * step] }
            run += 1
        }
    }
}

extension Tensor: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
    public init(floatLiteral value: Float) { self.init(value) }
    public init(integerLiteral value: Int) { self.init(Float(value)) }
}

extension Tensor: CustomStringConvertible {
    /// The shape and the first few elements.
    public var description: String {
        let shown = 8
        var first: [Float] = []
        layout.forEachRun { start, stride, length in
            for i in 0..<min(length, shown - min(shown, first.count)) { first.append(storage.pointer[start + i * stride]) }
        }
        return "Tensor\(shape) [\(first.map { "\($0)" }.joined(separator: ", "))\(count > shown ? ", …" : "")]"
    }
}
