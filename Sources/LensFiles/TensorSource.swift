// Stored tensors, whatever the file: names, shapes, and bytes on demand.
// A format is a type that conforms to TensorSource; what a caller asks for is checked here, once, for all of them.

/// What a file says of one tensor. Its sizes are consistent: the product of the shape, and that many elements' bytes.
public struct TensorEntry: Sendable, Hashable {
    public let name: String
    public let dtype: ElementType
    /// Row-major, the slowest axis first; empty for a scalar.
    public let shape: [Int]
    public let elementCount: Int
    public let byteCount: Int

    /// - Parameter location: the file, for errors.
    /// - Throws: `LensError` (`.format`) for a negative axis, a product past Int, or elements that end inside a byte.
    public init(name: String, dtype: ElementType, shape: [Int], at location: String) throws {
        var count = 1
        for axis in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: axis)
            guard axis >= 0, !overflow else {
                throw LensError(.format, "impossible shape of a tensor", at: "\(location): \(name)", found: Self.text(of: shape))
            }
            count = product
        }
        guard let bytes = dtype.byteCount(count) else {
            throw LensError(.format, "impossible size of a tensor", at: "\(location): \(name)",
                            expected: "whole bytes, fewer than 2^63", found: "\(Self.text(of: shape)) of \(dtype)")
        }
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.elementCount = count
        self.byteCount = bytes
    }

    /// `shape`, cut short for errors.
    static func text(of shape: [Int]) -> String {
        "[" + shape.prefix(16).map(String.init).joined(separator: ", ") + (shape.count > 16 ? ", …]" : "]")
    }
}

/// Something that holds named tensors: a file, or several that belong together.
public protocol TensorSource: Sendable {
    /// What this is (a path), for errors.
    var location: String { get }
    /// The tensors' names, in the order of the file.
    var names: [String] { get }
    /// What is said of the tensor `name`; nil if there is none.
    func entry(_ name: String) -> TensorEntry?
    /// Copies elements, as stored, row-major: `elementCount` of them from the `elementOffset`-th on (both whole blocks of
    /// the type), which fill `buffer` exactly. No alignment is asked of `buffer`.
    /// - Throws: `LensError`: `.weights` for an unknown name, `.shape` for elements the tensor does not have or a buffer
    ///   of another size, `.file` or `.format` if the file cannot be read or is damaged.
    func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws
    /// The quantised type the tensor `name` is stored in, where `read` decodes it to `entry.dtype`; nil: `read` gives what is
    /// stored. A block never goes past its row.
    func blockType(_ name: String) -> GGMLType?
    /// Copies the blocks, as stored, that hold elements `elementOffset` to `elementOffset + elementCount` (both at the edges of
    /// blocks), which fill `buffer` exactly.
    /// - Throws: as `read`; `LensError(.weights)` for a tensor that is not stored in blocks.
    func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws
}

extension TensorSource {
    public func blockType(_ name: String) -> GGMLType? { nil }

    public func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        _ = try requireEntry(name)
        throw LensError(.weights, "tensor that is not quantised in blocks", at: "\(location): \(name)")
    }
}

extension TensorSource {
    /// What is said of the tensor `name`, or an error that names the nearest.
    public func requireEntry(_ name: String) throws -> TensorEntry {
        if let entry = entry(name) { return entry }
        // Not over the longest lists: looking for the nearest takes as long as they are.
        let near = names.count <= 10_000 ? nearestName(to: name, among: names) : nil
        throw LensError(.weights, "no such tensor", at: location, found: name, advice: near.map { "did you mean \($0)?" })
    }

    /// Copies the whole tensor, as stored, into `buffer` (of its `byteCount`).
    public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
        let entry = try requireEntry(name)
        try read(name, elementOffset: 0, elementCount: entry.elementCount, into: buffer)
    }

    /// The whole tensor's bytes, as stored.
    public func bytes(of name: String) throws -> [UInt8] { try bytes(of: name, elements: 0..<requireEntry(name).elementCount) }

    /// The bytes of some elements, whole blocks of the type, as stored.
    public func bytes(of name: String, elements: Range<Int>) throws -> [UInt8] {
        let entry = try requireEntry(name)
        guard elements.upperBound <= entry.elementCount, let byteCount = entry.dtype.byteCount(elements.count) else {
            throw LensError(.shape, "elements a tensor does not have", at: "\(location): \(name)", expected: "within \(entry.elementCount)",
                            found: "\(elements)")
        }
        return try [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<byteCount])
            try read(name, elementOffset: elements.lowerBound, elementCount: elements.count, into: bytes)
            count = byteCount
        }
    }
}

/// The entries of one file, found by name, each with what its format needs to find the bytes.
struct TensorTable<Place: Sendable>: Sendable {
    private(set) var names: [String] = []
    private var entries: [TensorEntry] = []
    private var places: [Place] = []
    private var positions: [ExactString: Int] = [:]

    /// Adds an entry; false if there is one of that name.
    mutating func insert(_ entry: TensorEntry, _ place: Place) -> Bool {
        guard positions.updateValue(entries.count, forKey: ExactString(entry.name)) == nil else { return false }
        names.append(entry.name)
        entries.append(entry)
        places.append(place)
        return true
    }

    func find(_ name: String) -> (entry: TensorEntry, place: Place)? {
        positions[ExactString(name)].map { (entries[$0], places[$0]) }
    }
}

extension TensorEntry {
    /// The bytes, from the tensor's first on, of the elements asked for.
    /// - Throws: `LensError` (`.shape`) as `TensorSource.read` says.
    package func byteRange(elementOffset: Int, elementCount count: Int, bufferCount: Int, at location: String) throws -> Range<Int> {
        let (end, overflow) = elementOffset.addingReportingOverflow(count)
        guard elementOffset >= 0, count >= 0, !overflow, end <= elementCount else {
            throw LensError(.shape, "elements a tensor does not have", at: "\(location): \(name)",
                            expected: "within \(elementCount)", found: "\(count) from \(elementOffset)")
        }
        guard let start = dtype.byteCount(elementOffset), let length = dtype.byteCount(count) else {
            throw LensError(.shape, "elements that share a byte with others", at: "\(location): \(name)",
                            expected: "multiples of \(dtype.elementsPerBlock)", found: "\(count) from \(elementOffset)")
        }
        guard length == bufferCount else {
            throw LensError(.shape, "buffer of another size than the elements", at: "\(location): \(name)",
                            expected: "\(length) bytes", found: "\(bufferCount)")
        }
        return start..<(start + length)
    }
}
