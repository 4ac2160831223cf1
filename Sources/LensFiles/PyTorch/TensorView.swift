// A tensor as a view of a storage in a file: which bytes its elements are, row by row, also where they do not lie one after
// another (transposed, cut out, repeated).

/// Where a view's elements are.
struct TensorView: Sendable {
    /// Byte in the file of the first element.
    let start: Int
    let elementBytes: Int
    let shape: [Int]
    /// In elements.
    let strides: [Int]

    /// - Parameters:
    ///   - storage: the storage's bytes in the file.
    ///   - offset: elements before the view's first.
    /// - Throws: `LensError(.format)` for a view that leaves its storage, or repeats it into more than a file should hold.
    init(_ tensor: PickleTensor, storage: Range<Int>, entry: TensorEntry, at location: String) throws {
        let size = tensor.type.bytesPerBlock
        let outside = LensError(.format, "tensor that is not within its storage", at: "\(location): \(entry.name)",
                                expected: "within \(storage.count / size) elements", found: "\(TensorEntry.text(of: tensor.shape)) from \(tensor.offset)")
        var last = tensor.offset
        if entry.elementCount > 0 {
            for (axis, stride) in zip(tensor.shape, tensor.strides) {
                let (span, overflow) = (axis - 1).multipliedReportingOverflow(by: stride)
                let (sum, overflows) = last.addingReportingOverflow(span)
                guard !overflow, !overflows else { throw outside }
                last = sum
            }
            guard last < storage.count / size else { throw outside }
        } else {
            guard last <= storage.count / size else { throw outside }
        }
        // A stride of zero repeats: a few bytes could otherwise stand for more than any memory.
        guard entry.elementCount <= max(storage.count / size, 1 << 24) else {
            throw LensError(.format, "tensor that repeats its storage too often", at: "\(location): \(entry.name)",
                            expected: "at most \(1 << 24) elements", found: TensorEntry.text(of: tensor.shape))
        }
        start = storage.lowerBound + tensor.offset * size
        elementBytes = size
        shape = tensor.shape
        strides = tensor.strides
    }

    /// Elements that lie one after another: the last axes' product.
    private var run: Int {
        var run = 1
        for (axis, stride) in zip(shape, strides).reversed() {
            guard axis == 1 || stride == run else { break }
            run *= axis
        }
        return run
    }

    /// Copies elements `range` (row-major numbers) to `target`.
    /// - Parameter read: reads bytes of the file from a place on.
    func gather(_ range: Range<Int>, into target: UnsafeMutableRawBufferPointer,
                read: (_ at: Int, _ target: UnsafeMutableRawBufferPointer) throws -> Void) throws {
        guard let base = target.baseAddress, !range.isEmpty else { return }
        let run = run
        if run == shape.reduce(1, *) { return try read(start + range.lowerBound * elementBytes, target) }
        // What the range touches, at most: read in one piece, then picked from.
        let first = place(range.lowerBound / run), span = spanned(range, run)
        var bytes = [UInt8](repeating: 0, count: (span.upperBound - span.lowerBound) * elementBytes)
        try bytes.withUnsafeMutableBytes { try read(start + span.lowerBound * elementBytes, $0) }
        bytes.withUnsafeBytes { source in
            guard let source = source.baseAddress else { return }
            var index = first.index, at = first.offset, element = range.lowerBound, done = 0
            while element < range.upperBound {
                let inside = element % run, count = min(run - inside, range.upperBound - element)
                (base + done).copyMemory(from: source + (at + inside - span.lowerBound) * elementBytes, byteCount: count * elementBytes)
                done += count * elementBytes
                element += count
                advance(&index, &at)
            }
        }
    }

    /// Axes before those that lie one after another.
    private var outerAxes: Int {
        var run = 1, axes = shape.count
        while axes > 0, shape[axes - 1] == 1 || strides[axes - 1] == run {
            run *= shape[axes - 1]
            axes -= 1
        }
        return axes
    }

    /// The outer indices of the `number`-th run, and where it begins.
    private func place(_ number: Int) -> (index: [Int], offset: Int) {
        var index = [Int](repeating: 0, count: outerAxes), rest = number, offset = 0
        for axis in index.indices.reversed() {
            index[axis] = rest % shape[axis]
            rest /= shape[axis]
            offset += index[axis] * strides[axis]
        }
        return (index, offset)
    }

    private func advance(_ index: inout [Int], _ offset: inout Int) {
        for axis in index.indices.reversed() {
            index[axis] += 1
            offset += strides[axis]
            if index[axis] < shape[axis] { return }
            offset -= index[axis] * strides[axis]
            index[axis] = 0
        }
    }

    /// Elements of the storage, from the view's first, that the range can touch: exact in the slowest axis it runs over.
    private func spanned(_ range: Range<Int>, _ run: Int) -> Range<Int> {
        let first = place(range.lowerBound / run).index, last = place((range.upperBound - 1) / run).index
        var low = 0, high = 0, isSplit = false
        for axis in first.indices {
            if isSplit {
                high += (shape[axis] - 1) * strides[axis]
            } else {
                low += first[axis] * strides[axis]
                high += last[axis] * strides[axis]
                isSplit = first[axis] != last[axis]
            }
        }
        return low..<(high + run)
    }
}
